import type { TokenizerConfig } from "../text/types.js";
import type { Origin } from "../util/origin.js";
import type { ImageTowerConfig, TextTowerConfig } from "./architectures/towers.js";

/** The image encoder of a third-party TorchScript export: a box with an input size. */
export interface ForeignImageConfig {
  kind: "torchscript";
  imageSize: number;
}

/** The text encoder of such an export. */
export interface ForeignTextConfig {
  kind: "torchscript";
  contextLength: number;
  vocabSize: number;
}

/** How an image becomes the model's input; every step up to uint8 is bit-exact with Pillow. */
export interface Preprocessing {
  /**
   * "shortest": the shorter side to `resized`, then the centre crop (OpenAI). "squash": both sides to
   * `resized`, the aspect ratio is lost (SigLIP), then the centre crop. "longest": the longer side to the
   * model's image size, the rest filled (open_clip).
   */
  resize: "shortest" | "squash" | "longest";
  /**
   * Side that "shortest" and "squash" resize to, pixels, at least the model's image size, which is the
   * default.
   */
  resized?: number;
  /**
   * Where the centre crop begins when the side less the size is odd. "round", the default: half to even
   * (OpenAI, open_clip, torchvision). "floor": rounded down (transformers).
   */
  crop?: "round" | "floor";
  /** The filter of Pillow. */
  interpolation: Interpolation;
  /** Subtracted from each channel of the image, which is scaled to 0 … 1 first. */
  mean: number[];
  /** Divides each channel after that. */
  std: number[];
  /** Grey level of what "longest" fills, 0 to 255. */
  fill: number;
}

/** Pillow's filters, in the order of the artifact's `image_filter`. */
export const INTERPOLATIONS = ["bicubic", "bilinear", "box", "hamming", "lanczos"] as const;

export type Interpolation = (typeof INTERPOLATIONS)[number];

/** Where a model's weights came from. */
export interface WeightsOrigin extends Origin {
  /**
   * The repository and commit on the Hugging Face hub, "org/name@0123…"; absent where it is not from there.
   */
  hub?: string;
}

/** What `torchclip.json` in an artifact says. */
export interface ModelConfig {
  formatVersion: 2;
  /** Kinds of the two towers, such as "vit+transformer". */
  architecture: string;
  name: string;
  embedDim: number;
  image: ImageTowerConfig | ForeignImageConfig;
  text: TextTowerConfig | ForeignTextConfig;
  /**
   * "softmax" (CLIP) or "sigmoid" (SigLIP): what the model was trained with, and how logits become
   * probabilities.
   */
  loss: "softmax" | "sigmoid";
  preprocessing: Preprocessing;
  tokenizer: TokenizerConfig;
  /** Type that the weights are stored in; they run in the precision that `load` is given. */
  storedDtype: "fp32" | "fp16" | "bf16";
  source: { file: string; sha256: string; format: string };
}

/** CLIP's own constants (openai/CLIP, clip/clip.py `_transform`). */
export const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073];

export const CLIP_STD = [0.26862954, 0.26130258, 0.27577711];

/** CLIP's own preprocessing, where a model's config says nothing else. */
export const CLIP_PREPROCESSING: Preprocessing = {
  resize: "shortest",
  interpolation: "bicubic",
  mean: CLIP_MEAN,
  std: CLIP_STD,
  fill: 0,
};
