import { clippedGrey, highGrey } from "./colours.js";
import type { Plan } from "./plan.js";

// Colour types (PNG specification, 11.2.2).
const GREY = 0;
const GREY_ALPHA = 4;

/** 16-bit grey is clipped at 255 (Pillow's mode "I;16"), with or without tRNS; with an alpha channel it is cut to its high byte. */
export function pngPlan(bytes: Uint8Array): Plan {
  const plan: Plan = { bytes, failOn: "truncated", turn: false, read: "pixels" };
  const [bits, colourType] = [bytes[24], bytes[25]];
  if (bits !== 16) return plan;
  if (colourType === GREY) return { ...plan, read: "grey16", finish: (samples) => clippedGrey(samples) };
  if (colourType === GREY_ALPHA) return { ...plan, read: "grey16", finish: highGrey };
  return plan;
}
