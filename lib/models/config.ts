import type { NativeTransform } from "../addon.js";
import { TorchclipError } from "../errors.js";
import type { ImageTowerConfig, TextTowerConfig } from "./architectures/index.js";
import type { ForeignImageConfig, ForeignTextConfig } from "./foreign.js";

export type Activation = "quick_gelu" | "gelu" | "gelu_tanh";

/** How a picture becomes the model's input; every step is bit-exact with Pillow. */
export interface Preprocessing {
  /**
   * "shortest": the shorter side to the size, then the centre crop (OpenAI). "squash": both sides to the size, the
   * aspect ratio is lost (SigLIP). "longest": the longer side to the size, the rest filled (open_clip).
   */
  resize: "shortest" | "squash" | "longest";
  interpolation: "bicubic" | "bilinear";
  mean: number[];
  std: number[];
  /** Grey level of what "longest" fills, 0 to 255. */
  fill: number;
}

/** How a text becomes token ids. */
export interface TokenizerConfig {
  /** "clip": OpenAI's byte-level BPE; "huggingface": whatever the tokenizer.json says. */
  kind: "clip" | "huggingface";
  /**
   * What is done to the text first. "openai": ftfy's repairs, HTML entities, white space, lower case (openai/CLIP,
   * open_clip). "whitespace": that without the lower case (open_clip with a tokenizer of transformers).
   * "canonicalize": that, and lower case without punctuation (open_clip's SigLIP). "lower": lower case (SigLIP 2 in
   * transformers). "none": the tokenizer's own normaliser alone (transformers).
   */
  clean: "none" | "openai" | "whitespace" | "canonicalize" | "siglip" | "lower";
  /** Fills a row after its end. */
  padId: number;
  /** Last id of a row that was cut; null where the tokenizer has no end token. */
  endId: number | null;
  /** The end token is replaced by padding (CLIPA, which was trained so). */
  stripEnd?: boolean;
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
  /** "softmax" (CLIP) or "sigmoid" (SigLIP): what the model was trained with, and how logits become probabilities. */
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

export function nativeTransform(p: Preprocessing, size: number): NativeTransform {
  return { size, resize: ["shortest", "squash", "longest"].indexOf(p.resize), filter: p.interpolation === "bicubic" ? 0 : 1, fill: p.fill };
}

/** `torchclip.json` of an artifact; throws E_MODEL_CORRUPT where this version cannot read it. */
export function readConfig(json: string): ModelConfig {
  let config: ModelConfig;
  try {
    config = JSON.parse(json) as ModelConfig;
  } catch (cause) {
    throw new TorchclipError("E_MODEL_CORRUPT", "the artifact's torchclip.json is not JSON", { cause });
  }
  if (config.formatVersion !== 2) {
    throw new TorchclipError(
      "E_MODEL_UNSUPPORTED",
      `the artifact has format ${String(config.formatVersion)}, this version reads format 2; import the model again`,
    );
  }
  return config;
}

/** One line: both towers with their sizes. */
export function describeModel({ image, text, embedDim, architecture }: ModelConfig): string {
  if (image.kind === "torchscript" || text.kind === "torchscript") {
    const context = text.contextLength;
    return `third-party TorchScript, image ${image.imageSize} px; text ${context} tokens; embedding ${embedDim}`;
  }
  const size = (t: { width?: number | number[]; widths?: number[]; layers?: number | number[]; depths?: number[] }) =>
    `${[t.layers ?? t.depths].flat().join("-")} × ${[t.width ?? t.widths].flat().join("-")}`;
  const patch = "patchSize" in image ? ` / ${image.patchSize}` : "";
  const activation = "activation" in image ? `; ${image.activation}` : "";
  return `${architecture}, image ${image.imageSize} px${patch}, ${size(image)}; text ${text.contextLength} tokens, ${size(text)}; embedding ${embedDim}${activation}`;
}
