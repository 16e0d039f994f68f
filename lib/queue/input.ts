import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { lineError, readRows } from "../datasets/formats/list-file.js";
import { imagesBelow } from "../datasets/formats/walk.js";
import { cannotRead, TorchclipError } from "../errors.js";
import { IMAGE_NAME } from "../images/image-names.js";
import { isLocation, isRemote, localPath } from "../redact.js";
import { isObject } from "../util/untrusted.js";
import { isS3, parseLocation } from "./location.js";
import type { ListedImage } from "./run.js";
import { S3, type S3Options } from "./s3.js";

/** An image of the input, with its bytes where they are known without asking for the image. */
export interface InputImage extends ListedImage {
  bytes?: number;
}

export interface Input {
  /** As the command line named it; a path is absolute. */
  name: string;
  images: () => AsyncGenerator<InputImage>;
  /** What was left out, a sentence each. */
  notes: string[];
}

/**
 * The images that a queue embeds: a list (.jsonl, .csv, .tsv with a column path, image or file, and, if it
 * has one, `bytes`; .txt), a folder, a list in a bucket (s3://bucket/list.jsonl or .txt) or all images below
 * a prefix (s3://bucket/prefix/). Images are paths, http(s) URLs or s3://bucket/key; relative paths begin at
 * the folder of the list. A .jsonl or .txt file is read as it is needed and may be of any length.
 *
 * Throws E_DATASET_NOT_FOUND, E_DATASET_FORMAT with the line of what is wrong.
 */
export async function openInput(given: string, s3: S3Options = {}): Promise<Input> {
  const location = parseLocation(given, "enqueue");
  if (location.kind === "s3") return openS3Input(given, location, await S3.open(s3));
  const { path } = location;
  const info = await stat(path).catch((cause: unknown) => {
    throw cannotRead("E_DATASET_NOT_FOUND", path, cause);
  });
  if (info.isDirectory()) return folderInput(path);
  const base = dirname(path);
  if (/\.(jsonl|txt)$/i.test(path)) {
    return { name: path, notes: [], images: () => fromLines(createReadStream(path), path, base) };
  }
  if (/\.(csv|tsv)$/i.test(path)) return { name: path, notes: [], images: () => fromTable(path, base) };
  const wanted = "give a folder, .jsonl, .csv, .tsv or .txt; a .tar has to be unpacked";
  throw new TorchclipError("E_DATASET_FORMAT", `${path} cannot be put on a queue; ${wanted}`, {
    subject: path,
  });
}

async function folderInput(path: string): Promise<Input> {
  const { images, leftOut } = await imagesBelow(path);
  const each = async function* (): AsyncGenerator<InputImage> {
    for (const { name } of images) {
      const image = join(path, name);
      yield { name, image, bytes: await sizeOf(image) };
    }
  };
  return { name: path, images: each, notes: leftOut.notes(path) };
}

function openS3Input(name: string, at: { bucket: string; key: string }, s3: S3): Input {
  const { bucket, key } = at;
  if (/\.(jsonl|txt)$/i.test(key)) {
    const lines = async function* (): AsyncGenerator<InputImage> {
      const bytes = await read(() => s3.get(bucket, key), name);
      if (!bytes)
        throw new TorchclipError("E_DATASET_NOT_FOUND", `${name} does not exist`, { subject: name });
      yield* fromLines(Readable.from([bytes]), name, undefined);
    };
    return { name, images: lines, notes: [] };
  }
  const listed = async function* (): AsyncGenerator<InputImage> {
    const objects = s3.list(bucket, key);
    for (;;) {
      const next = await read(() => objects.next(), name);
      if (next.done) return;
      const { value } = next;
      const image = `s3://${bucket}/${value.key}`;
      if (IMAGE_NAME.test(value.key))
        yield { name: value.key.slice(key.length) || basename(value.key), image, bytes: value.bytes };
    }
  };
  return { name, images: listed, notes: [] };
}

async function read<T>(request: () => Promise<T>, name: string): Promise<T> {
  try {
    return await request();
  } catch (cause) {
    throw cannotRead("E_DATASET_NOT_FOUND", name, cause);
  }
}

/** `base`: the folder of relative paths; undefined where there are none. */
async function* fromLines(
  stream: Readable,
  file: string,
  base: string | undefined,
): AsyncGenerator<InputImage> {
  const isText = /\.txt$/i.test(file);
  let line = 0;
  try {
    for await (const content of createInterface({ input: stream, crlfDelay: Infinity })) {
      line++;
      const text = line === 1 ? content.replace(/^\ufeff/, "") : content;
      if (text.trim() === "") continue;
      yield await fromColumns(isText ? { path: text } : columnsOf(text, file, line), file, line, base);
    }
  } catch (error) {
    throw error instanceof TorchclipError ? error : cannotRead("E_DATASET_NOT_FOUND", file, error);
  }
}

function columnsOf(text: string, file: string, line: number): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw lineError(file, line, (cause as Error).message, cause);
  }
  if (isObject(value)) return value;
  throw lineError(file, line, "the line is no JSON object");
}

async function* fromTable(file: string, base: string): AsyncGenerator<InputImage> {
  for (const { columns, line } of await readRows(file)) yield await fromColumns(columns, file, line, base);
}

async function fromColumns(
  columns: Record<string, unknown>,
  file: string,
  line: number,
  base: string | undefined,
): Promise<InputImage> {
  const name = columns.path ?? columns.image ?? columns.file;
  if (typeof name !== "string" || name.trim() === "")
    throw lineError(file, line, "no path in the column path (or image, or file)");
  const image = isRemote(name) || isS3(name) ? name : absolute(name, file, line, base);
  return { name, image, bytes: bytesIn(columns) ?? (await sizeOf(image)) };
}

function absolute(name: string, file: string, line: number, base: string | undefined): string {
  if (isLocation(name)) return localPath(name);
  if (base !== undefined) return resolve(base, name);
  throw lineError(
    file,
    line,
    `${name} is no URL; a list in a bucket names its images by s3:// or http(s)://`,
  );
}

/** The column `bytes`, as a number or, in a table, as text. */
function bytesIn({ bytes }: Record<string, unknown>): number | undefined {
  const count = typeof bytes === "string" && bytes.trim() !== "" ? Number(bytes) : bytes;
  return typeof count === "number" && count >= 0 && count < Infinity ? count : undefined;
}

/** Bytes of a local file; undefined of a URL, and of what is not there, which its worker reports. */
async function sizeOf(image: string): Promise<number | undefined> {
  if (isRemote(image) || isS3(image)) return undefined;
  const info = await stat(image).catch(() => undefined);
  return info?.size;
}
