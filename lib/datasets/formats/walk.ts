import { isUtf8 } from "node:buffer";
import type { Dirent } from "node:fs";
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { sep } from "node:path";
import { cannotRead, TorchclipError } from "../../errors.js";
import { IMAGE_NAME, isHidden, LeftOut } from "../../images/image-names.js";
import type { ImageInput } from "../../images/types.js";

/** An image file below a folder. */
export interface FoundImage {
  /** Its path below the folder. A name that is no UTF-8 is shown as Latin-1. */
  name: string;
  /** The file's path, or its bytes where the path is none that a string can hold. */
  read: () => ImageInput | Promise<ImageInput>;
}

export interface FoundImages {
  /** In order of their names. */
  images: FoundImage[];
  leftOut: LeftOut;
}

/** A folder's entry; `isFolder` of what a link leads to. */
interface Entry {
  name: string;
  path: Buffer;
  isFolder: boolean;
}

/**
 * All images below a folder. Links are followed, but not to a folder that holds them; hidden files and
 * folders are left out. What is left out is counted in `leftOut`. Throws E_DATASET_NOT_FOUND for a folder
 * that cannot be read.
 */
export async function imagesBelow(root: string, leftOut = new LeftOut()): Promise<FoundImages> {
  const found: FoundImages = { images: [], leftOut };
  await collect(Buffer.from(root), "", [], found);
  found.images.sort((a, b) => (a.name < b.name ? -1 : 1));
  return found;
}

async function collect(
  folder: Buffer,
  prefix: string,
  ancestors: readonly string[],
  found: FoundImages,
): Promise<void> {
  const real = (await realpath(folder, "buffer").catch(() => folder)).toString("latin1") + sep;
  // A link back: to a folder on the way here, or to one that the first of them lies in.
  if (ancestors.includes(real) || ancestors[0]?.startsWith(real)) return;
  const { entries, hidden } = await entriesOf(folder);
  for (const name of hidden) found.leftOut.addHidden(name);
  for (const { name, path, isFolder } of entries) {
    if (isFolder) await collect(path, `${prefix}${name}${sep}`, [...ancestors, real], found);
    else if (IMAGE_NAME.test(name)) found.images.push({ name: prefix + name, read: reader(path) });
    else found.leftOut.addFile(name);
  }
}

function reader(path: Buffer): FoundImage["read"] {
  if (isUtf8(path)) {
    const text = path.toString();
    return () => text;
  }
  const shown = path.toString("latin1");
  return () =>
    readFile(path).catch((cause: unknown) => {
      throw cannotRead("E_IMAGE_READ", shown, cause);
    });
}

/** What a folder itself holds. */
export interface Listing {
  /** In order of their names; links to folders among them, hidden ones not. */
  folders: string[];
  /** Whether it holds images. */
  hasImages: boolean;
  /** The other files, what is hidden, and the images, which lie in no class folder. */
  leftOut: LeftOut;
}

/** Lists a folder of class folders. Throws E_DATASET_NOT_FOUND for a folder that cannot be read. */
export async function listFolder(root: string): Promise<Listing> {
  const { entries, hidden } = await entriesOf(Buffer.from(root));
  const leftOut = new LeftOut();
  for (const name of hidden) leftOut.addHidden(name);
  const files = entries.filter((entry) => !entry.isFolder).map((entry) => entry.name);
  const images = files.filter((name) => IMAGE_NAME.test(name));
  for (const name of files) if (!IMAGE_NAME.test(name)) leftOut.addFile(name);
  for (const name of images) leftOut.addUnclassed(name);
  return {
    folders: entries.filter((entry) => entry.isFolder).map((entry) => entry.name),
    hasImages: images.length > 0,
    leftOut,
  };
}

/** The entries of a folder in order of their names, and the names of the hidden ones. */
async function entriesOf(folder: Buffer): Promise<{ entries: Entry[]; hidden: string[] }> {
  const shown = folder.toString(isUtf8(folder) ? "utf8" : "latin1");
  const entries = await readdir(folder, { withFileTypes: true, encoding: "buffer" }).catch(
    (cause: unknown) => {
      throw new TorchclipError(
        "E_DATASET_NOT_FOUND",
        `cannot read the folder ${shown}: ${(cause as Error).message}`,
        { subject: shown, cause },
      );
    },
  );
  const visible = entries.filter((entry) => !isHidden(entry.name.toString("latin1")));
  const hidden = entries
    .filter((entry) => isHidden(entry.name.toString("latin1")))
    .map((entry) => entry.name.toString("utf8"));
  const found = await Promise.all(
    visible.map(async (entry): Promise<Entry> => {
      const path = Buffer.concat([folder, Buffer.from(sep), entry.name]);
      return {
        name: entry.name.toString(isUtf8(entry.name) ? "utf8" : "latin1"),
        path,
        isFolder: await leadsToFolder(entry, path),
      };
    }),
  );
  return { entries: found.sort((a, b) => (a.name < b.name ? -1 : 1)), hidden: hidden.sort() };
}

/** A link that leads nowhere is taken for a file: reading it says what is wrong. */
async function leadsToFolder(entry: Dirent<Buffer>, path: Buffer): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}
