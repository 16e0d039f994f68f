import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import yauzl from "yauzl";
import { TorchclipError } from "../errors.js";
import { shown } from "./untrusted.js";

/**
 * Deflate makes nothing smaller than by this factor: a zip that claims more holds the same bytes several
 * times.
 */
const MOST_RATIO = 1032;

/**
 * Unpacks a zip into a folder. Entries whose names lead out of it are refused (by yauzl). Throws
 * E_DATASET_FORMAT where the archive is damaged or claims to hold more than it can.
 */
export async function unzip(file: string, folder: string): Promise<void> {
  try {
    await unpackEntries(file, folder);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    // ENOSPC, EACCES …: a file that could not be written says nothing of the archive.
    throw new TorchclipError(
      code?.startsWith("E") ? "E_WRITE" : "E_DATASET_FORMAT",
      `${file} cannot be unpacked: ${shown(message)}`,
      { subject: file, cause },
    );
  }
}

async function unpackEntries(file: string, folder: string): Promise<void> {
  const zip = await yauzl.openPromise(file, { lazyEntries: true });
  let left = zip.fileSize * MOST_RATIO;
  for await (const entry of zip.eachEntry()) {
    if ((left -= entry.uncompressedSize) < 0) throw new Error("its entries overlap");
    if (entry.fileName.endsWith("/")) continue;
    const path = join(folder, entry.fileName);
    await mkdir(dirname(path), { recursive: true });
    await pipeline(await openEntry(zip, entry), createWriteStream(path));
  }
}

export function openEntry(zip: yauzl.ZipFile, entry: yauzl.Entry): Promise<NodeJS.ReadableStream> {
  return new Promise((resolve, reject) =>
    zip.openReadStream(entry, (error, stream) => (error ? reject(error) : resolve(stream))),
  );
}
