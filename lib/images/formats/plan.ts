import { setImmediate as nextTurn } from "node:timers/promises";
import type { RawImage } from "../types.js";

/** Width and height in pixels, from a file's header. */
export interface Size {
  width: number;
  height: number;
}

/**
 * Samples as sharp gives them: rows packed, `channels` interleaved; 8 bits each, or 16 in native byte order.
 */
export interface Samples extends Size {
  data: Buffer;
  channels: number;
}

/** How sharp is to read a file so that its pixels become Pillow's. */
export interface Plan {
  /** The file, or a copy in which the fields are changed that libvips reads otherwise than Pillow. */
  bytes: Uint8Array;
  /** From which level on a decoder's complaint is an error. Warnings never are: Pillow reads such files. */
  failOn: "truncated" | "error";
  /** Turn by the file's own orientation, whether or not autoRotate is set. */
  turn: boolean;
  /**
   * The samples that sharp gives: "pixels", 8-bit grey or RGB without alpha; "rgba8", 8-bit RGB with alpha;
   * "grey16" and "rgb16", 16-bit samples that are not scaled, with all channels; "cmyk8", 8-bit inks.
   */
  read: "pixels" | "rgba8" | "grey16" | "rgb16" | "cmyk8";
  /** Size of the result where it is not what sharp's metadata says. */
  size?: Size;
  /** Makes pixels of the samples. Left out: they are pixels already. */
  finish?: (samples: Samples) => Promise<RawImage>;
}

/** The plan of a file that sharp reads as Pillow does. */
export function plainPlan(bytes: Uint8Array): Plan {
  return { bytes, failOn: "truncated", turn: false, read: "pixels" };
}

/**
 * A file of a format that sharp does not read: its size by the header, and its pixels, for which nothing is
 * allocated before.
 */
export interface OwnImage extends Size {
  decode: () => Promise<RawImage>;
}

/** Reads a header. It and `decode` throw an Error that says what is wrong with the file. */
export type OwnDecoder = (bytes: Uint8Array) => OwnImage;

/** Pixels that are decoded before the event loop gets a turn: about a millisecond of work. */
const PIXELS_PER_TURN = 1 << 17;

/** Writes the pixels of row `y` into `out` from `to` on. */
export type RowWriter = (out: Uint8Array, to: number, y: number) => void;

/**
 * An image made row by row, in order, with turns of the event loop in between: decoders written in JavaScript
 * run on the main thread, and a large image must not hold it. `work`: how much longer a pixel takes than a
 * copied one.
 */
export async function rowsOf(
  { width, height }: Size,
  channels: 1 | 3,
  row: RowWriter,
  work = 1,
): Promise<RawImage> {
  const data = new Uint8Array(width * height * channels);
  const step = Math.max(1, Math.floor(PIXELS_PER_TURN / (width * work)));
  for (let y = 0; y < height; y++) {
    if (y > 0 && y % step === 0) await nextTurn();
    row(data, y * width * channels, y);
  }
  return { data, width, height, channels };
}

/** Throws where a size is not one of an image. */
export function checkSize(width: number, height: number): Size {
  if (!(width >= 1 && height >= 1)) throw new Error(`its header says ${width} × ${height} pixels`);
  return { width, height };
}

/** Throws where a file ends before its pixels do. */
export function checkLength(have: number, need: number): void {
  if (have < need) throw new Error(`it is cut off: ${have} bytes of pixels, ${need} are needed`);
}

/** A view for reading numbers. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Bytes as Latin-1 text. */
export function latin1(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1", from, to);
}
