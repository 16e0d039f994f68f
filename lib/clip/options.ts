import type { LoadedModel } from "../addon.js";
import type { Embeddings } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import { LIMIT_CHECKS } from "../images/limits.js";
import type { DecodeOptions, ImageInput, ImageLimits } from "../images/types.js";
import type { ModelConfig, WeightsOrigin } from "../models/config-types.js";
import type { ResolveOptions } from "../models/store/resolve.js";
import {
  BATCH_SIZE,
  IS_TRUNCATE,
  isBoolean,
  isSignal,
  oneOf,
  wholeIn,
  type OptionCheck,
} from "../options.js";
import type { TokenizeOptions } from "../text/tokenize.js";
import type { ImageOutput } from "./image-output.js";
import type { PrecisionChoice } from "./precision.js";
import type { TowerChoice } from "./towers.js";

export type Device = "auto" | "cpu" | "cuda" | `cuda:${number}` | "cuda:all";

export type Precision = "auto" | "fp32" | "bf16" | "fp16" | "int8" | "fp8";

/**
 * The limits of images (maxPixels, sources …) hold for all calls of the model, where a call has none of its
 * own.
 */
export interface LoadOptions extends ResolveOptions, ImageLimits {
  /**
   * Default "auto": CUDA where it works, else the CPU (`clip.info.deviceNote` says why). "cuda" never falls
   * back. "cuda:all": a copy of the model on each GPU; batches go to whichever is free.
   */
  device?: Device;
  /**
   * Default "fp32". "int8": on a CPU. "fp8": on a GPU from compute capability 8.9 on (Ada, Hopper, Blackwell);
   * E_PRECISION elsewhere, and for models that it cannot compute. "auto": the fastest whose measured cosine to
   * fp32 is at least 0.9995; see docs.
   */
  precision?: Precision;
  /** Compute threads on a CPU. Default 0: one a core. */
  threads?: number;
  /**
   * LoRA adapters of PEFT that are merged into the weights, in their order: folders with
   * adapter_model.safetensors and adapter_config.json, or paths of the former. The merged model is kept in
   * the folder `adapters` of the cache. E_ARGUMENT, naming the first key, where one does not fit the model.
   */
  adapters?: readonly string[];
  /**
   * The towers to load. Default "both". A tower that is left out needs no time and no memory. Calls that need it
   * reject with E_ARGUMENT; `preprocess` and `tokenize` work in any case.
   */
  towers?: TowerChoice;
  /**
   * "auto" (default): the fast runner for the towers that it knows. "generic": the artifact's TorchScript for
   * both.
   */
  runner?: "auto" | "generic";
  /**
   * The result for an input has the same bits in every batch. The fast runner always gives that; TorchScript
   * then runs the inputs one by one.
   */
  deterministic?: boolean;
}

export interface ClipInfo extends LoadedModel {
  /** Path of the artifact in use. */
  path: string;
  config: ModelConfig;
  /** Where the weights came from. */
  origin: WeightsOrigin;
  /** What was asked for; `precision` is what is computed in. */
  requestedPrecision: Precision;
  /** With precision "auto": what was measured, on a GPU only where fp8 is possible. */
  precisionChoice?: PrecisionChoice;
}

/** Seconds of each stage, added up over all images (read, decode and resize overlap with forward). */
export interface StageTimes {
  read: number;
  decode: number;
  resize: number;
  forward: number;
}

export interface BatchOptions extends DecodeOptions {
  /** Images in one forward pass. Default 32. */
  batchSize?: number;
  /**
   * "embedding" (default): the vector that texts are compared with. "pooled": the feature that the model
   * projects to the embedding, of `clip.info.pooledDim` floats: what transformers calls `pooler_output`, on
   * which classifiers are trained. Models without a projection give the embedding. Third-party TorchScript
   * exports reject "pooled" with E_ARGUMENT.
   */
  output?: ImageOutput;
  /** Divide each row by its L2 norm. Default true for embeddings, false for pooled features. */
  normalize?: boolean;
  /**
   * Where images are resized and cropped: "cpu" (default), a thread pool beside the model; "device", where
   * the model runs, which frees the CPU for decoding. The pixels are the same bits.
   */
  resizeOn?: "cpu" | "device";
  /**
   * Who decodes JPEG files: "cpu" (default), or "device": a GPU's nvJPEG where it is there, then `resizeOn`
   * is "device" too. What it does not take (other formats, damaged files, autoRotate) is decoded by the CPU.
   * Its pixels differ from the reference's by a few levels; see docs/cuda.md.
   */
  decodeOn?: "cpu" | "device";
  /**
   * "throw" (default): the first bad item rejects, with its index and name. "collect": see `errors` of the
   * result.
   */
  onError?: "throw" | "collect";
  /** Stage times are added to it. */
  times?: StageTimes;
}

/** Options of `preprocess`. */
export interface PreprocessOptions extends Omit<BatchOptions, "batchSize" | "output" | "normalize"> {
  /**
   * Memory that the pixels are written to, uint8 of at least images.length × size × size × 3 values, instead of
   * new memory; rows of bad items keep what they held. It must not be changed or transferred before the promise
   * is fulfilled; after a rejection, pixels may still be written to it.
   */
  into?: Uint8Array;
}

export interface EncodedImages extends Embeddings {
  /** With onError "collect": the error of each bad item at its index; its row is NaN. */
  errors: (TorchclipError | undefined)[];
}

export interface EncodedTexts extends Embeddings {
  /** Which texts were cut at the context length (only with truncate: "end"). */
  truncated: boolean[];
}

export interface EncodeTextOptions extends TokenizeOptions {
  /**
   * Texts given to the model at once. Default 256 on the fast CPU runner, which computes once what texts of a
   * batch begin with; else 64.
   */
  batchSize?: number;
  normalize?: boolean;
  signal?: AbortSignal;
}

/** What a classifier uses of a model: a `Clip` is one. */
export interface ClassifierModel {
  readonly info: ClipInfo;
  encodeTexts(texts: readonly string[], options: EncodeTextOptions): Promise<EncodedTexts>;
  streamImages(
    images: Iterable<ImageInput> | AsyncIterable<ImageInput>,
    options: BatchOptions,
  ): AsyncGenerator<EncodedImages>;
}

/** Resized and cropped RGB before normalisation: uint8 [rows, height, width, 3]. */
export interface Preprocessed {
  data: Uint8Array;
  rows: number;
  height: number;
  width: number;
  errors: (TorchclipError | undefined)[];
}

/** Images in one forward pass where the call does not say it. */
export const DEFAULT_BATCH = 32;

const isPlace = oneOf("cpu", "device");

const isDevice: OptionCheck = (value) =>
  typeof value === "string" && /^(auto|cpu|cuda(:(\d+|all))?)$/.test(value)
    ? undefined
    : "auto, cpu, cuda, cuda:N or cuda:all";

const isPathList: OptionCheck = (value) =>
  Array.isArray(value) && value.every((path) => typeof path === "string" && path !== "")
    ? undefined
    : "a list of paths";

export const LOAD_CHECKS: Partial<Record<keyof LoadOptions, OptionCheck>> = {
  ...LIMIT_CHECKS,
  device: isDevice,
  precision: oneOf("auto", "fp32", "bf16", "fp16", "int8", "fp8"),
  towers: oneOf("both", "image", "text"),
  runner: oneOf("auto", "generic"),
  threads: wholeIn(0, 1024),
  adapters: isPathList,
  deterministic: isBoolean,
  trustCode: isBoolean,
  mirrorFallback: isBoolean,
  signal: isSignal,
};

export const IMAGE_CHECKS: Partial<Record<keyof BatchOptions, OptionCheck>> = {
  ...LIMIT_CHECKS,
  batchSize: BATCH_SIZE,
  output: oneOf("embedding", "pooled"),
  normalize: isBoolean,
  autoRotate: isBoolean,
  fastDecode: isBoolean,
  resizeOn: isPlace,
  decodeOn: isPlace,
  onError: oneOf("throw", "collect"),
  signal: isSignal,
};

export const TEXT_CHECKS: Partial<Record<keyof EncodeTextOptions, OptionCheck>> = {
  batchSize: BATCH_SIZE,
  normalize: isBoolean,
  truncate: IS_TRUNCATE,
  signal: isSignal,
};
