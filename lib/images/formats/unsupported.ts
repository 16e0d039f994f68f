import { latin1 } from "./plan.js";

// Formats of images that users have and that nothing here decodes.
const UNSUPPORTED: [name: string, pattern: RegExp][] = [
  // A file whose first brand is general says "avif" among the further ones where it is one.
  ["HEIC", /^....ftyp(heic|heix|hevc|hevx|heim|heis|(mif1|msf1)(?!.{4}.*avif))/s],
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

const HEAD = 64;

/** The name of a format that is recognised and that nothing decodes. */
export function unsupportedFormat(bytes: Uint8Array): string | undefined {
  const head = latin1(bytes, 0, HEAD);
  return UNSUPPORTED.find(([, pattern]) => pattern.test(head))?.[0];
}
