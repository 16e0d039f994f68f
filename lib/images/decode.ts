import type Sharp from "sharp";
import type { Metadata } from "sharp";
import { TorchclipError } from "../errors.js";
import { untilAborted } from "../util/abort.js";
import { freeMemory } from "../util/free-memory.js";
import { own } from "../util/own.js";
import { checkFormat } from "./format.js";
import { cmykToRgb, decodingOf, readSamples, type Plan, type Size } from "./formats/index.js";
import { guardedDecode, type Admit } from "./guard.js";
import { readJpegHeader } from "./jpeg.js";
import { mergeLimits, type CheckedLimits } from "./limits.js";
import { checkRaw, EncodedImage, imageName, isRaw, readImage } from "./source.js";
import type { DecodeOptions, ImageFormat, ImageInput, RawImage } from "./types.js";

export { imageName } from "./source.js";

/** Seconds that went into an image. */
export interface DecodeTimes {
  read: number;
  decode: number;
}

/**
 * Decodes as Pillow's `Image.open(…).convert("RGB")` does: colour profiles and (unless asked for) EXIF
 * orientation are ignored, alpha is dropped, a GIF or TIFF gives its first frame. `use` is called with the
 * pixels while they still count in the budget of what is decoded at once.
 */
export async function decodeImage<T = RawImage>(
  image: ImageInput | EncodedImage,
  options: DecodeOptions & { size?: number } = {},
  times?: DecodeTimes,
  use: (image: RawImage) => Promise<T> = (decoded) => Promise.resolve(decoded as T),
): Promise<T> {
  if (isRaw(image)) return use(await ownPixels(image));
  const limits = mergeLimits(options);
  const name = imageName(image);
  const start = performance.now();
  const bytes = await readImage(image, limits, options.signal);
  const read = performance.now();
  if (times) times.read += (read - start) / 1000;
  const format = checkFormat(bytes, name, limits.formats);
  const decode = async (admit: Admit) => {
    try {
      const raw = await decodeBytes({ bytes, format, name }, { ...options, ...limits }, admit);
      // An EncodedImage keeps its bytes.
      if (!(image instanceof EncodedImage) && raw.data.buffer !== bytes.buffer) freeMemory(bytes);
      return raw;
    } finally {
      if (times) times.decode += (performance.now() - read) / 1000;
    }
  };
  return guardedDecode(name, limits, options.signal, decode, use);
}

/**
 * Decoded pixels in memory that the caller can no longer transfer, shrink or free (see `own`), as bytes of
 * files are copied.
 */
async function ownPixels(image: RawImage): Promise<RawImage> {
  const raw = checkRaw(image);
  return { ...raw, data: await own(raw.data, "the pixels") };
}

/** An encoded image that is being read; undefined for decoded pixels. */
export function startReading(image: ImageInput, options: DecodeOptions): EncodedImage | undefined {
  if (isRaw(image)) return undefined;
  return new EncodedImage(imageName(image), readImage(image, mergeLimits(options), options.signal));
}

/**
 * The bytes of a JPEG file that the limits accept; undefined for anything else, and where it cannot be read
 * (decodeImage then says why).
 */
export async function jpegFile(image: EncodedImage, options: DecodeOptions): Promise<Uint8Array | undefined> {
  const bytes = await untilAborted(image.bytes, options.signal).catch(() => undefined);
  const header = bytes && readJpegHeader(bytes);
  const { formats, maxPixels } = mergeLimits(options);
  if (!header || !formats.includes("jpeg")) return undefined;
  return header.width * header.height <= maxPixels ? bytes : undefined;
}

/** A time limit as sharp takes it: whole seconds, at most an hour. It ends most decoders, where they ask. */
function timeoutSeconds(milliseconds: number): number {
  return Math.min(3600, Math.ceil(milliseconds / 1000));
}

/** How much smaller the JPEG decoder may make an image whose shorter side is to become `size`. */
function shrinkFactor(shorter: number, size: number): number {
  return [8, 4].find((f) => shorter / f >= 2 * size) ?? 1;
}

/**
 * What sharp's metadata says of a JPEG file in grey or colours, without a turn on the thread pool (a tenth of
 * decoding).
 */
function jpegMetadata(
  bytes: Uint8Array,
): Pick<Metadata, "width" | "height" | "space" | "channels" | "format" | "orientation"> | undefined {
  const header = readJpegHeader(bytes);
  if (header?.components !== 1 && header?.components !== 3) return undefined;
  const { width, height, components: channels } = header;
  return { width, height, channels, space: channels === 1 ? "b-w" : "srgb", format: "jpeg" };
}

/**
 * Width and height of an encoded image as its header states them, before any rotation. Throws E_IMAGE_DECODE
 * for what is not an image that torchclip reads.
 */
export async function imageSize(bytes: Uint8Array): Promise<{ width: number; height: number }> {
  const header = readJpegHeader(bytes);
  if (header) return { width: header.width, height: header.height };
  const name = imageName(bytes);
  const limits = mergeLimits({});
  const format = checkFormat(bytes, name, limits.formats);
  try {
    const decoding = decodingOf(bytes, format, {});
    if ("own" in decoding) return { width: decoding.own.width, height: decoding.own.height };
    const { width, height } = await (await loadSharp())(decoding.plan.bytes, { failOn: "none" }).metadata();
    return decoding.plan.size ?? { width, height };
  } catch (cause) {
    if (cause instanceof TorchclipError) throw cause;
    const message = `cannot decode ${name}: ${(cause as Error).message}`;
    throw new TorchclipError("E_IMAGE_DECODE", message, { subject: name, cause });
  }
}

interface EncodedFile {
  bytes: Uint8Array;
  format: ImageFormat | undefined;
  name: string;
}

type SizedOptions = DecodeOptions & CheckedLimits & { size?: number };

async function decodeBytes(
  { bytes, format, name }: EncodedFile,
  options: SizedOptions,
  admit: Admit,
): Promise<RawImage> {
  if (bytes.byteLength === 0)
    throw new TorchclipError("E_IMAGE_DECODE", `${name} is empty (0 bytes)`, { subject: name });
  try {
    const decoding = decodingOf(bytes, format, options);
    if ("plan" in decoding)
      return await decodeBySharp(decoding.plan, options, (size) => admit({ ...size, format }));
    const { width, height, decode } = decoding.own;
    await admit({ width, height, format });
    return await decode();
  } catch (cause) {
    if (cause instanceof TorchclipError) throw cause;
    const [firstLine = ""] = (cause as Error).message.split("\n");
    const message = `cannot decode ${name}: ${firstLine}`;
    throw new TorchclipError("E_IMAGE_DECODE", message, { subject: name, cause });
  }
}

/** Loads what decodes images, so that the first image does not wait for it. That image tells of a failure. */
export async function prepareDecoder(): Promise<void> {
  await loadSharp().catch(() => undefined);
}

let loadedSharp: typeof Sharp | undefined;

/** sharp, which the first image that needs it loads. */
async function loadSharp(): Promise<typeof Sharp> {
  loadedSharp ??= (await import("sharp")).default;
  return loadedSharp;
}

async function decodeBySharp(
  plan: Plan,
  options: SizedOptions,
  admit: (size: Size) => Promise<void>,
): Promise<RawImage> {
  const sharp = await loadSharp();
  const open = () => sharp(plan.bytes, { ignoreIcc: true, failOn: plan.failOn, limitInputPixels: false });
  const { fastDecode, size, autoRotate } = options;
  const header = fastDecode && autoRotate ? undefined : jpegMetadata(plan.bytes);
  const { width, height, space, channels, format, orientation = 1 } = header ?? (await open().metadata());
  await admit(plan.size ?? { width, height });
  const canShrink = fastDecode && format === "jpeg" && space !== "cmyk";
  const shrink = canShrink && size ? shrinkFactor(Math.min(width, height), size) : 1;
  let pipeline = open().timeout({ seconds: timeoutSeconds(options.decodeTimeout) });
  if (autoRotate || plan.turn) pipeline = pipeline.autoOrient();
  if (shrink > 1) {
    // A resize by exactly the factor is done by the decoder alone. It comes after the turn, which may swap
    // the sides.
    const swaps = autoRotate && orientation >= 5;
    const across = Math.ceil((swaps ? height : width) / shrink);
    const down = Math.ceil((swaps ? width : height) / shrink);
    pipeline = pipeline.resize(across, down, { fit: "fill", fastShrinkOnLoad: true });
  }
  const read = plan.read === "pixels" && space === "cmyk" ? "cmyk8" : plan.read;
  const samples = await readSamples(pipeline, read, channels);
  if (read === "cmyk8") return cmykToRgb(samples);
  return plan.finish ? await plan.finish(samples) : { ...samples, channels: samples.channels as 1 | 3 };
}
