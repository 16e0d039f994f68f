import { latin1 } from "./plan.js";

/** Formats that are decoded. */
export type Format = "jpeg" | "png" | "gif" | "webp" | "tiff" | "avif" | "bmp" | "ico" | "pnm" | "qoi";

// Formats of images that users have and that nothing here decodes.
const UNSUPPORTED: [name: string, pattern: RegExp][] = [
  ["HEIC", /^....ftyp(heic|heix|hevc|hevx|heim|heis|mif1|msf1)/s],
  ["JPEG XL", /^(\xff\x0a|\0\0\0\x0cJXL )/],
  ["JPEG 2000", /^(\0\0\0\x0cjP {2}|\xff\x4f\xff\x51)/],
  ["Photoshop (PSD)", /^8BPS/],
  ["Portable Arbitrary Map (PAM)", /^P7\s/],
  ["Portable Float Map (PFM)", /^P[Ff]\s/],
  ["Windows cursor (CUR)", /^\0\0\x02\0/],
  ["OpenEXR", /^\x76\x2f\x31\x01/],
  ["Radiance HDR", /^#\?(RADIANCE|RGBE)/],
  ["DirectDraw surface (DDS)", /^DDS /],
  ["JPEG XR", /^II\xbc/],
  ["Windows metafile", /^(\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF)/s],
  ["PostScript", /^%!PS/],
  ["PDF", /^%PDF/],
  ["MP4 video", /^....ftyp(isom|iso2|mp4|avc1|qt {2}|M4V)/s],
];

const SUPPORTED: [format: Format, pattern: RegExp][] = [
  ["jpeg", /^\xff\xd8\xff/],
  ["png", /^\x89PNG\r\n\x1a\n/],
  ["gif", /^GIF8[79]a/],
  ["webp", /^RIFF....WEBP/s],
  // Also BigTIFF.
  ["tiff", /^(II[*+]\0|MM\0[*+])/],
  ["avif", /^....ftyp(avif|avis)/s],
  // The header's size, which follows, is one of few: two letters alone begin many texts.
  ["bmp", /^BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0/s],
  ["ico", /^\0\0\x01\0/],
  ["pnm", /^P[1-6]\s/],
  ["qoi", /^qoif/],
];

const HEAD = 64;

/** The format of a file by its first bytes, undefined where it is none of those that are decoded. */
export function formatOf(bytes: Uint8Array): Format | undefined {
  const head = latin1(bytes, 0, HEAD);
  // A HEIF file whose first brand is general says "avif" among the further ones.
  if (/^....ftyp(mif1|msf1)/s.test(head) && head.slice(16).includes("avif")) return "avif";
  return SUPPORTED.find(([, pattern]) => pattern.test(head))?.[0];
}

/** The name of a format that is recognised and cannot be decoded. */
export function unsupportedFormat(bytes: Uint8Array): string | undefined {
  if (formatOf(bytes)) return undefined;
  const head = latin1(bytes, 0, HEAD);
  return UNSUPPORTED.find(([, pattern]) => pattern.test(head))?.[0];
}
