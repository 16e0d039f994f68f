/** What a JPEG file's frame header says. */
export interface JpegHeader {
  width: number;
  height: number;
  /** 1 grey, 3 colours, 4 inks. */
  components: number;
}

// Markers with no length: TEM, RST0 to RST7, SOI (ITU-T T.81, table B.1).
const bare = (marker: number) => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);
// SOF0 to SOF15 without DHT, JPG and DAC, which lie between them.
const isFrame = (marker: number) =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;

/**
 * The frame header of a JPEG file of 8 bits a sample (ITU-T T.81, B.2.2); undefined for anything else, and
 * for a file that is cut or damaged before it: such are left to a decoder to judge.
 */
export function readJpegHeader(bytes: Uint8Array): JpegHeader | undefined {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return undefined;
  const word = (i: number) => bytes[i] * 256 + bytes[i + 1];
  for (let at = 2; at + 9 < bytes.length;) {
    if (bytes[at] !== 0xff) return undefined;
    const marker = bytes[at + 1];
    if (marker === 0xff) {
      at++; // fill bytes may come before a marker
    } else if (bare(marker)) {
      at += 2;
    } else if (isFrame(marker)) {
      const [precision, height, width, components] = [
        bytes[at + 4],
        word(at + 5),
        word(at + 7),
        bytes[at + 9],
      ];
      return precision === 8 && height > 0 && width > 0 ? { width, height, components } : undefined;
    } else {
      if (marker === 0xda || marker === 0xd9 || word(at + 2) < 2) return undefined; // pixels or the end come first
      at += 2 + word(at + 2);
    }
  }
  return undefined;
}
