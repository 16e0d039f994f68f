export { readWeights } from "./read.js";
export { TorchArchive } from "./torch-zip.js";
export type { StoredTensor, WeightFile } from "./types.js";
