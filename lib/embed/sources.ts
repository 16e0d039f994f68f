import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, extname, join, relative, resolve } from "node:path";
import { parse } from "csv-parse/sync";
import tar from "tar-stream";
import { IMAGE_NAME } from "../datasets/index.js";
import { jsonRecord } from "../datasets/manifest.js";
import { TorchclipError } from "../errors.js";
import type { ImageInput } from "../images/decode.js";
import { shown } from "../util/untrusted.js";

/** One picture of a source. */
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
}

/** A folder (all pictures in it, by name), a list (.csv, .tsv, .jsonl with a column path or image; .txt), or a .tar. */
export async function imageSource(path: string): Promise<ImageSource> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new TorchclipError("E_DATASET_NOT_FOUND", `cannot read ${path}: ${(cause as Error).message}`, { subject: path, cause });
  });
  if (info.isDirectory()) {
    const files = (await readdir(path, { recursive: true, withFileTypes: true }))
      .filter((e) => e.isFile() && IMAGE_NAME.test(e.name))
      .map((e) => relative(path, join(e.parentPath, e.name)))
      .sort();
    return listed(
      path,
      files.map((name) => ({ name, image: join(path, name) })),
    );
  }
  if (/\.tar$/i.test(path)) return { images: (skip) => tarImages(path, skip), count: undefined };
  if (/\.(csv|tsv|jsonl|txt)$/i.test(path)) {
    const names = await listNames(path);
    return listed(
      path,
      names.map((name) => ({ name, image: /^(https?|file):/i.test(name) ? name : resolve(dirname(path), name) })),
    );
  }
  throw new TorchclipError("E_DATASET_FORMAT", `${path} is no folder, .tar, .csv, .tsv, .jsonl or .txt`, { subject: path });
}

function listed(path: string, all: NamedImage[]): ImageSource {
  if (all.length === 0) throw new TorchclipError("E_DATASET_EMPTY", `${path} names no pictures`, { subject: path });
  return {
    count: all.length,
    // eslint-disable-next-line @typescript-eslint/require-await -- one type for all sources
    async *images(skip) {
      yield* all.slice(skip);
    },
  };
}

async function listNames(path: string): Promise<string[]> {
  const text = await readFile(path, "utf8");
  const extension = extname(path).toLowerCase();
  const lines = text.split(/\r?\n/).filter((l) => l.trim());
  if (extension === ".txt") return lines;
  let records: Record<string, unknown>[];
  try {
    records =
      extension === ".jsonl"
        ? lines.map((l, i) => jsonRecord(l, path, i + 1))
        : parse(text, { columns: true, delimiter: extension === ".tsv" ? "\t" : ",", skip_empty_lines: true, bom: true });
  } catch (cause) {
    if (cause instanceof TorchclipError) throw cause;
    throw new TorchclipError("E_DATASET_FORMAT", `${path}: ${(cause as Error).message}`, { subject: path, cause });
  }
  return records.map((r, i) => {
    const name = r.path ?? r.image ?? r.file;
    if (typeof name === "string") return name;
    throw new TorchclipError("E_DATASET_FORMAT", `${path}: record ${i + 1} has no column path or image; it has ${shown(Object.keys(r).join(", "))}`, {
      subject: path,
      index: i + 1,
    });
  });
}

async function* tarImages(path: string, skip: number): AsyncGenerator<NamedImage> {
  const extract = tar.extract();
  const file = createReadStream(path, { highWaterMark: 1 << 20 });
  file.on("error", (error) => extract.destroy(error));
  file.pipe(extract);
  let index = 0;
  try {
    for await (const entry of extract) {
      if (entry.header.type !== "file" || !IMAGE_NAME.test(entry.header.name) || index++ < skip) {
        entry.resume();
        continue;
      }
      const chunks: Buffer[] = [];
      for await (const chunk of entry) chunks.push(chunk as Buffer);
      yield { name: entry.header.name, image: Buffer.concat(chunks) };
    }
  } catch (cause) {
    if (cause instanceof TorchclipError) throw cause;
    throw new TorchclipError("E_DATASET_FORMAT", `${path} is no whole tar archive: ${(cause as Error).message}`, { subject: path, cause });
  } finally {
    file.destroy();
  }
}
