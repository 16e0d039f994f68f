import { TorchclipError } from "../errors.js";
import { IMAGE_FORMATS, type ImageFormat } from "./limits.js";

const SVG_HEAD = 4096;

/** The format of an encoded image by its first bytes, before a decoder sees it; undefined where they are none of ours. */
export function imageFormat(bytes: Uint8Array): ImageFormat | undefined {
  const ascii = (start: number, end: number) => String.fromCharCode(...bytes.subarray(start, end));
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return "jpeg";
  if (ascii(0, 8) === "\x89PNG\r\n\x1a\n") return "png";
  if (["II*\0", "MM\0*", "II+\0", "MM\0+"].includes(ascii(0, 4))) return "tiff";
  if (ascii(4, 8) === "ftyp") return "avif";
  if (/^BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0/s.test(ascii(0, 18))) return "bmp"; // its header has one of few sizes
  if (ascii(0, 4) === "\0\0\x01\0") return "ico";
  // GIF and WebP begin with letters, as a text with an <svg> element may: the decoder's own rule for SVG comes first.
  if (isSvg(bytes)) return "svg";
  if (/^P[1-6]\s/.test(ascii(0, 3))) return "pnm";
  if (ascii(0, 4) === "qoif") return "qoi";
  if (/^GIF8[79]a/.test(ascii(0, 6))) return "gif";
  if (ascii(0, 4) === "RIFF" && ascii(8, 12) === "WEBP") return "webp";
  return undefined;
}

/** Text at its beginning and an <svg> element soon after; NULs are those of UTF-16. */
function isSvg(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, SVG_HEAD)).toString("latin1").replaceAll("\0", "");
  return /<svg/i.test(head) && !/[\x01-\x08\x0e-\x1f]/.test(head.slice(0, 24));
}

/** A file's format. Throws E_IMAGE_DECODE where the option `formats` does not name it, and for compressed SVG. */
export function checkFormat(bytes: Uint8Array, name: string, formats: readonly ImageFormat[]): ImageFormat | undefined {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    throw new TorchclipError("E_IMAGE_DECODE", `cannot decode ${name}: it is compressed by gzip (SVGZ is not supported)`, { subject: name });
  }
  const format = imageFormat(bytes);
  // The decoder names what is wrong with a file of no known format, unless formats were chosen.
  if (format === undefined && IMAGE_FORMATS.every((known) => formats.includes(known))) return undefined;
  if (format !== undefined && formats.includes(format)) return format;
  const what = format === undefined ? "it is none of the formats" : `it is ${format}, and only these formats`;
  throw new TorchclipError("E_IMAGE_DECODE", `cannot decode ${name}: ${what} that the option formats accepts: ${formats.join(", ")}`, { subject: name });
}
