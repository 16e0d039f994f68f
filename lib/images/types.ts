/** Formats of encoded images, as the option `formats` names them. */
export const IMAGE_FORMATS = [
  "jpeg",
  "png",
  "webp",
  "gif",
  "tiff",
  "avif",
  "svg",
  "bmp",
  "ico",
  "pnm",
  "qoi",
] as const;

export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** Where images may come from. Bytes and decoded pixels are always accepted. */
export interface ImageSources {
  /** Paths and `file:` URLs. Default true. */
  file?: boolean;
  /** `http:` and `https:` URLs. Default true. */
  url?: boolean;
  /**
   * Whether a URL, or what it redirects to, may lead to an address that is not public: loopback, private,
   * link-local, unique-local, multicast, the metadata services of clouds. Default false.
   */
  allowPrivate?: boolean;
}

/** What one image may cost. The table with values for servers is in docs/images.md. */
export interface ImageLimits {
  /**
   * Pixels by the header, checked before any are decoded (E_IMAGE_TOO_LARGE). Default 100,000,000. Infinity:
   * no limit.
   */
  maxPixels?: number;
  /**
   * Bytes of the encoded file, for a URL after decompression (E_IMAGE_TOO_LARGE). Default 268,435,456 (256
   * MiB).
   */
  maxBytes?: number;
  /** Milliseconds for decoding one image, without the wait for its turn (E_TIMEOUT). Default 10,000. */
  decodeTimeout?: number;
  /** Milliseconds for fetching one URL, redirects and body included (E_IMAGE_READ). Default 10,000. */
  fetchTimeout?: number;
  /**
   * Formats that are decoded, told by the file's content; others are E_IMAGE_DECODE. Default: all of
   * IMAGE_FORMATS.
   */
  formats?: readonly ImageFormat[];
  /** Where images may come from; a source that is off is E_IMAGE_READ. */
  sources?: ImageSources;
}

/**
 * Decoded pixels: uint8 [height, width, channels], rows packed; channels 1 (grey), 3 (RGB), 4 (RGBA, alpha
 * ignored).
 */
export interface RawImage {
  data: Uint8Array;
  width: number;
  height: number;
  channels: 1 | 3 | 4;
}

/** A path, the bytes of an encoded file, a `file:` or `http(s):` URL, or decoded pixels. */
export type ImageInput = string | URL | Uint8Array | RawImage;

export interface DecodeOptions extends ImageLimits {
  /** Turn the image as its EXIF orientation says. Default false, as CLIP's reference. */
  autoRotate?: boolean;
  /**
   * Let the JPEG decoder leave out detail that the resize would throw away (by 4 or 8, never below twice the
   * model's size; by 2 nothing would be gained). Default false: the pixels are then no longer the reference's
   * bits; what it costs is in docs/precision.md.
   */
  fastDecode?: boolean;
  /** Rejects with E_ABORTED at once; a decoder that cannot be stopped ends in the background. */
  signal?: AbortSignal;
}
