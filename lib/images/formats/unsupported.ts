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
  // Without a footer, a true-colour or grey TGA still has no colour map (five bytes of 0) and 8 to 32 bits a
  // pixel.
  ["Targa (TGA)", /^\0\0[\x02\x03\x0a\x0b]\0{5}.{8}[\x08\x10\x18\x20]/s],
  ["Windows cursor (CUR)", /^\0\0\x02\0/],
  ["OpenEXR", /^\x76\x2f\x31\x01/],
  ["Radiance HDR", /^#\?(RADIANCE|RGBE)/],
  ["DirectDraw surface (DDS)", /^DDS /],
  ["JPEG XR", /^II\xbc/],
  ["Windows metafile", /^(\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF)/s],
  ["Canon raw (CR3)", /^....ftypcrx /s],
  ["Olympus raw (ORF)", /^(II(RO|RS)|MMOR)/],
  ["Fujifilm raw (RAF)", /^FUJIFILMCCD-RAW/],
  ["Panasonic raw (RW2)", /^IIU\0/],
  // Version 0 to 5, plain or run-length encoded, bits a pixel and plane.
  ["PCX", /^\x0a[\0\x02-\x05][\0\x01][\x01\x02\x04\x08]/],
  ["Apple icon (ICNS)", /^icns/],
  // Plain or run-length encoded, one or two bytes a channel.
  ["SGI", /^\x01\xda[\0\x01][\x01\x02]/],
  ["PostScript", /^%!PS/],
  ["PDF", /^%PDF/],
  ["MP4 video", /^....ftyp(isom|iso2|mp4|avc1|qt {2}|M4V)/s],
];

/** Bytes at the beginning that the patterns look at. */
const HEAD = 64;

/**
 * The last bytes of a TGA of version 2 (Truevision TGA, "The TGA file footer"); its first ones are no
 * signature.
 */
const TGA_FOOTER = "TRUEVISION-XFILE.\0";

/** The name of a format that is recognised and that nothing decodes. */
export function unsupportedFormat(bytes: Uint8Array): string | undefined {
  const footer = latin1(bytes, Math.max(0, bytes.length - TGA_FOOTER.length), bytes.length);
  if (footer === TGA_FOOTER) return "Targa (TGA)";
  const head = latin1(bytes, 0, HEAD);
  return UNSUPPORTED.find(([, pattern]) => pattern.test(head))?.[0];
}
