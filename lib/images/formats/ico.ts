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
  const entries = Array.from({ length: count }, (_, i) => {
    const at = 6 + 16 * i;
    const [width, height, colours, bits] = [
      bytes[at] || 256,
      bytes[at + 1] || 256,
      bytes[at + 2],
      view.getUint16(at + 6, true),
    ];
    const depth = bits || (colours > 0 ? Math.ceil(Math.log2(colours)) : 0) || 256;
    return { area: width * height, depth, from: view.getUint32(at + 12, true) };
  });
  entries.sort((a, b) => b.area - a.area || a.depth - b.depth);
  const image = bytes.subarray(entries[0].from);
  return { kind: image[0] === 0x89 && image[1] === 0x50 ? "PNG" : "bitmap", bytes: image };
}
