import type { RawImage } from "../images/types.js";
import type { Random } from "../util/random.js";

/** A part of an image, whole pixels. */
export interface CropBox {
  left: number;
  top: number;
  width: number;
  height: number;
}

const TRIES = 10;
const LEAST_RATIO = 3 / 4; // width / height
const LARGEST_RATIO = 4 / 3;

/**
 * A random part of an image with a share of its area in `scale` and a ratio of 3:4 to 4:3, drawn as
 * torchvision's RandomResizedCrop.get_params draws it (Szegedy et al. 2015, arXiv:1409.4842); where no try
 * fits, the largest part in the middle.
 */
export function randomCrop(
  random: Random,
  { width, height }: Pick<RawImage, "width" | "height">,
  scale: readonly [number, number],
): CropBox {
  const between = (least: number, most: number) => least + (most - least) * random();
  for (let i = 0; i < TRIES; i++) {
    const area = width * height * between(scale[0], scale[1]);
    const ratio = Math.exp(between(Math.log(LEAST_RATIO), Math.log(LARGEST_RATIO)));
    const w = Math.round(Math.sqrt(area * ratio));
    const h = Math.round(Math.sqrt(area / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const top = Math.floor(random() * (height - h + 1));
    const left = Math.floor(random() * (width - w + 1));
    return { left, top, width: w, height: h };
  }
  return middle(width, height);
}

/** The largest part in the middle whose ratio is in the range. */
function middle(width: number, height: number): CropBox {
  const ratio = width / height;
  let [w, h] = [width, height];
  if (ratio < LEAST_RATIO) h = Math.round(width / LEAST_RATIO);
  else if (ratio > LARGEST_RATIO) w = Math.round(height * LARGEST_RATIO);
  return { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
}

/** The pixels of a part, as an image of their own. */
export function cropped(image: RawImage, box: CropBox): RawImage {
  const { width, channels } = image;
  const line = box.width * channels;
  const data = new Uint8Array(line * box.height);
  for (let row = 0; row < box.height; row++) {
    const from = ((box.top + row) * width + box.left) * channels;
    data.set(image.data.subarray(from, from + line), row * line);
  }
  return { data, width: box.width, height: box.height, channels };
}

/** Mirrors RGB pixels, uint8 [size, size, 3], left to right, in place. */
export function mirror(pixels: Uint8Array, size: number): void {
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size >> 1; column++) {
      const a = 3 * (row * size + column);
      const b = 3 * (row * size + size - 1 - column);
      for (let channel = 0; channel < 3; channel++) {
        const kept = pixels[a + channel];
        pixels[a + channel] = pixels[b + channel];
        pixels[b + channel] = kept;
      }
    }
  }
}
