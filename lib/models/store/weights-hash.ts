import { readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { hashFile, writeFileWhole } from "../../util/files.js";

interface KnownHash {
  size: number;
  mtimeMs: number;
  sha256: string;
}

/** The content of the file, which another program may have changed. */
type KnownHashes = Record<string, Partial<Record<keyof KnownHash, unknown>> | null>;

/** SHA-256 of a file, remembered by its path, size and time of change: hashing gigabytes takes seconds. */
export async function weightsHash(
  file: string,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const index = join(folder, "hashes.json");
  const known: KnownHashes = await readFile(index, "utf8")
    .then((text) => JSON.parse(text) as KnownHashes)
    .catch(() => ({}));
  const path = resolve(file);
  const { size, mtimeMs } = await stat(path);
  const entry = Object.hasOwn(known, path) ? known[path] : undefined;
  const remembered = entry?.size === size && entry.mtimeMs === mtimeMs ? entry.sha256 : undefined;
  if (typeof remembered === "string" && /^[0-9a-f]{64}$/.test(remembered)) return remembered;
  const sha256 = await hashFile(path, "sha256", signal);
  // What cannot be remembered is computed again: a full disk or a read-only cache is no reason to fail.
  const entries = { ...known, [path]: { size, mtimeMs, sha256 } satisfies KnownHash };
  await writeFileWhole(index, JSON.stringify(entries)).catch(() => undefined);
  return sha256;
}
