export { finetune } from "./finetune.js";
export type { FinetuneOptions, FinetuneResult } from "./finetune.js";
export type { History, StepRecord, ValidationRecord } from "./history.js";
export { FINETUNE_METHODS, recipeOf } from "./recipes.js";
export type {
  FinetuneMethod,
  LoraProjection,
  LoraSettings,
  LoraTowers,
  OptimizerName,
  Recipe,
  RecipeChanges,
} from "./recipes.js";
export type { SavedModel } from "./result.js";
export type { ShareRecord } from "./sweep.js";
export type { TrainingProgress } from "./train-steps.js";
