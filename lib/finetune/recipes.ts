import { TorchclipError } from "../errors.js";

/** What is trained. */
export const FINETUNE_METHODS = ["image", "last-layers", "lora", "flyp"] as const;

/**
 * "image": the image tower, its projection apart, against prompts that stay. "last-layers": its last blocks
 * with the final norm and the projection, the same way. "lora": low-rank adapters beside attention
 * projections. "flyp": both towers and the logit scale, by the contrastive loss of images and their prompts.
 */
export type FinetuneMethod = (typeof FINETUNE_METHODS)[number];

export const OPTIMIZERS = ["adamw", "adam", "sgd"] as const;
export type OptimizerName = (typeof OPTIMIZERS)[number];

export const LORA_PROJECTIONS = ["q", "k", "v", "out"] as const;
export type LoraProjection = (typeof LORA_PROJECTIONS)[number];

export const LORA_TOWERS = ["image", "text", "both"] as const;
export type LoraTowers = (typeof LORA_TOWERS)[number];

/** Low-rank adapters (Hu et al. 2021, arXiv:2106.09685). */
export interface LoraSettings {
  towers: LoraTowers;
  projections: readonly LoraProjection[];
  rank: number;
  alpha: number;
  /** Share of an adapter's input that is dropped in training, in 0 to 1. */
  dropout: number;
  /** The adapter is multiplied by alpha / √rank instead of alpha / rank (rsLoRA, arXiv:2312.03732). */
  rankStabilized: boolean;
}

/** How a model is trained. */
export interface Recipe {
  optimizer: OptimizerName;
  /** The highest learning rate. */
  learningRate: number;
  /** The learning rate at the end of the cosine. */
  leastLearningRate: number;
  /** Steps in which the learning rate rises from 0. */
  warmup: number;
  weightDecay: number;
  /** Of Adam and AdamW. */
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Of SGD. */
  momentum: number;
  /** A gradient with a larger norm is shortened to it; 0: none is. */
  largestNorm: number;
  /** Images in one forward and backward pass. */
  batchSize: number;
  /** Passes whose gradients make one step. */
  accumulate: number;
  steps: number;
  /**
   * Random resized crop: the least and the largest share of the image's area; "none": the model's own
   * transform.
   */
  cropScale: readonly [number, number] | "none";
  /** Mirror every other image. Wrong for text. */
  flip: boolean;
  /** Blocks that "last-layers" trains. */
  layers: number;
  lora: LoraSettings;
}

const LORA: LoraSettings = {
  towers: "both",
  projections: ["q", "k", "v"],
  rank: 2,
  alpha: 1,
  dropout: 0.25,
  rankStabilized: true,
};

/** FusionBench's: examples/hyperparameters of clip_finetune; Tang et al. 2024, arXiv:2406.03280. */
const IMAGE: Recipe = {
  optimizer: "adam",
  learningRate: 1e-5,
  leastLearningRate: 0,
  warmup: 0,
  weightDecay: 0,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  momentum: 0,
  largestNorm: 0,
  batchSize: 32,
  accumulate: 1,
  steps: 4000,
  cropScale: "none",
  flip: false,
  layers: 2,
  lora: LORA,
};

const SHOTS_OF_RECIPE = 16; // the most that the paper of CLIP-LoRA takes
const STEPS_A_SHOT = 500;

/**
 * The published recipe of each method, which is what its options default to. They differ from the papers in
 * what docs/fine-tuning.md lists.
 *
 * @param imagesOfClass Training images of the class that has the fewest.
 */
export function recipeOf(method: FinetuneMethod, imagesOfClass: number): Recipe {
  switch (method) {
    case "image":
    case "last-layers":
      return IMAGE;
    case "lora":
      // Zanella and Ben Ayed 2024, arXiv:2405.18541: MaxZanella/CLIP-LoRA, run_utils.py and lora.py.
      return {
        ...IMAGE,
        optimizer: "adamw",
        learningRate: 2e-4,
        leastLearningRate: 1e-6,
        weightDecay: 1e-2,
        steps: STEPS_A_SHOT * Math.min(imagesOfClass, SHOTS_OF_RECIPE),
        cropScale: [0.08, 1],
      };
    case "flyp":
      // Goyal et al. 2023, arXiv:2212.00638: locuslab/FLYP, README.md and src/args.py.
      return {
        ...IMAGE,
        optimizer: "adamw",
        weightDecay: 0.1,
        warmup: 500,
        batchSize: 256,
        cropScale: [0.9, 1],
      };
  }
}

/** The fields of a recipe that a caller changes; those of `lora` one by one. */
export type RecipeChanges = Partial<Omit<Recipe, "lora">> & { lora?: Partial<LoraSettings> };

const LORA_FIELDS = Object.keys(LORA) as (keyof LoraSettings)[];
const RECIPE_FIELDS = (Object.keys(IMAGE) as (keyof Recipe)[]).filter((field) => field !== "lora");

/** Those of the fields that are given. */
function given<T extends object>(fields: readonly (keyof T)[], changes: T): Partial<T> {
  const found: Partial<T> = {};
  for (const field of fields) if (changes[field] !== undefined) found[field] = changes[field];
  return found;
}

/**
 * The recipe of a method with changes. Throws E_ARGUMENT, naming the option, for a value outside its range.
 */
export function changedRecipe(method: FinetuneMethod, imagesOfClass: number, changes: RecipeChanges): Recipe {
  const recipe = recipeOf(method, imagesOfClass);
  const lora = { ...recipe.lora, ...given(LORA_FIELDS, changes.lora ?? {}) };
  const changed: Recipe = { ...recipe, ...given(RECIPE_FIELDS, changes), lora };
  checkRecipe(changed);
  return changed;
}

const wholeFrom = (least: number) => (value: number) =>
  Number.isSafeInteger(value) && value >= least ? undefined : `a whole number of at least ${least}`;
const atLeastZero = (value: number) =>
  Number.isFinite(value) && value >= 0 ? undefined : "a number of at least 0";
const aboveZero = (value: number) => (Number.isFinite(value) && value > 0 ? undefined : "a positive number");
const belowOne = (value: number) => (value >= 0 && value < 1 ? undefined : "at least 0 and less than 1");

const CHECKS: readonly [keyof Recipe, (value: number) => string | undefined][] = [
  ["learningRate", aboveZero],
  ["leastLearningRate", atLeastZero],
  ["warmup", wholeFrom(0)],
  ["weightDecay", atLeastZero],
  ["beta1", belowOne],
  ["beta2", belowOne],
  ["epsilon", aboveZero],
  ["momentum", belowOne],
  ["largestNorm", atLeastZero],
  ["batchSize", wholeFrom(1)],
  ["accumulate", wholeFrom(1)],
  ["steps", wholeFrom(1)],
  ["layers", wholeFrom(1)],
];

function checkRecipe(recipe: Recipe): void {
  for (const [name, check] of CHECKS) refuse(name, check(recipe[name] as number), recipe[name]);
  const { rank, alpha, dropout, projections } = recipe.lora;
  refuse("rank", wholeFrom(1)(rank), rank);
  refuse("alpha", aboveZero(alpha), alpha);
  refuse("dropout", belowOne(dropout), dropout);
  const isKnown = projections.every((projection) => LORA_PROJECTIONS.includes(projection));
  const wanted = `some of ${LORA_PROJECTIONS.join(", ")}`;
  refuse("projections", projections.length > 0 && isKnown ? undefined : wanted, projections);
  checkCropScale(recipe.cropScale);
  if (recipe.warmup >= recipe.steps) {
    refuse("warmup", `less than the ${recipe.steps} steps`, recipe.warmup);
  }
}

function checkCropScale(scale: Recipe["cropScale"]): void {
  if (scale === "none") return;
  const [least, most] = scale;
  const isRange = least > 0 && least <= most && most <= 1;
  refuse("cropScale", isRange ? undefined : "two shares of the area, 0 < least ≤ most ≤ 1", scale);
}

function refuse(name: string, wanted: string | undefined, value: unknown): void {
  if (wanted === undefined) return;
  const message = `${name} must be ${wanted}, not ${JSON.stringify(value)}`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: name });
}
