import type { FinetuneMethod, LoraTowers, OptimizerName } from "../finetune/recipes.js";
import type { ImageFlags, ModelFlags } from "./options.js";
import type { SplitFlags } from "./probe-data.js";

/** The flags of `torchclip finetune`. */
export interface FinetuneFlags extends ModelFlags, ImageFlags, SplitFlags {
  method: FinetuneMethod;
  template?: string[];
  out: string;
  shots?: number;
  steps?: number;
  optimizer?: OptimizerName;
  learningRate?: number;
  leastLearningRate?: number;
  warmup?: number;
  weightDecay?: number;
  momentum?: number;
  clipNorm?: number;
  batchSize?: number;
  accumulate?: number;
  cropScale?: [number, number] | "none";
  flip?: boolean;
  layers?: number;
  rank?: number;
  alpha?: number;
  dropout?: number;
  towers?: LoraTowers;
  projections?: string;
  rankStabilized: boolean;
  validateEvery?: number;
  patience?: number;
  checkpointEvery: number;
  resume?: boolean;
  wise?: number;
  wiseSweep?: boolean;
  bf16: boolean;
  seed: number;
  example: number;
  autoRotate?: boolean;
  strict?: boolean;
  json?: boolean;
}
