import { createReadStream } from "node:fs";
import tar, { type Header } from "tar-stream";
import { cannotRead, TorchclipError } from "../../errors.js";

/** A file in a tar archive. */
export interface TarEntry {
  name: string;
  /** Where its bytes begin in the archive, and how many they are. */
  at: number;
  bytes: number;
  /** The content, read in passing: to be called before the next entry is asked for. */
  content: () => Promise<Buffer>;
}

/** Where the content of an entry begins; the package's types leave it out. */
function placeOf(header: Header & { byteOffset?: number }, archive: string): number {
  if (header.byteOffset !== undefined) return header.byteOffset;
  throw new TorchclipError("E_INTERNAL", `${archive}: nothing says where ${header.name} lies`);
}

/**
 * The files of a tar archive, in order; what is not asked for is passed over. Throws E_DATASET_NOT_FOUND
 * where there is no such file, E_DATASET_FORMAT where it is no whole archive.
 */
export async function* tarEntries(archive: string): AsyncGenerator<TarEntry> {
  const extract = tar.extract();
  const file = createReadStream(archive, { highWaterMark: 1 << 20 });
  file.on("error", (error) => extract.destroy(error));
  file.pipe(extract);
  try {
    for await (const entry of extract) {
      const { name, size, type } = entry.header;
      if (type === "file") {
        const content = async () => {
          const chunks: Buffer[] = [];
          for await (const chunk of entry) chunks.push(chunk as Buffer);
          return Buffer.concat(chunks);
        };
        yield { name, at: placeOf(entry.header, archive), bytes: size, content };
      }
      entry.resume();
    }
  } catch (cause) {
    if (cause instanceof TorchclipError) throw cause;
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") {
      throw cannotRead("E_DATASET_NOT_FOUND", archive, cause);
    }
    throw new TorchclipError(
      "E_DATASET_FORMAT",
      `${archive} is no whole tar archive: ${(cause as Error).message}`,
      { subject: archive, cause },
    );
  } finally {
    file.destroy();
  }
}
