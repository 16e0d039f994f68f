import { TorchclipError } from "../errors.js";
import { redactUrl } from "../redact.js";
import type { ImageInput } from "../images/types.js";

/**
 * An image as the frameworks hand it over: what `clip.encodeImages` takes (a path, a `file:` or `http(s):`
 * URL, the bytes of an encoded file, decoded pixels), or a `data:` URL, a Blob, an ArrayBuffer.
 */
export type ImageContent = ImageInput | Blob | ArrayBuffer;

const DATA_URL = /^data:([^,]*),(.*)$/is;

/**
 * The image as `clip.encodeImages` takes it. E_ARGUMENT, with its index, for a `data:` URL that is none, and
 * for what cannot be an image; what cannot be read is told by `encodeImages`.
 *
 * @param index its position among the images of the call
 */
export async function toImageInput(image: ImageContent, index: number): Promise<ImageInput> {
  if (image instanceof Blob) return new Uint8Array(await image.arrayBuffer());
  if (image instanceof ArrayBuffer) return new Uint8Array(image);
  const url = dataUrl(image);
  return url === undefined ? image : bytesOf(url, index);
}

/** All images of a call, in their order. */
export async function toImageInputs(images: readonly ImageContent[]): Promise<ImageInput[]> {
  return Promise.all(images.map((image, index) => toImageInput(image, index)));
}

function dataUrl(image: unknown): string | undefined {
  if (typeof image !== "string" && !(image instanceof URL)) return undefined;
  const text = String(image);
  return /^data:/i.test(text) ? text : undefined;
}

/** The content of a `data:` URL (RFC 2397). */
function bytesOf(url: string, index: number): Uint8Array {
  const [, type = "", content = ""] = DATA_URL.exec(url) ?? [];
  if (!/;\s*base64\s*$/i.test(type))
    throw new TorchclipError(
      "E_ARGUMENT",
      `image ${index}: ${redactUrl(url)} is no data URL of an image: data:image/…;base64,…`,
      { index },
    );
  return Buffer.from(decodeURIComponent(content), "base64");
}
