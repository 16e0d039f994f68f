import { types } from "node:util";
import { own } from "../util/own.js";
import type { ImageInput } from "./decode.js";

/**
 * An image whose memory the caller can no longer transfer, shrink or free while it is decoded or resized: bytes of a file
 * and pixels are copied (see `own`), paths and URLs stay. Whatever else it is, `decodeImage` says what is wrong with it.
 */
export async function ownImage(image: ImageInput): Promise<ImageInput> {
  if (image instanceof Uint8Array) {
    // A decoder reads lengths and offsets more than once: not from memory that others write to meanwhile.
    return types.isSharedArrayBuffer(image.buffer) ? new Uint8Array(image) : own(image, "the image");
  }
  if (typeof image !== "object" || image === null || image instanceof URL) return image;
  const { data, width, height, channels } = image;
  const isBytes = data instanceof Uint8Array || (data as unknown) instanceof Uint8ClampedArray;
  return { data: isBytes ? await own(data, "the pixels") : data, width, height, channels };
}
