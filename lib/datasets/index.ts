export { Dataset, type Sample, type SplitCount } from "./dataset.js";
export { IMAGE_NAME } from "../images/image-names.js";
export { textPng, textSvg, type TextImageOptions } from "./render/text.js";
export { renderFolder, type RenderOptions } from "./render/folder.js";
export { readSentences } from "./formats/manifest.js";
export { DATASETS, loadDataset } from "./registry.js";
export type { DatasetEntry, DatasetOptions } from "./types.js";
export type { Origin } from "../util/origin.js";
