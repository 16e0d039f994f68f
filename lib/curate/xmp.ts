import { readFile } from "node:fs/promises";
import { encode } from "html-entities";
import { toTorchclipError } from "../errors.js";
import { writeFileWhole } from "../util/files.js";

/** What marks a sidecar as written here. */
const TOOL = "torchclip";

/** The sidecar of an image: its name with .xmp behind it, as darktable and digiKam look for it. */
export function sidecarOf(image: string): string {
  return `${image}.xmp`;
}

/**
 * Writes the tags of an image into its sidecar as `dc:subject` (XMP, ISO 16684-1). A sidecar of another program
 * holds that program's edits and is never changed: false is returned. Throws E_WRITE.
 */
export async function writeSidecar(image: string, tags: readonly string[]): Promise<boolean> {
  const file = sidecarOf(image);
  const there = await readIfThere(file);
  if (there !== undefined && !isOwn(there)) return false;
  await writeFileWhole(file, xmpText(tags));
  return true;
}

function isOwn(text: string): boolean {
  return text.includes(`xmp:CreatorTool="${TOOL}"`);
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw toTorchclipError(error, "E_READ", { subject: file });
  }
}

/** An XMP packet with these tags as keywords. */
export function xmpText(tags: readonly string[]): string {
  const items = tags.map(
    (tag) => `     <rdf:li>${encode(tag, { mode: "specialChars", level: "xml" })}</rdf:li>\n`,
  );
  return `<?xpacket begin="\uFEFF" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmp:CreatorTool="${TOOL}">
   <dc:subject>
    <rdf:Bag>
${items.join("")}    </rdf:Bag>
   </dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
`;
}
