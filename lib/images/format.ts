import { TorchclipError } from "../errors.js";
import { latin1 } from "./formats/plan.js";
import { IMAGE_FORMATS, type ImageFormat } from "./types.js";

const HEAD = 32;
const SVG_HEAD = 4096;

type Format = [format: ImageFormat, pattern: RegExp];

const BINARY: readonly Format[] = [
  ["jpeg", /^\xff\xd8\xff/],
  ["png", /^\x89PNG\r\n\x1a\n/],
  ["tiff", /^(II[*+]\0|MM\0[*+])/], // also BigTIFF
  ["avif", /^....ftyp/s], // also its relatives that are not decoded
  ["bmp", /^BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0/s], // its header has one of few sizes
  ["ico", /^\0\0\x01\0/],
  ["pnm", /^P[1-6]\s/],
  ["qoi", /^qoif/],
];
/**
 * Formats that begin with letters, as a text with an <svg> element may, and that sharp decodes: its own rule
 * for SVG comes first.
 */
const LETTERS: readonly Format[] = [
  ["gif", /^GIF8[79]a/],
  ["webp", /^RIFF....WEBP/s],
];

/**
 * The format of an encoded image by its first bytes, before a decoder sees it; undefined where they are none
 * of ours.
 */
export function imageFormat(bytes: Uint8Array): ImageFormat | undefined {
  const head = latin1(bytes, 0, HEAD);
  const among = (formats: readonly Format[]) => formats.find(([, pattern]) => pattern.test(head))?.[0];
  return among(BINARY) ?? (isSvg(bytes) ? "svg" : among(LETTERS));
}

/** Text at its beginning and an <svg> element soon after; NULs are those of UTF-16. */
function isSvg(bytes: Uint8Array): boolean {
  const head = latin1(bytes, 0, SVG_HEAD).replaceAll("\0", "");
  return /<svg/i.test(head) && !/[\x01-\x08\x0e-\x1f]/.test(head.slice(0, 24));
}

/**
 * A file's format. Throws E_IMAGE_DECODE where the option `formats` does not name it, and for compressed SVG.
 */
export function checkFormat(
  bytes: Uint8Array,
  name: string,
  formats: readonly ImageFormat[],
): ImageFormat | undefined {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    throw new TorchclipError(
      "E_IMAGE_DECODE",
      `cannot decode ${name}: it is compressed by gzip (SVGZ is not supported)`,
      { subject: name },
    );
  }
  const format = imageFormat(bytes);
  // The decoder names what is wrong with a file of no known format, unless formats were chosen.
  if (format === undefined && IMAGE_FORMATS.every((known) => formats.includes(known))) return undefined;
  if (format !== undefined && formats.includes(format)) return format;
  const what = format === undefined ? "it is none of the formats" : `it is ${format}, and only these formats`;
  throw new TorchclipError(
    "E_IMAGE_DECODE",
    `cannot decode ${name}: ${what} that the option formats accepts: ${formats.join(", ")}`,
    { subject: name },
  );
}
