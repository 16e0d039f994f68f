import { own } from "../util/own.js";
import type { ImageInput } from "./decode.js";
import { checkRaw, isRaw, type EncodedImage } from "./source.js";

/**
 * Decoded pixels in memory that the caller can no longer transfer, shrink or free while they are resized (see `own`); every
 * other input as it is, whose bytes are copied when they are read. E_ARGUMENT for pixels that do not fit.
 */
export async function ownPixels(image: ImageInput | EncodedImage): Promise<ImageInput | EncodedImage> {
  if (!isRaw(image)) return image;
  const raw = checkRaw(image);
  return { ...raw, data: await own(raw.data, "the pixels") };
}
