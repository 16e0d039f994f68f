import type { RawImage } from "../types.js";
import { rowsOf, type Samples } from "./plan.js";

/** Conversions of samples to RGB as Pillow's convert("RGB") and libtiff do them, bit for bit. */

const clamp = (value: number) => Math.max(0, Math.min(255, value));

/**
 * Pillow's cmyk2rgb (src/libImaging/Convert.c): out = nk - MULDIV255(ink, nk), nk = 255 - black. Inks beyond
 * the fourth are left out.
 */
export function cmykToRgb(samples: Samples): Promise<RawImage> {
  const { data: ink, width, channels } = samples;
  return rowsOf(samples, 3, (out, to, y) => {
    for (let i = y * width * channels; i < (y + 1) * width * channels; i += channels) {
      const nk = 255 - ink.readUInt8(i + 3);
      for (let c = 0; c < 3; c++) {
        const t = ink.readUInt8(i + c) * nk + 128;
        out[to++] = Math.max(0, nk - (((t >> 8) + t) >> 8));
      }
    }
  });
}

/** 16-bit grey, which Pillow clips at 255 instead of scaling it. Signed: negative values become 0. */
export function clippedGrey(samples: Samples, signed = false): Promise<RawImage> {
  return greyOf(samples, (value) => (signed && value > 0x7fff ? 0 : Math.min(255, value)));
}

/** The high byte of the first channel of 16-bit samples: so Pillow reads 16-bit grey with alpha. */
export function highGrey(samples: Samples): Promise<RawImage> {
  return greyOf(samples, (value) => value >> 8);
}

/** Grey of 8 bits from the first channel of 16-bit samples. */
function greyOf(samples: Samples, to8: (value: number) => number): Promise<RawImage> {
  const { width, channels } = samples;
  const values = words(samples);
  return rowsOf(samples, 1, (out, to, y) => {
    for (let x = 0; x < width; x++) out[to + x] = to8(values[(y * width + x) * channels] ?? 0);
  });
}

/** The high byte of each 16-bit sample. */
export function highBytes(samples: Samples): Samples {
  const data = Buffer.from(words(samples).map((value) => value >> 8));
  return { ...samples, data };
}

/**
 * RGB of premultiplied RGBA: Pillow's "RGBa" (src/libImaging/Unpack.c), colour × 255 / alpha, cut and
 * clipped.
 */
export function unmultiplied(samples: Samples): Promise<RawImage> {
  const { data: from, width } = samples;
  return rowsOf(samples, 3, (out, to, y) => {
    for (let i = y * width * 4; i < (y + 1) * width * 4; i += 4) {
      const alpha = from.readUInt8(i + 3);
      for (let c = 0; c < 3; c++) {
        const value = from.readUInt8(i + c);
        out[to++] = alpha === 0 ? 0 : Math.min(255, Math.trunc((value * 255) / alpha));
      }
    }
  });
}

/** What Cb and Cr add to Y. */
interface ChromaTables {
  redOf: (cr: number) => number;
  greenOf: (cb: number, cr: number) => number;
  blueOf: (cb: number) => number;
}

/** A function of a byte by a table; `make` gets the byte less 128. */
function table(make: (chroma: number) => number): (byte: number) => number {
  const values = Int32Array.from({ length: 256 }, (_, byte) => make(byte - 128));
  return (byte) => values[byte] ?? 0;
}

/** Pillow's tables for YCbCr that it reads itself (src/libImaging/ConvertYCbCr.c): 6 fractional bits, cut. */
function pillowTables(): ChromaTables {
  const scaled = (chroma: number, factor: number) => Math.trunc(chroma * factor * 64 + 0.5);
  const greenOfCb = table((chroma) => scaled(chroma, -0.34414));
  const greenOfCr = table((chroma) => scaled(chroma, -0.71414));
  return {
    redOf: table((chroma) => scaled(chroma, 1.402) >> 6),
    greenOf: (cb, cr) => (greenOfCb(cb) + greenOfCr(cr)) >> 6,
    blueOf: table((chroma) => scaled(chroma, 1.772) >> 6),
  };
}

/** libtiff's tables (TIFFYCbCrToRGBInit) for Rec. 601 and full range: 16 fractional bits, rounded. */
function libtiffTables(): ChromaTables {
  const fixed = (factor: number) => Math.floor(factor * 65536 + 0.5);
  const half = 32768;
  const [red, green, blue] = [Math.fround(0.299), Math.fround(0.587), Math.fround(0.114)];
  const [ofRed, ofBlue] = [2 - 2 * red, 2 - 2 * blue];
  const greenOfCr = table((chroma) => -fixed((red * ofRed) / green) * chroma);
  const greenOfCb = table((chroma) => -fixed((blue * ofBlue) / green) * chroma + half);
  return {
    redOf: table((chroma) => (fixed(ofRed) * chroma + half) >> 16),
    greenOf: (cb, cr) => (greenOfCb(cb) + greenOfCr(cr)) >> 16,
    blueOf: table((chroma) => (fixed(ofBlue) * chroma + half) >> 16),
  };
}

/**
 * RGB of YCbCr at full resolution; `by` says whose rounding: Pillow's own for uncompressed files, else
 * libtiff's.
 */
export function ycbcrToRgb(samples: Samples, by: "pillow" | "libtiff"): Promise<RawImage> {
  const { redOf, greenOf, blueOf } = by === "pillow" ? pillowTables() : libtiffTables();
  const { data: from, width } = samples;
  return rowsOf(samples, 3, (out, start) => {
    for (let i = start; i < start + width * 3; i += 3) {
      const luma = from.readUInt8(i);
      const cb = from.readUInt8(i + 1);
      const cr = from.readUInt8(i + 2);
      out[i] = clamp(luma + redOf(cr));
      out[i + 1] = clamp(luma + greenOf(cb, cr));
      out[i + 2] = clamp(luma + blueOf(cb));
    }
  });
}

function words({ data }: Samples): Uint16Array {
  // The buffer is sharp's own, but nothing promises that it begins at an even address.
  return data.byteOffset % 2 === 0
    ? new Uint16Array(data.buffer, data.byteOffset, data.length / 2)
    : new Uint16Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
}
