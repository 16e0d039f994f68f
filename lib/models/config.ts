/** What `torchclip.json` in an artifact says. */
export interface ModelConfig {
  formatVersion: 1;
  /** Name of the file in lib/models/architectures. */
  architecture: string;
  name: string;
  activation: "quick_gelu" | "gelu";
  embedDim: number;
  vision: { width: number; layers: number; heads: number; patchSize: number; imageSize: number };
  text: { width: number; layers: number; heads: number; contextLength: number; vocabSize: number };
  preprocessing: { resize: "shortest-edge"; interpolation: "bicubic"; crop: "center"; mean: number[]; std: number[] };
  /** Type that the weights are stored in; they run in the precision that `load` is given. */
  storedDtype: "fp32" | "fp16";
  source: { file: string; sha256: string; format: string };
}

/** CLIP's own constants (openai/CLIP, clip/clip.py `_transform`). */
export const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073];
export const CLIP_STD = [0.26862954, 0.26130258, 0.27577711];
