import sharp, { type Metadata } from "sharp";
import { TorchclipError } from "../errors.js";
import { untilAborted } from "../util/abort.js";
import { checkFormat, imageFormat } from "./format.js";
import { guardedDecode, type Admit } from "./guard.js";
import { readJpegHeader } from "./jpeg.js";
import { DEFAULT_LIMITS, mergeLimits, type ImageLimits } from "./limits.js";
import { withoutCompressedMetadata } from "./png.js";
import { checkRaw, EncodedImage, imageName, isRaw, readImage } from "./source.js";

export { imageName } from "./source.js";

/** Decoded pixels: uint8 [height, width, channels], rows packed; channels 1 (grey), 3 (RGB), 4 (RGBA, alpha ignored). */
export interface RawImage {
  data: Uint8Array;
  width: number;
  height: number;
  channels: 1 | 3 | 4;
}

/** A path, the bytes of an encoded file, a `file:` or `http(s):` URL, or decoded pixels. */
export type ImageInput = string | URL | Uint8Array | RawImage;

export interface DecodeOptions extends ImageLimits {
  /** Turn the picture as its EXIF orientation says. Default false, as CLIP's reference. */
  autoRotate?: boolean;
  /**
   * Let the JPEG decoder leave out detail that the resize would throw away (by 4 or 8, never below twice the model's
   * size; by 2 nothing would be gained). Default false: the pixels are then no longer the reference's bits; what it costs is in docs/precision.md.
   */
  fastDecode?: boolean;
  /** Rejects with E_ABORTED at once; a decoder that cannot be stopped ends in the background. */
  signal?: AbortSignal;
}

/** Seconds that went into a picture. */
export interface DecodeTimes {
  read: number;
  decode: number;
}

/**
 * Decodes as Pillow's `Image.open(…).convert("RGB")` does: colour profiles and (unless asked for) EXIF orientation
 * are ignored, alpha is dropped, a GIF or TIFF gives its first frame. `use` is called with the pixels while they still
 * count in the budget of what is decoded at once.
 */
export async function decodeImage<T = RawImage>(
  image: ImageInput | EncodedImage,
  options: DecodeOptions & { size?: number } = {},
  times?: DecodeTimes,
  use: (image: RawImage) => Promise<T> = (decoded) => Promise.resolve(decoded as T),
): Promise<T> {
  if (isRaw(image)) return use(checkRaw(image));
  const limits = mergeLimits(options);
  const name = imageName(image);
  const start = performance.now();
  const bytes = await readImage(image, limits, options.signal);
  const read = performance.now();
  if (times) times.read += (read - start) / 1000;
  const format = checkFormat(bytes, name, limits.formats);
  const decode = async (admit: Admit) => {
    try {
      return await decodeBytes(format === "png" ? withoutCompressedMetadata(bytes) : bytes, name, { ...options, ...limits }, admit);
    } finally {
      if (times) times.decode += (performance.now() - read) / 1000;
    }
  };
  return guardedDecode(name, limits, options.signal, decode, use);
}

/** The bytes of an encoded picture, or decoded pixels as they were given; for showing a picture in a report. */
export async function readImageFile(image: ImageInput): Promise<Uint8Array | RawImage> {
  return isRaw(image) ? checkRaw(image) : readImage(image, DEFAULT_LIMITS);
}

/** An encoded picture that is being read; undefined for decoded pixels. */
export function startReading(image: ImageInput, options: DecodeOptions): EncodedImage | undefined {
  if (isRaw(image)) return undefined;
  return new EncodedImage(imageName(image), readImage(image, mergeLimits(options), options.signal));
}

/** The bytes of a JPEG file that the limits accept; undefined for anything else, and where it cannot be read (decodeImage then says why). */
export async function jpegFile(image: EncodedImage, options: DecodeOptions): Promise<Uint8Array | undefined> {
  const bytes = await untilAborted(image.bytes, options.signal).catch(() => undefined);
  const header = bytes && readJpegHeader(bytes);
  const { formats, maxPixels } = mergeLimits(options);
  return header && formats.includes("jpeg") && header.width * header.height <= maxPixels ? bytes : undefined;
}

/** A time limit as sharp takes it: whole seconds, at most an hour. It ends most decoders, where they ask. */
function timeoutSeconds(milliseconds = DEFAULT_LIMITS.decodeTimeout): number {
  return Math.min(3600, Math.ceil(milliseconds / 1000));
}

/** How much smaller the JPEG decoder may make a picture whose shorter side is to become `size`. */
function shrinkFactor(shorter: number, size: number): number {
  return [8, 4].find((f) => shorter / f >= 2 * size) ?? 1;
}

/** What sharp's metadata says of a JPEG file in grey or colours, without a turn on the thread pool (a tenth of decoding). */
function jpegMetadata(bytes: Uint8Array): Pick<Metadata, "width" | "height" | "space" | "depth" | "channels" | "format"> | undefined {
  const header = readJpegHeader(bytes);
  if (header?.components !== 1 && header?.components !== 3) return undefined;
  const { width, height, components: channels } = header;
  return { width, height, channels, space: channels === 1 ? "b-w" : "srgb", depth: "uchar", format: "jpeg" };
}

async function decodeBytes(bytes: Uint8Array, name: string, options: DecodeOptions & { size?: number }, admit: Admit): Promise<RawImage> {
  if (bytes.byteLength === 0) throw new TorchclipError("E_IMAGE_DECODE", `${name} is empty (0 bytes)`, { subject: name });
  try {
    const open = () => sharp(bytes, { ignoreIcc: true, failOn: "truncated", limitInputPixels: false });
    const { width, height, space, depth, channels, format } = jpegMetadata(bytes) ?? (await open().metadata());
    await admit({ width, height, format: imageFormat(bytes) });
    let picture = open().timeout({ seconds: timeoutSeconds(options.decodeTimeout) });
    const shrink = options.fastDecode && options.size && format === "jpeg" && space !== "cmyk" ? shrinkFactor(Math.min(width, height), options.size) : 1;
    // A resize by exactly the factor is done by the decoder alone.
    if (shrink > 1) picture = picture.resize(Math.ceil(width / shrink), Math.ceil(height / shrink), { fit: "fill", fastShrinkOnLoad: true });
    if (options.autoRotate) picture = picture.autoOrient();
    if (space === "cmyk") {
      const raw = await picture.pipelineColourspace("cmyk").toColourspace("cmyk").raw().toBuffer({ resolveWithObject: true });
      return cmykToRgb(raw.data, raw.info.width, raw.info.height, raw.info.channels);
    }
    if (depth === "ushort" && (space === "grey16" || space === "b-w") && channels === 1) {
      const raw = await picture.toColourspace("grey16").raw({ depth: "ushort" }).toBuffer({ resolveWithObject: true });
      return grey16(raw.data, raw.info.width, raw.info.height, raw.info.channels);
    }
    const { data, info } = await picture
      .removeAlpha()
      .toColourspace(channels < 3 ? "b-w" : "srgb")
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { data, width: info.width, height: info.height, channels: info.channels as 1 | 3 };
  } catch (cause) {
    if (cause instanceof TorchclipError) throw cause;
    const message = (cause as Error).message.split("\n")[0];
    throw new TorchclipError("E_IMAGE_DECODE", `cannot decode ${name}: ${message}`, { subject: name, cause });
  }
}

/** Pillow's cmyk2rgb (src/libImaging/Convert.c): out = nk - MULDIV255(ink, nk), nk = 255 - black. */
function cmykToRgb(ink: Uint8Array, width: number, height: number, channels: number): RawImage {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0, o = 0; o < data.length; i += channels) {
    const nk = 255 - ink[i + 3];
    for (let c = 0; c < 3; c++) {
      const t = ink[i + c] * nk + 128;
      data[o++] = Math.max(0, nk - (((t >> 8) + t) >> 8));
    }
  }
  return { data, width, height, channels: 3 };
}

/** Pillow reads a 16-bit grey PNG as "I;16", whose conversion to RGB clips at 255 (it does not scale). */
function grey16(bytes: Buffer, width: number, height: number, channels: number): RawImage {
  const data = new Uint8Array(width * height);
  for (let i = 0; i < data.length; i++) data[i] = Math.min(255, bytes.readUInt16LE(2 * channels * i));
  return { data, width, height, channels: 1 };
}
