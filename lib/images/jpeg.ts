import { viewOf } from "./formats/plan.js";

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
  const view = viewOf(bytes);
  for (let at = 2; at + 9 < bytes.length;) {
    if (view.getUint8(at) !== 0xff) return undefined;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at++; // fill bytes may come before a marker
    } else if (bare(marker)) {
      at += 2;
    } else if (isFrame(marker)) {
      return frameHeader(view, at);
    } else {
      const length = view.getUint16(at + 2);
      // The pixels or the end come first.
      if (marker === 0xda || marker === 0xd9 || length < 2) return undefined;
      at += 2 + length;
    }
  }
  return undefined;
}

/** The frame header whose marker is at a place; undefined for other than 8 bits a sample. */
function frameHeader(view: DataView, at: number): JpegHeader | undefined {
  const precision = view.getUint8(at + 4);
  const height = view.getUint16(at + 5);
  const width = view.getUint16(at + 7);
  if (precision !== 8 || height === 0 || width === 0) return undefined;
  return { width, height, components: view.getUint8(at + 9) };
}
