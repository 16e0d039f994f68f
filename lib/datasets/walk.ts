import { isUtf8 } from "node:buffer";
import type { Dirent } from "node:fs";
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { sep } from "node:path";
import { TorchclipError, cannotRead } from "../errors.js";
import type { ImageInput } from "../images/decode.js";
import { IMAGE_NAME, isHidden, LeftOut } from "./image-names.js";

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
 * All images below a folder. Links are followed, but not to a folder that holds them; hidden files and folders are left
 * out. Throws E_DATASET_NOT_FOUND for a folder that cannot be read.
 */
export async function imagesBelow(root: string): Promise<FoundImages> {
  const found: FoundImages = { images: [], leftOut: new LeftOut() };
  await collect(Buffer.from(root), "", [], found);
  found.images.sort((a, b) => (a.name < b.name ? -1 : 1));
  return found;
}

async function collect(folder: Buffer, prefix: string, ancestors: readonly string[], found: FoundImages): Promise<void> {
  const real = (await realpath(folder, "buffer").catch(() => folder)).toString("latin1") + sep;
  // A link back: to a folder on the way here, or to one that the first of them lies in.
  if (ancestors.includes(real) || ancestors[0]?.startsWith(real)) return;
  for (const { name, path, isFolder } of await entriesOf(folder)) {
    if (isFolder) await collect(path, `${prefix}${name}${sep}`, [...ancestors, real], found);
    else if (IMAGE_NAME.test(name)) found.images.push({ name: prefix + name, read: reader(path) });
    else found.leftOut.add(name);
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

/** The folders in a folder, in order of their names; links to folders among them, hidden ones not. */
export async function foldersIn(root: string): Promise<string[]> {
  return (await entriesOf(Buffer.from(root))).filter((entry) => entry.isFolder).map((entry) => entry.name);
}

/** Whether a folder itself holds images. */
export async function hasImages(root: string): Promise<boolean> {
  return (await entriesOf(Buffer.from(root))).some((entry) => !entry.isFolder && IMAGE_NAME.test(entry.name));
}

async function entriesOf(folder: Buffer): Promise<Entry[]> {
  const shown = folder.toString(isUtf8(folder) ? "utf8" : "latin1");
  const entries = await readdir(folder, { withFileTypes: true, encoding: "buffer" }).catch((cause: unknown) => {
    throw new TorchclipError("E_DATASET_NOT_FOUND", `cannot read the folder ${shown}: ${(cause as Error).message}`, { subject: shown, cause });
  });
  const visible = entries.filter((entry) => !isHidden(entry.name.toString("latin1")));
  const found = await Promise.all(
    visible.map(async (entry): Promise<Entry> => {
      const path = Buffer.concat([folder, Buffer.from(sep), entry.name]);
      return { name: entry.name.toString(isUtf8(entry.name) ? "utf8" : "latin1"), path, isFolder: await leadsToFolder(entry, path) };
    }),
  );
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A link that leads nowhere is taken for a file: reading it says what is wrong. */
async function leadsToFolder(entry: Dirent<Buffer>, path: Buffer): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}
