import { Dataset } from "../../lib/datasets/dataset.js";
import type { RawImage } from "../../lib/images/types.js";
import { noise } from "../support/noise.js";

const SIDE = 64;

/** Grey noise with a stripe whose direction is the class. */
function stripes(label: number, seed: number): RawImage {
  const data = new Uint8Array(SIDE * SIDE * 3);
  const at = 8 + (noise(seed, 1) % (SIDE - 16));
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const place = [x, y, (x + y) >> 1][label];
      const shade = Math.abs(place - at) < 6 ? 20 : 160 + (noise(seed, 2 + y * SIDE + x) & 63);
      data.fill(shade, 3 * (y * SIDE + x), 3 * (y * SIDE + x) + 3);
    }
  }
  return { data, width: SIDE, height: SIDE, channels: 3 };
}

/** A data set that no zero-shot prompt tells apart: its class names mean nothing. */
export function stripeSet(split: string, images: number, seed: number): Dataset {
  const samples = Array.from({ length: images }, (_, i) => {
    const label = i % 3;
    return { label, name: `${split}-${i}`, read: () => stripes(label, seed + i) };
  });
  return new Dataset({ name: "stripes", split, classes: ["blap", "krum", "tosh"], samples });
}
