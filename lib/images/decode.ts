import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import sharp, { type Metadata } from "sharp";
import { TorchclipError } from "../errors.js";
import { cmykToRgb, decodingOf, readSamples, type Plan, type Size } from "./formats/index.js";
import { readJpegHeader } from "./jpeg.js";

/** Decoded pixels: uint8 [height, width, channels], rows packed; channels 1 (grey), 3 (RGB), 4 (RGBA, alpha ignored). */
export interface RawImage {
  data: Uint8Array;
  width: number;
  height: number;
  channels: 1 | 3 | 4;
}

/** A path, the bytes of an encoded file, a `file:` or `http(s):` URL, or decoded pixels. */
export type ImageInput = string | URL | Uint8Array | RawImage;

export interface DecodeOptions {
  /** Turn the picture as its EXIF orientation says. Default false, as CLIP's reference. */
  autoRotate?: boolean;
  /** Refuse pictures with more pixels, before anything is allocated. Default 268,402,689 (16,383 × 16,383). */
  maxPixels?: number;
  /**
   * Let the JPEG decoder leave out detail that the resize would throw away (by 4 or 8, never below twice the model's
   * size; by 2 nothing would be gained). Default false: the pixels are then no longer the reference's bits; what it costs is in docs/precision.md.
   */
  fastDecode?: boolean;
  signal?: AbortSignal;
}

/** Seconds that went into a picture. */
export interface DecodeTimes {
  read: number;
  decode: number;
}

const MAX_PIXELS = 0x3fff * 0x3fff;
const MAX_SIDE = 1 << 24;

/** The name of an input in messages. */
export function imageName(image: ImageInput): string {
  if (typeof image === "string") return image;
  if (image instanceof URL) return image.href;
  if (image instanceof Uint8Array) return `<${image.byteLength} bytes>`;
  return `<${image.width} × ${image.height} pixels>`;
}

/**
 * Decodes as Pillow's `Image.open(…).convert("RGB")` does: colour profiles and (unless asked for) EXIF orientation
 * are ignored, alpha is dropped, a GIF or TIFF gives its first frame.
 */
export async function decodeImage(image: ImageInput, options: DecodeOptions & { size?: number } = {}, times?: DecodeTimes): Promise<RawImage> {
  if (isRaw(image)) return checkRaw(image);
  const start = performance.now();
  const bytes = await readBytes(image, options.signal);
  const read = performance.now();
  try {
    return await decodeBytes(bytes, imageName(image), options);
  } finally {
    if (times) {
      times.read += (read - start) / 1000;
      times.decode += (performance.now() - read) / 1000;
    }
  }
}

/** The bytes of a JPEG file; undefined for anything else, and where it cannot be read (decodeImage then says why). */
export async function jpegFile(image: ImageInput): Promise<Uint8Array | undefined> {
  if (isRaw(image)) return undefined;
  const bytes = await readBytes(image).catch(() => undefined);
  return bytes && bytes.length > 3 && bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff ? bytes : undefined;
}

function isRaw(image: ImageInput): image is RawImage {
  return typeof image === "object" && !(image instanceof Uint8Array) && !(image instanceof URL);
}

function checkRaw(image: RawImage): RawImage {
  const { data, width, height, channels } = image ?? {};
  const fits =
    (data instanceof Uint8Array || (data as unknown) instanceof Uint8ClampedArray) &&
    Number.isInteger(width) &&
    Number.isInteger(height) &&
    width >= 1 &&
    height >= 1 &&
    width <= MAX_SIDE &&
    height <= MAX_SIDE &&
    (channels === 1 || channels === 3 || channels === 4);
  if (!fits) {
    throw new TorchclipError(
      "E_ARGUMENT",
      "an image is a path, a URL, a Buffer of an encoded file, or { data: Uint8Array, width, height, channels: 1 | 3 | 4 }",
    );
  }
  if (data.length !== width * height * channels) {
    throw new TorchclipError(
      "E_ARGUMENT",
      `raw pixels: data holds ${data.length} bytes, ${width} × ${height} × ${channels} needs ${width * height * channels}`,
    );
  }
  return data instanceof Uint8Array ? image : { ...image, data: new Uint8Array((data as Uint8ClampedArray).buffer) };
}

async function readBytes(image: string | URL | Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
  if (image instanceof Uint8Array) return image;
  const text = image instanceof URL ? image.href : image;
  try {
    if (/^https?:/i.test(text)) {
      const response = await fetch(text, { signal });
      if (!response.ok) throw new Error(`HTTP ${response.status} ${response.statusText}`);
      return new Uint8Array(await response.arrayBuffer());
    }
    return await readFile(/^file:/i.test(text) ? fileURLToPath(text) : text, { signal });
  } catch (cause) {
    if (signal?.aborted) throw new TorchclipError("E_ABORTED", "aborted", { cause });
    throw new TorchclipError("E_IMAGE_READ", `cannot read ${text}: ${(cause as Error).message}`, { subject: text, cause });
  }
}

/** How much smaller the JPEG decoder may make a picture whose shorter side is to become `size`. */
function shrinkFactor(shorter: number, size: number): number {
  return [8, 4].find((f) => shorter / f >= 2 * size) ?? 1;
}

/** What sharp's metadata says of a JPEG file in grey or colours, without a turn on the thread pool (a tenth of decoding). */
function jpegMetadata(bytes: Uint8Array): Pick<Metadata, "width" | "height" | "space" | "channels" | "format" | "orientation"> | undefined {
  const header = readJpegHeader(bytes);
  if (header?.components !== 1 && header?.components !== 3) return undefined;
  const { width, height, components: channels } = header;
  return { width, height, channels, space: channels === 1 ? "b-w" : "srgb", format: "jpeg" };
}

async function decodeBytes(bytes: Uint8Array, name: string, options: DecodeOptions & { size?: number }): Promise<RawImage> {
  if (bytes.byteLength === 0) throw new TorchclipError("E_IMAGE_DECODE", `${name} is empty (0 bytes)`, { subject: name });
  try {
    const decoding = decodingOf(bytes, options);
    if ("own" in decoding) {
      checkPixels(decoding.own.size(decoding.bytes), name, options);
      return await decoding.own.decode(decoding.bytes);
    }
    return await decodeBySharp(decoding.plan, name, options);
  } catch (cause) {
    if (cause instanceof TorchclipError) throw cause;
    const message = (cause as Error).message.split("\n")[0];
    throw new TorchclipError("E_IMAGE_DECODE", `cannot decode ${name}: ${message}`, { subject: name, cause });
  }
}

async function decodeBySharp(plan: Plan, name: string, options: DecodeOptions & { size?: number }): Promise<RawImage> {
  const open = () => sharp(plan.bytes, { ignoreIcc: true, failOn: plan.failOn, limitInputPixels: false });
  const { fastDecode, size, autoRotate } = options;
  const header = fastDecode && autoRotate ? undefined : jpegMetadata(plan.bytes);
  const { width, height, space, channels, format, orientation = 1 } = header ?? (await open().metadata());
  checkPixels(plan.size ?? { width, height }, name, options);
  const shrink = fastDecode && size && format === "jpeg" && space !== "cmyk" ? shrinkFactor(Math.min(width, height), size) : 1;
  let picture = open();
  if (autoRotate || plan.turn) picture = picture.autoOrient();
  if (shrink > 1) {
    // A resize by exactly the factor is done by the decoder alone. It comes after the turn, which may swap the sides.
    const sides = autoRotate && orientation >= 5 ? [height, width] : [width, height];
    const [across, down] = sides.map((side) => Math.ceil(side / shrink));
    picture = picture.resize(across, down, { fit: "fill", fastShrinkOnLoad: true });
  }
  const read = plan.read === "pixels" && space === "cmyk" ? "cmyk8" : plan.read;
  const samples = await readSamples(picture, read, channels);
  if (read === "cmyk8") return cmykToRgb(samples);
  return plan.finish ? await plan.finish(samples) : { ...samples, channels: samples.channels as 1 | 3 };
}

function checkPixels({ width, height }: Size, name: string, { maxPixels = MAX_PIXELS }: DecodeOptions): void {
  if (width * height <= maxPixels) return;
  throw new TorchclipError("E_IMAGE_TOO_LARGE", `${name}: ${width} × ${height} pixels are more than the limit of ${maxPixels}`, { subject: name });
}
