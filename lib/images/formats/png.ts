import { clippedGrey, highGrey } from "./colours.js";
import { latin1, plainPlan, viewOf, type Plan } from "./plan.js";

const SIGNATURE = 8; // bytes
const FRAME = 12; // bytes of a chunk beside its data: length, type, checksum
/** Compressed chunks that are no pixels: text, and the colour profile, which is ignored. */
const COMPRESSED = new Set(["zTXt", "iTXt", "iCCP"]);

// Colour types (PNG specification, 11.2.2).
const GREY = 0;
const GREY_ALPHA = 4;

/**
 * Without compressed metadata. 16-bit grey is clipped at 255 (Pillow's mode "I;16"), with or without tRNS;
 * with an alpha channel it is cut to its high byte.
 */
export function pngPlan(bytes: Uint8Array): Plan {
  const plan = plainPlan(withoutCompressedMetadata(bytes));
  const [bits, colourType] = [bytes[24], bytes[25]];
  if (bits !== 16) return plan;
  if (colourType === GREY) return { ...plan, read: "grey16", finish: (samples) => clippedGrey(samples) };
  if (colourType === GREY_ALPHA) return { ...plan, read: "grey16", finish: highGrey };
  return plan;
}

/**
 * A PNG file without its compressed metadata, of which a file of 2 MB may hold 2 GB that the decoder would
 * inflate (PNG specification, 11.3.3 and 11.3.4). The file itself where it has none, or is no PNG or damaged.
 */
export function withoutCompressedMetadata(bytes: Uint8Array): Uint8Array {
  const view = viewOf(bytes);
  const kept: Uint8Array[] = [];
  let keptFrom = 0;
  let at = SIGNATURE;
  while (at + FRAME <= bytes.length) {
    const end = at + FRAME + view.getUint32(at);
    if (end > bytes.length) break; // cut: left to the decoder to judge
    const type = latin1(bytes, at + 4, at + 8);
    if (COMPRESSED.has(type)) {
      kept.push(bytes.subarray(keptFrom, at));
      keptFrom = end;
    }
    at = end;
    if (type === "IEND") break;
  }
  if (keptFrom === 0) return bytes;
  return Buffer.concat([...kept, bytes.subarray(keptFrom)]);
}
