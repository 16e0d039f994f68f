import { readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { hashFile, writeFileWhole } from "../../util/files.js";

interface KnownHash {
  size: number;
  mtimeMs: number;
  sha256: string;
}

/** SHA-256 of a file, remembered by its path, size and time of change: hashing gigabytes takes seconds. */
export async function weightsHash(
  file: string,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const index = join(folder, "hashes.json");
  const known: Record<string, KnownHash> = await readFile(index, "utf8")
    .then((text) => JSON.parse(text) as Record<string, KnownHash>)
    .catch(() => ({}));
  const path = resolve(file);
  const { size, mtimeMs } = await stat(path);
  const entry = Object.hasOwn(known, path) ? known[path] : undefined;
  if (entry?.size === size && entry.mtimeMs === mtimeMs && /^[0-9a-f]{64}$/.test(entry.sha256))
    return entry.sha256;
  const sha256 = await hashFile(path, "sha256", signal);
  // What cannot be remembered is computed again: a full disk or a read-only cache is no reason to fail.
  await writeFileWhole(index, JSON.stringify({ ...known, [path]: { size, mtimeMs, sha256 } })).catch(
    () => {},
  );
  return sha256;
}
