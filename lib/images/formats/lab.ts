import type { RawImage } from "../types.js";
import { rowsOf, type Samples } from "./plan.js";

/*
 * 8-bit CIE L*a*b* (TIFF 6.0, section 23) to sRGB with the bits of LittleCMS, which Pillow uses. LittleCMS
 * does not compute the colour of a pixel: it makes a table of 33 × 33 × 33 colours with 16 bits a channel and
 * interpolates in it (cmsopt.c, OptimizeByResampling; cmsintrp.c, tetrahedral interpolation), so that results
 * near the edge of sRGB are some levels off what the formulas give. The same is done here.
 */

const GRID = 33;
const FULL = 65535;

/**
 * The table: uint16 [33 of L*, 33 of a*, 33 of b*, 3]. Made when first needed: 108 thousand numbers in some
 * milliseconds.
 */
let table: Uint16Array | undefined;

/** RGB of L*a*b* samples; a* and b* are signed bytes. */
export function labToRgb(samples: Samples): Promise<RawImage> {
  table ??= makeTable();
  const colours = table;
  const { data: from, width } = samples;
  const row = (out: Uint8Array, start: number) => {
    for (let i = start; i < start + width * 3; i += 3) {
      const a = from.readUInt8(i + 1) ^ 128;
      const b = from.readUInt8(i + 2) ^ 128;
      interpolate(colours, from.readUInt8(i), a, b, out, i);
    }
  };
  return rowsOf(samples, 3, row, 4);
}

function makeTable(): Uint16Array {
  const out = new Uint16Array(GRID ** 3 * 3);
  const nodes = Array.from({ length: GRID }, (_, i) => Math.floor((i * FULL) / (GRID - 1) + 0.5));
  let at = 0;
  for (const l of nodes) {
    for (const a of nodes) {
      for (const b of nodes) {
        out.set(rgbOf((l / FULL) * 100, a / 257 - 128, b / 257 - 128), at);
        at += 3;
      }
    }
  }
  return out;
}

/** White of the ICC profile connection space (D50). */
const [WHITE_X, WHITE_Z] = [0.9642, 0.8249];

/**
 * Linear red, green and blue of X, Y, Z: the inverse of Rec. 709's primaries with their white (D65) adapted
 * to D50 by Bradford's method.
 */
const RGB_OF_XYZ: readonly (readonly [number, number, number])[] = [
  [3.13418636423682, -1.6172089589982757, -0.49069406400638427],
  [-0.9787485041906939, 1.9161300967735868, 0.03343339915999556],
  [0.07196392780224675, -0.22899387345320327, 1.4057537328964445],
];

/** 16-bit sRGB of L* in 0 to 100, a* and b*, by the formulas. */
function rgbOf(lightness: number, a: number, b: number): number[] {
  const y = (lightness + 16) / 116;
  const [X, Y, Z] = [WHITE_X * cubed(y + 0.002 * a), cubed(y), WHITE_Z * cubed(y - 0.005 * b)];
  return RGB_OF_XYZ.map(([ofX, ofY, ofZ]) => Math.floor(encoded(ofX * X + ofY * Y + ofZ * Z) * FULL + 0.5));
}

/** Inverse of the function f of CIE 15, 8.2.1. */
function cubed(value: number): number {
  return value > 24 / 116 ? value ** 3 : (108 / 841) * (value - 16 / 116);
}

/**
 * sRGB's encoding of linear light (IEC 61966-2-1), as the inverse of its decoding: the two ends meet where
 * that bends.
 */
function encoded(light: number): number {
  const clipped = Math.max(0, Math.min(1, light));
  const bend = ((0.04045 + 0.055) / 1.055) ** 2.4;
  return clipped >= bend ? 1.055 * clipped ** (1 / 2.4) - 0.055 : 12.92 * clipped;
}

/** Of each byte: the node of the table below it, and how far it lies above that, in 65536ths of a cell. */
const PLACES = Int32Array.from({ length: 256 }, (_, byte) => {
  const scaled = byte * 257 * (GRID - 1);
  return scaled + Math.floor((scaled + 0x7fff) / FULL);
});
const placeOf = (byte: number): number => PLACES[byte] ?? 0;

/** Steps in the table to the next L*, a* and b*. */
const [STEP_L, STEP_A, STEP_B] = [GRID * GRID * 3, GRID * 3, 3];

/**
 * Writes the colour of one pixel at `to`. The samples are bytes, 128 for zero of a* and b*. The way goes from
 * the lower corner of a cell to the upper one, along the three axes in falling order of how far the colour
 * lies along each.
 */
function interpolate(
  colours: Uint16Array,
  l: number,
  a: number,
  b: number,
  out: Uint8Array,
  to: number,
): void {
  const [ofL, ofA, ofB] = [placeOf(l), placeOf(a), placeOf(b)];
  let [rest1, rest2, rest3] = [ofL & 0xffff, ofA & 0xffff, ofB & 0xffff];
  let [step1, step2, step3] = [STEP_L, STEP_A, STEP_B];
  const corner = (ofL >> 16) * STEP_L + (ofA >> 16) * STEP_A + (ofB >> 16) * STEP_B;
  if (rest1 < rest2) [rest1, rest2, step1, step2] = [rest2, rest1, step2, step1];
  if (rest2 < rest3) [rest2, rest3, step2, step3] = [rest3, rest2, step3, step2];
  if (rest1 < rest2) [rest1, rest2, step1, step2] = [rest2, rest1, step2, step1];
  // Along an axis of no rest there may be no further node: the difference counts nothing then.
  const second = corner + (rest1 > 0 ? step1 : 0);
  const third = second + (rest2 > 0 ? step2 : 0);
  const fourth = third + (rest3 > 0 ? step3 : 0);
  for (let c = 0; c < 3; c++) {
    // Every node lies in the table.
    const v1 = colours[corner + c] ?? 0;
    const v2 = colours[second + c] ?? 0;
    const v3 = colours[third + c] ?? 0;
    const v4 = colours[fourth + c] ?? 0;
    const sum = (v2 - v1) * rest1 + (v3 - v2) * rest2 + (v4 - v3) * rest3 + 0x8001;
    const value = v1 + Math.floor((sum + Math.floor(sum / 65536)) / 65536);
    out[to + c] = Math.floor((value * 65281 + 8388608) / 16777216); // LittleCMS's FROM_16_TO_8
  }
}
