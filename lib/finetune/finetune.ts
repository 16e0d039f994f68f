import { createHash } from "node:crypto";
import { join } from "node:path";
import { load, locateWithAdapters } from "../clip/load.js";
import type { LoadOptions } from "../clip/options.js";
import type { Dataset } from "../datasets/dataset.js";
import { checkAborted, TorchclipError, toTorchclipError } from "../errors.js";
import { promptNames } from "../eval/zero-shot.js";
import type { ImageLimits } from "../images/types.js";
import type { ModelConfig } from "../models/config-types.js";
import { elements } from "../models/formats/types.js";
import { readArtifact, type ArtifactContent } from "../models/import/rewrite.js";
import { ARTICLE_PROMPTS, checkTemplates, type PromptSet } from "../text/prompts.js";
import { lock } from "../util/lock.js";
import {
  bestFile,
  partsOf,
  removeCheckpoint,
  restoreCheckpoint,
  restoreTrained,
  type RunIdentity,
} from "./checkpoint.js";
import { bestOf, type History, type ValidationRecord } from "./history.js";
import { startAdapters } from "./lora.js";
import { nativeLora, trainedTensors, trainsTexts } from "./parameters.js";
import {
  changedRecipe,
  OPTIMIZERS,
  type FinetuneMethod,
  type Recipe,
  type RecipeChanges,
} from "./recipes.js";
import { saveResult, type SavedModel } from "./result.js";
import { sweepShares, type ShareRecord } from "./sweep.js";
import { classTexts, type ClassTexts } from "./texts.js";
import { trainSteps, type TrainingProgress } from "./train-steps.js";
import { Trainer } from "./trainer.js";
import { TrainingImages } from "./training-images.js";

/** How a model is fine-tuned. What is not given is that of the method's recipe (see recipeOf). */
export interface FinetuneOptions extends RecipeChanges {
  method: FinetuneMethod;
  /** Folder of the result, of checkpoints, and of what a stopped run goes on from. */
  folder: string;
  /** Images that are tested while training goes on, with the classes of the training images. */
  valid?: Dataset;
  /** Default: the data set's first prompt set, else "a photo of a {}". */
  prompts?: PromptSet;
  /** Names in the prompts by class id. Default: the data set's, with spaces for "_". */
  classNames?: readonly string[];
  /** Of the order of the images, crops, dropout and the start of adapters. Default 0. */
  seed?: number;
  /** On a GPU matrix products are computed in bf16. Default true. */
  bf16?: boolean;
  /** Steps between two tests of the validation images. Default: a tenth of all steps. */
  validateEvery?: number;
  /** Ends after so many validations without a better one, and takes the best. Default: trains to the end. */
  patience?: number;
  /** Steps between two checkpoints. Default 500. */
  checkpointEvery?: number;
  /** Goes on from the folder's checkpoint, where there is one. */
  resume?: boolean;
  /** WiSE-FT: the share of the trained weights in the result, in 0 to 1. Default 1: they alone. */
  wise?: number;
  /** Images on which the shares 0, 0.1 … 1 are tested after training. */
  sweep?: Dataset;
  autoRotate?: boolean;
  limits?: ImageLimits;
  /**
   * How the model is found, and the device: "cpu", "cuda", "cuda:N" or "auto", the default. `threads`: of
   * libtorch.
   */
  load?: Pick<
    LoadOptions,
    "device" | "threads" | "adapters" | "cacheDir" | "offline" | "mirror" | "mirrorFallback" | "onNote"
  >;
  signal?: AbortSignal;
  onProgress?: (progress: TrainingProgress) => void;
}

/** A fine-tuned model, and how its training went. */
export interface FinetuneResult {
  saved: SavedModel;
  /** Settings of the model that training began from. */
  config: ModelConfig;
  recipe: Recipe;
  prompts: PromptSet;
  classNames: readonly string[];
  history: History;
  /** The step whose tensors were taken: the last one, or with `patience` that of the best validation. */
  taken: number;
  best: ValidationRecord | undefined;
  /** What the images of `sweep` gave for each share; empty without. */
  sweep: ShareRecord[];
  device: string;
  /** How many tensors, and values in them, were trained. */
  trained: { tensors: number; values: number };
}

/**
 * Fine-tunes a model on labelled images with libtorch and saves the result as an artifact. E_ADDON where
 * libtorch is missing, E_LOCKED while another process trains into the same folder.
 *
 * @example
 * const train = await loadDataset("scenes", { split: "train" });
 * const { saved } = await finetune("tiny", train, { method: "image", folder: "tuned", steps: 200 });
 * const clip = await load(saved.artifact);
 */
export async function finetune(
  model: string,
  train: Dataset,
  options: FinetuneOptions,
): Promise<FinetuneResult> {
  const held = await lock(join(options.folder, "finetune.lock"), { signal: options.signal });
  try {
    const run = await prepare(model, train, options);
    try {
      return await trainAndSave(run, options);
    } finally {
      await run.trainer.close();
    }
  } catch (error) {
    checkAborted(options.signal);
    throw toTorchclipError(error, "E_INTERNAL", { subject: model });
  } finally {
    await held.release();
  }
}

/** What a run needs before its first step. */
interface PreparedRun {
  content: ArtifactContent;
  train: Dataset;
  recipe: Recipe;
  prompts: PromptSet;
  classNames: readonly string[];
  texts: ClassTexts;
  trainer: Trainer;
}

async function prepare(model: string, train: Dataset, options: FinetuneOptions): Promise<PreparedRun> {
  const { method, signal, seed = 0 } = options;
  checkShare(options.wise);
  const recipe = changedRecipe(method, fewestImages(train), options);
  const prompts = options.prompts ?? train.prompts.at(0) ?? ARTICLE_PROMPTS;
  checkTemplates(prompts.templates);
  const classNames = options.classNames ?? promptNames(train.classes);
  const { artifact } = await locateWithAdapters(model, { ...options.load, signal });
  const content = await readArtifact(artifact);
  const texts = await textsOf(artifact, options, { recipe, classNames, templates: prompts.templates });
  const trainer = await makeTrainer(content, recipe, options);
  if (method === "lora") await startAdapters(trainer, seed);
  return { content, train, recipe, prompts, classNames, texts, trainer };
}

async function trainAndSave(run: PreparedRun, options: FinetuneOptions): Promise<FinetuneResult> {
  const { content, train, recipe, prompts, classNames, texts, trainer } = run;
  const { folder, method, valid, patience } = options;
  const parts = partsOf(recipe.optimizer, recipe.momentum);
  const identity = identityOf(run, options);
  if (!options.resume) await removeCheckpoint(folder);
  const restored = await restoreCheckpoint(folder, trainer, parts, identity);
  const imagesOf = (data: Dataset) => new TrainingImages(data, content.config, imageOptions(recipe, options));
  const history = await trainSteps(
    { trainer, texts, train: imagesOf(train) },
    valid && imagesOf(valid),
    restored ?? { steps: [], validations: [] },
    { ...options, recipe, parts, identity },
  );
  const best = bestOf(history.validations);
  const takesBest = patience !== undefined && best !== undefined;
  if (takesBest) await restoreTrained(bestFile(folder), trainer, ["values"]);
  const share = options.wise ?? 1;
  const saved = await saveResult(content, trainer, { folder, method, recipe, share });
  const swept = options.sweep && imagesOf(options.sweep);
  const sweep = swept ? await sweepShares(content, { trainer, texts }, swept, recipe.batchSize) : [];
  await removeCheckpoint(folder);
  const values = [...trainer.shapes.values()].reduce((sum, shape) => sum + elements(shape), 0);
  return {
    saved,
    config: content.config,
    recipe,
    prompts,
    classNames,
    history,
    taken: takesBest ? best.step : history.steps.length,
    best,
    sweep,
    device: trainer.device,
    trained: { tensors: trainer.shapes.size, values },
  };
}

function checkShare(share: number | undefined): void {
  if (share === undefined || (share >= 0 && share <= 1)) return;
  const message = `wise must be a share in 0 to 1, not ${share}`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: "wise" });
}

/** Training images of the class that has the fewest. Throws E_DATASET_FORMAT for a class that has none. */
function fewestImages(train: Dataset): number {
  const counts = train.classes.map(() => 0);
  for (const { label } of train) counts[label]++;
  const without = counts.indexOf(0);
  if (without >= 0) {
    const name = JSON.stringify(train.classes[without]);
    const message = `the class ${name} of ${train.name} has no image in the split ${train.split}`;
    throw new TorchclipError("E_DATASET_FORMAT", message, { subject: train.name });
  }
  return Math.min(...counts);
}

/** Encodes or tokenizes the prompts by the model as it is before training. */
async function textsOf(
  artifact: string,
  { method, seed = 0, signal, load: loading }: FinetuneOptions,
  about: { recipe: Recipe; classNames: readonly string[]; templates: readonly string[] },
): Promise<ClassTexts> {
  const { threads, device } = loading ?? {};
  const clip = await load(artifact, { precision: "fp32", towers: "text", threads, device, signal });
  try {
    return await classTexts(clip, { method, seed, signal, ...about });
  } finally {
    await clip.close();
  }
}

function makeTrainer(content: ArtifactContent, recipe: Recipe, options: FinetuneOptions): Promise<Trainer> {
  const { method, seed = 0, bf16 = true, signal, load: loading } = options;
  const { optimizer, beta1, beta2, epsilon, momentum, weightDecay, largestNorm, lora } = recipe;
  const settings = {
    device: loading?.device ?? "auto",
    threads: loading?.threads ?? 0,
    bf16,
    text: trainsTexts(method, recipe),
    trained: trainedTensors(content.config, method, recipe),
    optimizer: OPTIMIZERS.indexOf(optimizer) as 0 | 1 | 2,
    ...{ beta1, beta2, epsilon, momentum, weightDecay, largestNorm, seed },
    ...(method === "lora" ? { lora: nativeLora(lora) } : {}),
  };
  return Trainer.load(content.path, settings, signal);
}

function imageOptions(recipe: Recipe, { seed = 0, autoRotate, limits, signal }: FinetuneOptions) {
  const { cropScale, flip } = recipe;
  return { cropScale, flip, seed, autoRotate, limits, signal };
}

/** What decides the weights that a run gives. */
function identityOf(
  { content, train, recipe, prompts, classNames, trainer }: PreparedRun,
  { method, seed = 0, autoRotate = false, validateEvery, patience, valid }: FinetuneOptions,
): RunIdentity {
  return {
    model: content.config.source.sha256,
    method,
    ...recipe,
    seed,
    prompts: prompts.templates,
    classNames,
    trainingImages: hashOf(train),
    validationImages: valid ? hashOf(valid) : "none",
    autoRotate,
    validateEvery: validateEvery ?? "default",
    patience: patience ?? "none",
    device: trainer.device === "cpu" ? "cpu" : "cuda",
  };
}

/** Of the names and classes of the images, in their order. */
function hashOf(data: Dataset): string {
  const hash = createHash("sha256");
  for (const { name, label } of data) hash.update(`${label} ${name}\n`);
  return hash.digest("hex").slice(0, 32);
}
