import { checkLength, viewOf } from "./plan.js";

/**
 * The image of an icon that Pillow opens: the largest, of several such the one of fewest colours. A PNG file
 * or a bitmap.
 */
export function iconImage(bytes: Uint8Array): { kind: "PNG" | "bitmap"; bytes: Uint8Array } {
  const view = viewOf(bytes);
  checkLength(bytes.length, 6);
  const count = view.getUint16(4, true);
  if (count === 0) throw new Error("the icon holds no image");
  checkLength(bytes.length, 6 + 16 * count);
  const entries = Array.from({ length: count }, (_, i) => readEntry(view, 6 + 16 * i));
  entries.sort((a, b) => b.area - a.area || a.depth - b.depth);
  const image = bytes.subarray(entries.at(0)?.from);
  return { kind: image[0] === 0x89 && image[1] === 0x50 ? "PNG" : "bitmap", bytes: image };
}

interface Entry {
  /** Pixels. */
  area: number;
  /** Bits of a pixel. */
  depth: number;
  /** Where the image begins. */
  from: number;
}

function readEntry(view: DataView, at: number): Entry {
  const width = sideOf(view.getUint8(at));
  const height = sideOf(view.getUint8(at + 1));
  const depth = depthOf(view.getUint16(at + 6, true), view.getUint8(at + 2));
  return { area: width * height, depth, from: view.getUint32(at + 12, true) };
}

/** 0 stands for 256 pixels. */
const sideOf = (byte: number): number => (byte === 0 ? 256 : byte);

/** Bits of a pixel, or those that its colours need; 256 where nothing says it. */
function depthOf(bits: number, colours: number): number {
  if (bits > 0) return bits;
  return colours > 1 ? Math.ceil(Math.log2(colours)) : 256;
}
