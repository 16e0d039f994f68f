/** The part of the native boundary that learns: what it fits, and the trainer. */

/** What the addon fits. */
export interface NativeLearning {
  /**
   * Logistic regression. `coefficients` (float64 [heads, dim], one head for two classes) and `intercepts` are
   * the start, and become the result. `cancel[0] = 1` ends it with E_ABORTED. `report` follows the work:
   * iterations, products with the features, objective / rows, max |gradient| / rows; at the end also 1 where it
   * converged.
   */
  fitLinearProbe(
    problem: NativeProbeProblem,
    coefficients: Float64Array,
    intercepts: Float64Array,
    cancel: Int32Array,
    report: Float64Array,
  ): Promise<void>;
  /**
   * LP++: writes w + α t (float64 [classes, dim]), the intercepts and α ([classes]). `cancel[0] = 1` ends it
   * with E_ABORTED.
   */
  fitLpPlusPlus(
    problem: NativeFewShotProblem,
    coefficients: Float64Array,
    intercepts: Float64Array,
    alphas: Float64Array,
    cancel: Int32Array,
  ): Promise<void>;
  /**
   * ProLIP: writes the fine-tuned matrix (float64 [columns, dim]) to `out`. `cancel[0] = 1` ends it with
   * E_ABORTED.
   */
  fitProlip(problem: NativeProlipProblem, out: Float64Array, cancel: Int32Array): Promise<void>;
  /** logits (float64 [rows, heads]) = features × coefficients^T + intercepts, in float64. */
  probeLogits(
    features: Float32Array,
    rows: number,
    dim: number,
    coefficients: Float64Array,
    intercepts: Float64Array,
    heads: number,
    threads: number,
    logits: Float64Array,
  ): Promise<void>;
}

/** See native/core/learn/linear_probe.h. */
export interface NativeProbeProblem {
  /** float32 [rows, dim], finite. */
  features: Float32Array;
  /** int32 [rows], each in 0 to classes - 1. */
  labels: Int32Array;
  rows: number;
  dim: number;
  classes: number;
  lambda: number;
  /** The largest element of the gradient of objective / rows at which it ends. */
  tolerance: number;
  maxIterations: number;
  /** 0: one a core. */
  threads: number;
}

/** See native/core/learn/lp_plus_plus.h. */
export interface NativeFewShotProblem {
  /** float32 [rows, dim], of length 1. */
  features: Float32Array;
  /** int32 [rows], each in 0 to classes - 1. */
  labels: Int32Array;
  /** float32 [classes, dim], of length 1. */
  texts: Float32Array;
  rows: number;
  dim: number;
  classes: number;
  steps: number;
  /** 0: one a core. */
  threads: number;
}

/** See native/core/learn/prolip.h. */
export interface NativeProlipProblem {
  /** float32 [rows, dim]: pooled features. */
  features: Float32Array;
  /** int32 [rows], each in 0 to classes - 1. */
  labels: Int32Array;
  /** float32 [classes, columns], of length 1. */
  texts: Float32Array;
  /** float32 [columns, dim] and [columns]: the projection to begin with. */
  matrix: Float32Array;
  bias: Float32Array;
  rows: number;
  dim: number;
  columns: number;
  classes: number;
  logitScale: number;
  lambda: number;
  learningRate: number;
  steps: number;
  /** 0: one a core. */
  threads: number;
}

/**
 * Fine-tuning on libtorch: see native/core/model/trainer.h. Its calls run one after another on a thread of
 * its own.
 */
export interface NativeTrainer {
  /** Compiles the towers of an artifact; adapters start with zeros. E_ADDON where libtorch is missing. */
  load(path: string, settings: NativeTraining): Promise<NativeTrained>;
  /** Adds the gradient of a batch's loss. `cancel[0] = 1` ends it with E_ABORTED before its next half. */
  train(batch: NativeTrainingBatch, cancel: Int32Array): Promise<NativeBatchResult>;
  /** The loss of a batch without gradients and without dropout. */
  test(batch: NativeTrainingBatch, cancel: Int32Array): Promise<NativeBatchResult>;
  /** Ends a step; resolves with the norm of its gradient before it was shortened. */
  update(learningRate: number): Promise<number>;
  /** Forgets the gradients that were added since the last step. */
  discard(): Promise<void>;
  /** Copies a trained tensor: its values (0), the optimizer's first (1) or second moment (2). */
  read(name: string, part: 0 | 1 | 2, out: Float32Array): Promise<void>;
  write(name: string, part: 0 | 1 | 2, values: Float32Array): Promise<void>;
  /** The number of steps that were made, where the tensors and moments are those of another trainer. */
  setSteps(steps: number): Promise<void>;
  /** Waits for the batch that runs, refuses those that wait (E_CLOSED) and frees the model. */
  close(): Promise<void>;
}

export interface NativeTraining {
  /** "cpu", "cuda", "cuda:N" or "auto". */
  device: string;
  /** Of libtorch on a CPU; 0: one a core. */
  threads: number;
  /** Autocast to bf16 on a GPU. */
  bf16: boolean;
  /** Texts are encoded in training; else the text tower is not loaded. */
  text: boolean;
  /** Names of the tensors that get gradients, those of adapters among them. */
  trained: readonly string[];
  /** 0 AdamW, 1 Adam, 2 SGD. */
  optimizer: 0 | 1 | 2;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Of SGD; 0: none. */
  momentum: number;
  weightDecay: number;
  /** A longer gradient is shortened to it; 0: none is. */
  largestNorm: number;
  /** Of dropout, a whole number of at least 0. */
  seed: number;
  lora?: NativeLora;
}

/** See LoraLayout in native/core/model/config/layout.h. */
export interface NativeLora {
  /** The towers that get adapters. */
  image: boolean;
  text: boolean;
  rank: number;
  scale: number;
  dropout: number;
  projections: readonly ("q" | "k" | "v" | "out")[];
}

export interface NativeTrained {
  /** Name and shape of each trained tensor. */
  trained: [name: string, shape: number[]][];
  /** The device in use: "cpu", "cuda:0". */
  device: string;
}

/** Images with what they are compared with; see torchclip_training_batch. */
export interface NativeTrainingBatch {
  /** uint8 [rows, size, size, 3]. */
  pixels: Uint8Array;
  rows: number;
  /**
   * int32 [rows], each in 0 to classes - 1; undefined: text i belongs to image i, and `classes` is `rows`.
   */
  labels?: Int32Array;
  classes: number;
  /** float32 [classes, embedDim], of length 1; or `tokens`, int32 [classes, length]. */
  classEmbeddings?: Float32Array;
  tokens?: Int32Array;
  length?: number;
  /** The loss is multiplied by it before its gradient is added. */
  weight: number;
}

export interface NativeBatchResult {
  /** Mean over the rows. */
  loss: number;
  /** Rows whose largest logit is that of their class, or of their text. */
  correct: number;
}
