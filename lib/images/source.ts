import { open, type FileHandle } from "node:fs/promises";
import { cannotRead, TorchclipError } from "../errors.js";
import { messageOf } from "../options.js";
import { isRemote, isUrl, localPath, redactUrl } from "../redact.js";
import { untilAborted } from "../util/abort.js";
import { READ_AT_ONCE } from "../util/untrusted.js";
import { checkBytes, type CheckedLimits } from "./limits.js";
import type { ImageInput, RawImage } from "./types.js";

const MAX_SIDE = 1 << 24;
const MAX_NAME = 1000; // characters
const WANTED =
  "an image is a path, a URL, a Buffer of an encoded file, " +
  "or { data: Uint8Array, width, height, channels: 1 | 3 | 4 }";
/** Bytes by which the buffer grows for a file that is longer than it said. */
const READ_CHUNK = 1 << 20;

/** An encoded image that is being read, so that it is read once, whoever decodes it. */
export class EncodedImage {
  constructor(
    readonly name: string,
    readonly bytes: Promise<Uint8Array>,
  ) {
    bytes.catch(() => undefined); // decoding reports the error
  }
}

/** The name of an input in messages; never credentials or queries of a URL. Never throws. */
export function imageName(image: ImageInput | EncodedImage): string {
  if (typeof image === "string") return cut(isUrl(image) ? redactUrl(image) : image);
  if (image instanceof URL) return cut(redactUrl(image));
  if (image instanceof EncodedImage) return image.name;
  if (ArrayBuffer.isView(image)) return `<${image.byteLength} bytes>`;
  try {
    const { width, height }: Record<"width" | "height", unknown> = image;
    return `<${Number(width)} × ${Number(height)} pixels>`;
  } catch {
    const given: unknown = image;
    return `<${given === null ? "null" : typeof given}>`;
  }
}

function cut(name: string): string {
  return name.length > MAX_NAME ? `${name.slice(0, MAX_NAME)}…` : name;
}

export function isRaw(image: ImageInput | EncodedImage): image is RawImage {
  return (
    typeof image !== "string" &&
    !(image instanceof Uint8Array) &&
    !(image instanceof URL) &&
    !(image instanceof EncodedImage)
  );
}

/**
 * Decoded pixels with each field read once, so that a getter cannot change them behind the check. E_ARGUMENT
 * where they do not fit.
 */
export function checkRaw(image: RawImage): RawImage {
  const { data, width, height, channels } = readRaw(image);
  if (!isBytes(data) || !isSide(width) || !isSide(height) || !isChannels(channels))
    throw new TorchclipError("E_ARGUMENT", WANTED);
  const needed = width * height * channels;
  if (data.length !== needed) {
    throw new TorchclipError(
      "E_ARGUMENT",
      `raw pixels: data holds ${data.length} bytes, ${width} × ${height} × ${channels} needs ${needed}`,
    );
  }
  const { buffer, byteOffset, length } = data;
  return {
    data: data instanceof Uint8Array ? data : new Uint8Array(buffer, byteOffset, length),
    width,
    height,
    channels,
  };
}

const isBytes = (value: unknown): value is Uint8Array | Uint8ClampedArray =>
  value instanceof Uint8Array || value instanceof Uint8ClampedArray;

const isSide = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= MAX_SIDE;

const isChannels = (value: unknown): value is RawImage["channels"] =>
  value === 1 || value === 3 || value === 4;

/** The fields of an image that a caller gave, not checked yet. */
function readRaw(image: RawImage): Record<keyof RawImage, unknown> {
  try {
    const { data, width, height, channels } = image;
    return { data, width, height, channels };
  } catch (cause) {
    throw new TorchclipError("E_ARGUMENT", `${WANTED}; this one cannot be read: ${messageOf(cause)}`, {
      cause,
    });
  }
}

type ReadLimits = Pick<CheckedLimits, "fetchTimeout" | "maxBytes" | "sources">;

/**
 * The bytes of an encoded image, from where `sources` allows. E_IMAGE_READ, E_IMAGE_TOO_LARGE or E_ABORTED.
 */
export async function readImage(
  image: string | URL | Uint8Array | EncodedImage,
  limits: ReadLimits,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  if (image instanceof EncodedImage) return untilAborted(image.bytes, signal);
  const name = imageName(image);
  if (image instanceof Uint8Array) {
    checkBytes(name, image.byteLength, limits.maxBytes);
    // A copy: the decoder reads on another thread, where the caller's buffer might be shrunk or transferred
    // meanwhile.
    return Buffer.from(image);
  }
  const text = image instanceof URL ? image.href : image;
  if (isRemote(text)) {
    if (!limits.sources.url) throw refused(name, "URLs are not read here (option sources.url)");
    const { fetchImage } = await import("./remote.js"); // loaded, with Node's HTTP, by the first URL
    return fetchImage(text, limits, signal);
  }
  if (/^data:/i.test(text)) throw refused(name, "data URLs are not read; give their bytes as a Buffer");
  if (/^(?!file:)[a-z][a-z\d+.-]+:\/\//i.test(text))
    throw refused(name, "of URLs only http:, https: and file: are read");
  if (!limits.sources.file) throw refused(name, "files are not read here (option sources.file)");
  return untilAborted(readRegularFile(text, name, limits.maxBytes), signal);
}

function refused(name: string, reason: string): TorchclipError {
  return new TorchclipError("E_IMAGE_READ", `cannot read ${name}: ${reason}`, { subject: name });
}

async function readRegularFile(text: string, name: string, maxBytes: number): Promise<Uint8Array> {
  let file: FileHandle | undefined;
  try {
    file = await open(localPath(text), READ_AT_ONCE);
    const info = await file.stat();
    if (!info.isFile()) throw new Error(`it is ${info.isDirectory() ? "a directory" : "no regular file"}`);
    checkBytes(name, info.size, maxBytes);
    return await readAll(file, info.size, name, maxBytes);
  } catch (cause) {
    if (cause instanceof TorchclipError) throw cause;
    throw cannotRead("E_IMAGE_READ", name, cause);
  } finally {
    await file?.close();
  }
}

/** A file to its end, which need not be where its size says: it may grow, and files of /proc say 0. */
async function readAll(file: FileHandle, size: number, name: string, maxBytes: number): Promise<Uint8Array> {
  let room = Buffer.allocUnsafeSlow(size + 1); // one more byte shows the end in the same read
  let filled = 0;
  for (;;) {
    const { bytesRead } = await file.read(room, filled, room.length - filled, filled);
    filled += bytesRead;
    checkBytes(name, filled, maxBytes);
    if (bytesRead === 0 || filled === size) return room.subarray(0, filled);
    if (filled === room.length) room = Buffer.concat([room], room.length + READ_CHUNK);
  }
}
