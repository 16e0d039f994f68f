import type { NativeTransform } from "../addon.js";
import { TorchclipError } from "../errors.js";
import type { ImageTowerConfig, TextTowerConfig } from "./architectures/index.js";
import type { Origin } from "../util/origin.js";
import { kindOf, Untrusted } from "../util/untrusted.js";
import { checkConfig } from "./check-config.js";
import type { ForeignImageConfig, ForeignTextConfig } from "./foreign.js";

export type Activation = "quick_gelu" | "gelu" | "gelu_tanh";

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

export type ClipDialect = "openai" | "open_clip" | "transformers";

/** How a text becomes token ids. */
export interface TokenizerConfig {
  /** "clip": OpenAI's byte-level BPE; "huggingface": whatever the tokenizer.json says. */
  kind: "clip" | "huggingface";
  /**
   * Of kind "clip": which library's rules it follows. "openai" and "open_clip" find their special tokens
   * among the words, spelt `<|endoftext|>` and `<end_of_text>`. "transformers" finds all `added_tokens` of
   * the tokenizer.json before it cuts words. Default: "openai" where `clean` is "openai", else
   * "transformers".
   */
  dialect?: ClipDialect;
  /**
   * What is done to the text first. "openai": ftfy's repairs, HTML entities, white space, lower case
   * (openai/CLIP, open_clip). "whitespace": that without the lower case (open_clip with a tokenizer of
   * transformers). "whitespace_underscore": that, and spaces for underscores. "canonicalize": that, and lower
   * case without punctuation (open_clip's SigLIP). "siglip": lower case without punctuation (transformers'
   * SigLIP). "lower": lower case (SigLIP 2 in transformers). "none": the tokenizer's own normaliser alone
   * (transformers).
   */
  clean: "none" | "openai" | "whitespace" | "whitespace_underscore" | "canonicalize" | "siglip" | "lower";
  /** Fills a row after its end. */
  padId: number;
  /** Last id of a row that was cut; null where the tokenizer has no end token. */
  endId: number | null;
  /** The end token is replaced by padding (CLIPA, which was trained so). */
  stripEnd?: boolean;
}

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

/** `size`: the model's image size, pixels. */
export function nativeTransform(p: Preprocessing, size: number): NativeTransform {
  return {
    size,
    resize: ["shortest", "squash", "longest"].indexOf(p.resize),
    resized: p.resized ?? size,
    crop: p.crop === "floor" ? 1 : 0,
    filter: INTERPOLATIONS.indexOf(p.interpolation),
    fill: p.fill,
  };
}

/** `torchclip.json` of an artifact; throws E_MODEL_CORRUPT where a setting is missing or no such value. */
export function readConfig(json: string, file = "the artifact's torchclip.json"): ModelConfig {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const config = check.object(check.json(json), "the settings");
  if (config.formatVersion !== 2) {
    const version =
      typeof config.formatVersion === "number" ? config.formatVersion : kindOf(config.formatVersion);
    throw new TorchclipError(
      "E_MODEL_UNSUPPORTED",
      `${file} has format ${version}, this version reads format 2; import the model again`,
      { subject: file },
    );
  }
  return checkConfig(config, file);
}

/** One line: both towers with their sizes. */
export function describeModel({ image, text, embedDim, architecture }: ModelConfig): string {
  if (image.kind === "torchscript" || text.kind === "torchscript") {
    const context = text.contextLength;
    return `third-party TorchScript, image ${image.imageSize} px; text ${context} tokens; embedding ${embedDim}`;
  }
  const size = (t: {
    width?: number | number[];
    widths?: number[];
    layers?: number | number[];
    depths?: number[];
  }) => `${[t.layers ?? t.depths].flat().join("-")} × ${[t.width ?? t.widths].flat().join("-")}`;
  const patch = "patchSize" in image ? ` / ${image.patchSize}` : "";
  const activation = "activation" in image ? `; ${image.activation}` : "";
  return `${architecture}, image ${image.imageSize} px${patch}, ${size(image)}; text ${text.contextLength} tokens, ${size(text)}; embedding ${embedDim}${activation}`;
}
