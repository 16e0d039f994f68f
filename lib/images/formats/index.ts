export { cmykToRgb } from "./colours.js";
export { decodingOf } from "./decoding.js";
export type { Decoding } from "./decoding.js";
export type { Plan, Size } from "./plan.js";
export { readSamples } from "./read.js";
