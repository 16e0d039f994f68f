import type { RawImage } from "../types.js";
import { checkLength, checkSize, rowsOf, viewOf, type OwnDecoder, type OwnImage, type Size } from "./plan.js";

/**
 * Windows and OS/2 bitmaps, as Pillow's BmpImagePlugin reads them: 1, 4, 8, 16, 24 and 32 bits, RLE4 and
 * RLE8, alpha dropped.
 */

const [UNPACKED, RLE8, RLE4, BIT_FIELDS] = [0, 1, 2, 3];
const CORE_HEADER = 12;
const HEADERS = [CORE_HEADER, 40, 52, 56, 64, 108, 124];

/** Of red, green and blue. */
type Masks = readonly [number, number, number];

interface Bitmap extends Size {
  bits: number;
  compression: number;
  /** Rows from the top instead of from the bottom. */
  topDown: boolean;
  /** RGB of 256 entries, black beyond the file's own ones; empty above 8 bits. */
  palette: Uint8Array;
  /** Bits of red, green and blue in a pixel of 16 or 32 bits. */
  masks: Masks;
  /** Where the pixels begin. */
  pixels: number;
}

/** `header`: where the info header begins; `pixels`: where the pixels do, 0 for behind header and palette. */
function readHeader(bytes: Uint8Array, header: number, pixels: number): Bitmap {
  checkLength(bytes.length, header + CORE_HEADER);
  const view = viewOf(bytes);
  const size = view.getUint32(header, true);
  if (!HEADERS.includes(size)) throw new Error(`a BMP header of ${size} bytes is not supported`);
  checkLength(bytes.length, header + size);
  const core = size === CORE_HEADER;
  const { width, tall, bits, compression, used } = core ? coreFields(view, header) : infoFields(view, header);
  if (![1, 4, 8, 16, 24, 32].includes(bits))
    throw new Error(`a BMP of ${bits} bits a pixel is not supported`);
  const packed = (compression === RLE8 && bits === 8) || (compression === RLE4 && bits === 4);
  const fields = compression === BIT_FIELDS && bits >= 16;
  if (compression !== UNPACKED && !packed && !fields)
    throw new Error(`BMP compression ${compression} with ${bits} bits is not supported`);

  let at = header + size;
  const masks = fields ? readMasks(view, header, size, bits) : defaultMasks(bits);
  if (fields && size === 40) at += 12;
  const entrySize = core ? 3 : 4;
  const colours = bits <= 8 ? coloursOf(used, bits) : 0;
  if (colours > 65536) throw new Error(`a BMP palette of ${colours} colours is not supported`);
  const palette = readPalette(bytes, at, colours, entrySize, bits);
  // Some writers give the palette's place for that of the pixels.
  const behind = at + colours * entrySize;
  const place = pixels === 0 || (pixels === header + size && bits <= 8) ? behind : pixels;
  return {
    ...checkSize(width, Math.abs(tall)),
    bits,
    compression,
    topDown: tall < 0,
    palette,
    masks,
    pixels: place,
  };
}

interface HeaderFields {
  width: number;
  /** The height; negative for rows from the top. */
  tall: number;
  bits: number;
  compression: number;
  /** Colours in the palette, 0 for as many as `bits` can name. */
  used: number;
}

/** The fields of OS/2's header. */
function coreFields(view: DataView, header: number): HeaderFields {
  return {
    width: view.getUint16(header + 4, true),
    tall: view.getUint16(header + 6, true),
    bits: view.getUint16(header + 10, true),
    compression: UNPACKED,
    used: 0,
  };
}

/** The fields of Windows' header. */
function infoFields(view: DataView, header: number): HeaderFields {
  return {
    width: view.getUint32(header + 4, true),
    tall: view.getInt32(header + 8, true),
    bits: view.getUint16(header + 14, true),
    compression: view.getUint32(header + 16, true),
    used: view.getUint32(header + 32, true),
  };
}

const coloursOf = (used: number, bits: number): number => (used > 0 ? used : 1 << bits);

function defaultMasks(bits: number): Masks {
  return bits === 16 ? [0x7c00, 0x3e0, 0x1f] : [0xff0000, 0xff00, 0xff];
}

function readMasks(view: DataView, header: number, size: number, bits: number): Masks {
  checkLength(view.byteLength, header + 52);
  const maskAt = (offset: number) => view.getUint32(header + offset, true);
  const masks: Masks = [maskAt(40), maskAt(44), maskAt(48)];
  if (size > 40 && masks.every((mask) => mask === 0)) return defaultMasks(bits);
  const allowed = bits === 16 ? /^(11111|111111)$/ : /^11111111$/;
  if (!masks.every((mask) => allowed.test(mask.toString(2).replace(/0+$/, ""))))
    throw new Error("this layout of BMP bit fields is not supported");
  return masks;
}

/**
 * Entries as RGB. A palette whose colours are its own indices is a ramp to its end: Pillow reads such a file
 * as grey.
 */
function readPalette(
  bytes: Uint8Array,
  at: number,
  colours: number,
  entrySize: number,
  bits: number,
): Uint8Array {
  if (bits > 8) return new Uint8Array(0);
  checkLength(bytes.length, at + colours * entrySize);
  const palette = new Uint8Array(768);
  let ramp = colours > 2;
  for (let i = 0; i < Math.min(colours, 256); i++) {
    const entry = bytes.subarray(at + i * entrySize, at + i * entrySize + 3); // blue, green, red
    palette.set(entry.toReversed(), 3 * i);
    ramp &&= entry.every((value) => value === i);
  }
  return ramp ? palette.map((_, i) => Math.floor(i / 3)) : palette;
}

async function pixelsOf(bytes: Uint8Array, bitmap: Bitmap): Promise<RawImage> {
  const { width, height, bits, compression, topDown, palette, pixels } = bitmap;
  const packed = compression === RLE8 || compression === RLE4;
  const source = packed
    ? unpackRuns(bytes, pixels, width * height, width, compression === RLE4)
    : bytes.subarray(pixels);
  const depth = packed ? 8 : bits;
  const stride = packed ? width : Math.floor((width * bits + 31) / 32) * 4;
  // The last row may lack what only fills it up.
  checkLength(source.length, stride * (height - 1) + Math.ceil((width * depth) / 8));
  const row = depth <= 8 ? indexedRow(source, palette, depth) : colourRow(source, bitmap);
  return rowsOf(bitmap, 3, (out, to, y) => row(out, to, (topDown ? y : height - 1 - y) * stride, width));
}

/** Writes `width` pixels into `out` from `to` on, which are stored from `at` on. */
type RowReader = (out: Uint8Array, to: number, at: number, width: number) => void;

function indexedRow(source: Uint8Array, palette: Uint8Array, depth: number): RowReader {
  const view = viewOf(source);
  const colours = viewOf(palette);
  const perByte = 8 / depth;
  const mask = (1 << depth) - 1;
  return (out, to, at, width) => {
    for (let x = 0; x < width; x++) {
      const shift = 8 - depth * ((x % perByte) + 1);
      const from = 3 * ((view.getUint8(at + Math.floor(x / perByte)) >> shift) & mask);
      out[to++] = colours.getUint8(from);
      out[to++] = colours.getUint8(from + 1);
      out[to++] = colours.getUint8(from + 2);
    }
  };
}

function colourRow(source: Uint8Array, { bits, masks }: Bitmap): RowReader {
  if (bits === 16) return maskedRow(source, masks);
  const view = viewOf(source);
  const step = bits / 8;
  // Each mask is one whole byte.
  const [red, green, blue] = [byteOf(masks[0]), byteOf(masks[1]), byteOf(masks[2])];
  return (out, to, at, width) => {
    for (let x = 0; x < width; x++, at += step) {
      out[to++] = view.getUint8(at + red);
      out[to++] = view.getUint8(at + green);
      out[to++] = view.getUint8(at + blue);
    }
  };
}

/** Which byte of a pixel a mask takes. */
const byteOf = (mask: number): number => Math.floor(Math.log2(mask) / 8);

function maskedRow(source: Uint8Array, masks: Masks): RowReader {
  const view = viewOf(source);
  const fields = masks.map((mask) => ({ mask, unit: mask & -mask, most: mask / (mask & -mask) }));
  return (out, to, at, width) => {
    for (let x = 0; x < width; x++, at += 2) {
      const pixel = view.getUint16(at, true);
      for (const { mask, unit, most } of fields)
        out[to++] = Math.floor((((pixel & mask) / unit) * 255) / most);
    }
  };
}

/** Indices of a run-length encoded bitmap, a byte each; as far as the data goes (MS-WMF 2.1.1.7). */
function unpackRuns(
  bytes: Uint8Array,
  start: number,
  count: number,
  width: number,
  nibbles: boolean,
): Uint8Array {
  const view = viewOf(bytes);
  const out = new Uint8Array(count);
  let [at, filled, x] = [start, 0, 0];
  const put = (value: number) => {
    if (filled < count) out[filled++] = value;
  };
  while (filled < count && at + 1 < bytes.length) {
    const [run, value] = [view.getUint8(at), view.getUint8(at + 1)];
    at += 2;
    if (run > 0) {
      const fits = Math.max(0, Math.min(run, width - x));
      for (let i = 0; i < fits; i++) put(nibbles ? nibble(value, i) : value);
      x += fits;
    } else if (value === 0) {
      while (filled % width !== 0) put(0);
      x = 0;
    } else if (value === 1) {
      break;
    } else if (value === 2) {
      filled = Math.min(count, filled + (bytes[at] ?? 0) + (bytes[at + 1] ?? 0) * width);
      at += 2;
      x = filled % width;
    } else {
      const used = nibbles ? Math.ceil(value / 2) : value;
      for (let i = 0; i < value && at + (nibbles ? i >> 1 : i) < bytes.length; i++)
        put(nibbles ? nibble(view.getUint8(at + (i >> 1)), i) : view.getUint8(at + i));
      at += used + (used % 2); // filled up to two bytes
      x += value;
    }
  }
  return out.subarray(0, filled);
}

/** The i-th of the two values of a byte, the high one first. */
function nibble(byte: number, i: number): number {
  return i % 2 === 0 ? byte >> 4 : byte & 15;
}

const FILE_HEADER = 14;

function decoderOf(bytes: Uint8Array, bitmap: Bitmap): OwnImage {
  const { width, height } = bitmap;
  return { width, height, decode: () => pixelsOf(bytes, bitmap) };
}

export const bmp: OwnDecoder = (bytes) => {
  return decoderOf(bytes, readHeader(bytes, FILE_HEADER, viewOf(bytes).getUint32(10, true)));
};

/** An icon's bitmap: no file header, and a height that counts the mask below the pixels. */
export const iconBitmap: OwnDecoder = (bytes) => {
  const bitmap = readHeader(bytes, 0, 0);
  return decoderOf(bytes, { ...bitmap, ...checkSize(bitmap.width, Math.floor(bitmap.height / 2)) });
};
