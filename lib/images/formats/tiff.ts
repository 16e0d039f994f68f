import { clippedGrey, cmykToRgb, highBytes, unmultiplied, ycbcrToRgb } from "./colours.js";
import { labToRgb } from "./lab.js";
import type { Plan } from "./plan.js";
import { readDirectory, rewritten, type Directory } from "./tiff-directory.js";

/** Tags that decide pixels (TIFF 6.0, sections 8 to 22). */
const TAG = {
  bits: 258,
  compression: 259,
  photometric: 262,
  orientation: 274,
  samplesPerPixel: 277,
  extraSamples: 338,
  sampleFormat: 339,
  ycbcrSubsampling: 530,
} as const;

const PHOTOMETRIC = { whiteIsZero: 0, rgb: 2, cmyk: 5, ycbcr: 6, lab: 8 } as const;
const [UNCOMPRESSED, OLD_JPEG, JPEG] = [1, 6, 7];
const SIGNED = 2;
const PREMULTIPLIED = 1;
const STRAIGHT = 2;

/** Compressions that sharp's libtiff has, and names of those that it was built without. */
const DECODED = new Set([1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946]);
const COMPRESSION_NAMES: Record<number, string | undefined> = {
  9: "JBIG",
  10: "JBIG",
  32766: "NeXT",
  32809: "ThunderScan",
  34661: "JBIG",
  34676: "SGI LogLuv",
  34677: "SGI LogLuv",
  34712: "JPEG 2000",
  34887: "LERC",
  34925: "LZMA",
  50000: "zstd",
  50001: "WebP",
  50002: "JPEG XL",
};

/**
 * TIFF, first page. Pillow turns it by its Orientation tag when it opens it, since the tag is a part of the
 * format and not of EXIF. Damaged data is refused: failOn "error" does that, and tags that decide no pixels
 * are taken out before, since libtiff complains of a bad resolution unit in the same way.
 */
export function tiffPlan(bytes: Uint8Array): Plan {
  const directory = readDirectory(bytes);
  if (!directory) return { bytes, failOn: "error", turn: true, read: "pixels" };
  const compression = directory.first(TAG.compression) ?? UNCOMPRESSED;
  if (!DECODED.has(compression)) {
    const name = COMPRESSION_NAMES[compression];
    throw new Error(`TIFF compression ${compression}${name ? ` (${name})` : ""} is not supported`);
  }
  const orientation = directory.first(TAG.orientation) ?? 1;
  const { changes, read, finish } = samplesOf(directory, compression);
  if (orientation < 1 || orientation > 8) changes.set(TAG.orientation, 1);
  return {
    bytes: rewritten(bytes, directory, changes),
    failOn: "error",
    turn: orientation > 1 && orientation <= 8,
    read,
    finish,
  };
}

interface SamplesPlan {
  /** Tags to change in the copy that sharp gets: their new value. */
  changes: Map<number, number>;
  read: Plan["read"];
  finish?: Plan["finish"];
}

/** How the samples of a file become Pillow's RGB. */
function samplesOf(directory: Directory, compression: number): SamplesPlan {
  const bits = directory.first(TAG.bits) ?? 1;
  const photometric = directory.first(TAG.photometric) ?? 0;
  const count = directory.first(TAG.samplesPerPixel) ?? 1;
  const signed = directory.first(TAG.sampleFormat) === SIGNED;
  const plain = (changes: [number, number][] = []): SamplesPlan => ({
    changes: new Map(changes),
    read: "pixels",
  });
  const asRgb: [number, number] = [TAG.photometric, PHOTOMETRIC.rgb];

  if (photometric <= 1 && count === 1 && bits === 16 && isInteger(directory)) {
    // Neither sign nor "white is zero" is left to libvips: it scales where Pillow clips, and Pillow does not
    // invert 16 bits.
    const changes = new Map<number, number>([[TAG.photometric, 1]]);
    if (signed) changes.set(TAG.sampleFormat, 1);
    return { changes, read: "grey16", finish: (samples) => clippedGrey(samples, signed) };
  }
  // Pillow takes the bytes of signed 8-bit grey as they are.
  if (photometric <= 1 && count === 1 && bits === 8 && signed) return plain([[TAG.sampleFormat, 1]]);
  if (photometric === PHOTOMETRIC.cmyk && bits === 16) {
    return { changes: new Map([asRgb]), read: "rgb16", finish: (samples) => cmykToRgb(highBytes(samples)) };
  }
  if (
    photometric === PHOTOMETRIC.ycbcr &&
    bits === 8 &&
    count === 3 &&
    !subsampled(directory, compression) &&
    !isJpeg(compression)
  ) {
    const by = compression === UNCOMPRESSED ? "pillow" : "libtiff";
    return { ...plain([asRgb]), finish: (samples) => ycbcrToRgb(samples, by) };
  }
  if (photometric === PHOTOMETRIC.lab && bits === 8 && count === 3)
    return { ...plain([asRgb]), finish: labToRgb };
  if (
    photometric === PHOTOMETRIC.rgb &&
    bits === 8 &&
    count === 4 &&
    directory.first(TAG.extraSamples) === PREMULTIPLIED
  ) {
    return { changes: new Map([[TAG.extraSamples, STRAIGHT]]), read: "rgba8", finish: unmultiplied };
  }
  return plain();
}

function isInteger(directory: Directory): boolean {
  return (directory.first(TAG.sampleFormat) ?? 1) <= SIGNED;
}

function isJpeg(compression: number): boolean {
  return compression === JPEG || compression === OLD_JPEG;
}

/**
 * Whether Cb and Cr have a lower resolution. Without the tag it is 2 × 2 by the specification; Pillow's own
 * reader of uncompressed files assumes none.
 */
function subsampled(directory: Directory, compression: number): boolean {
  const [across, down] =
    directory.numbers(TAG.ycbcrSubsampling) ?? (compression === UNCOMPRESSED ? [1, 1] : [2, 2]);
  return across !== 1 || down !== 1;
}
