import { lstat, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { BACKENDS } from "../util/backend-folders.js";
import { backendLibrary, backendsCache } from "./backends.js";
import { libtorchCache } from "./libtorch.js";

/** A native part of torchclip that is on this machine. */
export interface InstalledPart {
  /** "addon", "torch backend", "libtorch 2.13.0-cpu" … */
  name: string;
  /** Its file or folder. */
  path: string;
  bytes: number;
}

/** What `torchclip setup --list` shows: the addon, the backends and each libtorch in the cache, with its size. */
export async function installedParts(addonFile: string | undefined): Promise<InstalledPart[]> {
  const parts = addonFile === undefined ? [] : [{ name: "addon", path: addonFile }];
  for (const backend of BACKENDS) {
    const path = backendLibrary(backend);
    if (path !== undefined && !path.startsWith(backendsCache()))
      parts.push({ name: `${backend} backend`, path });
  }
  for (const path of await foldersOf(backendsCache()))
    parts.push({ name: `backend ${basename(path)}`, path });
  for (const path of await foldersOf(libtorchCache()))
    parts.push({ name: `libtorch ${basename(path)}`, path });
  return Promise.all(parts.map(async (part) => ({ ...part, bytes: await bytesOf(part.path) })));
}

async function foldersOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(folder, entry.name))
    .sort();
}

/** Bytes of a file, or of all files below a folder. */
async function bytesOf(path: string): Promise<number> {
  const found = await lstat(path);
  if (!found.isDirectory()) return found.size;
  const sizes = await Promise.all((await readdir(path)).map((name) => bytesOf(join(path, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}
