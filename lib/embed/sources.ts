import { stat } from "node:fs/promises";
import { imagesBelow, type FoundImage } from "../datasets/formats/walk.js";
import { cannotRead, TorchclipError } from "../errors.js";
import { IMAGE_NAME, LeftOut } from "../images/image-names.js";
import type { ImageInput } from "../images/types.js";

/** Endings of archives and of lists of images. */
export const ARCHIVE_NAME = /\.tar$/i;
export const LIST_NAME = /\.(csv|tsv|jsonl|txt)$/i;

/** One image of a source. */
export interface NamedImage {
  /** Path inside the folder, the list or the archive. */
  name: string;
  image: ImageInput;
}

export interface ImageSource {
  /** In a fixed order; `skip` first ones are left out without being read. */
  images(skip: number): AsyncGenerator<NamedImage>;
  /** How many there are, where that is known without reading all. */
  count: number | undefined;
  /** What was left out, a sentence each; of an archive only when it has been read. */
  notes(): string[];
}

/**
 * A folder (all images in it, by name), a list (.csv, .tsv, .jsonl with a column path or image; .txt), or a
 * .tar.
 */
export async function imageSource(path: string): Promise<ImageSource> {
  const info = await stat(path).catch((cause: unknown) => {
    throw cannotRead("E_DATASET_NOT_FOUND", path, cause);
  });
  if (info.isDirectory()) {
    const { images, leftOut } = await imagesBelow(path);
    return listed(path, images, leftOut.notes(path));
  }
  if (ARCHIVE_NAME.test(path)) return tarSource(path);
  if (LIST_NAME.test(path)) {
    const { readList } = await import("../datasets/formats/list-file.js");
    const rows = await readList(path);
    const images = rows.map((row) => ({ name: row.path, read: () => row.image }));
    return listed(path, images, []);
  }
  throw new TorchclipError("E_DATASET_FORMAT", `${path} is no folder, .tar, .csv, .tsv, .jsonl or .txt`, {
    subject: path,
  });
}

/** A source of these images. Throws E_DATASET_EMPTY where there are none. */
export function listed(path: string, all: FoundImage[], notes: string[]): ImageSource {
  if (all.length === 0)
    throw new TorchclipError(
      "E_DATASET_EMPTY",
      [`${path} names no images that can be decoded`, ...notes].join(". "),
      { subject: path },
    );
  return {
    count: all.length,
    notes: () => notes,
    async *images(skip) {
      for (const { name, read } of all.slice(skip)) yield { name, image: await read() };
    },
  };
}

function tarSource(path: string): ImageSource {
  let leftOut = new LeftOut();
  return {
    count: undefined,
    notes: () => leftOut.notes(path),
    async *images(skip) {
      const { tarEntries } = await import("../datasets/formats/tar.js");
      leftOut = new LeftOut();
      let index = 0;
      for await (const { name, content } of tarEntries(path)) {
        if (!IMAGE_NAME.test(name)) leftOut.add(name);
        else if (index++ >= skip) yield { name, image: await content() };
      }
    },
  };
}
