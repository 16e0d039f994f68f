import { createReadStream } from "node:fs";
import tar from "tar-stream";
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
      const { name, size = 0, type } = entry.header;
      if (type === "file") {
        const content = async () => {
          const chunks: Buffer[] = [];
          for await (const chunk of entry) chunks.push(chunk as Buffer);
          return Buffer.concat(chunks);
        };
        yield { name, at: (entry.header as { byteOffset?: number }).byteOffset!, bytes: size, content };
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
