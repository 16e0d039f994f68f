import { checkAborted, TorchclipError } from "../errors.js";
import { bestFile, saveCheckpoint, saveTrained, type RunIdentity } from "./checkpoint.js";
import { bestOf, sinceBest, type History, type StepRecord, type ValidationRecord } from "./history.js";
import type { Recipe } from "./recipes.js";
import { Sampler } from "./sampler.js";
import { learningRateAt } from "./schedule.js";
import type { ClassTexts } from "./texts.js";
import type { TrainedPart, Trainer } from "./trainer.js";
import type { TrainingImages } from "./training-images.js";

/** Where training is. */
export interface TrainingProgress {
  /** Steps that are done, and of the whole run. */
  step: number;
  steps: number;
  /** Images that this run has trained on since it began or was resumed. */
  images: number;
  /** Of the last step. */
  last: StepRecord | undefined;
  /** Of the last validation. */
  validation: ValidationRecord | undefined;
}

/** What is trained, on what. */
export interface TrainedOn {
  trainer: Trainer;
  texts: ClassTexts;
  train: TrainingImages;
}

export interface TrainStepsOptions {
  recipe: Recipe;
  folder: string;
  parts: readonly TrainedPart[];
  identity: RunIdentity;
  seed?: number;
  validateEvery?: number;
  patience?: number;
  checkpointEvery?: number;
  signal?: AbortSignal;
  onProgress?: (progress: TrainingProgress) => void;
}

const CHECKPOINT_EVERY = 500;
const VALIDATIONS = 10; // of a run

/** Trains from the end of `history`, which is extended, to the last step or until patience ends. */
export async function trainSteps(
  on: TrainedOn,
  valid: TrainingImages | undefined,
  history: History,
  options: TrainStepsOptions,
): Promise<History> {
  const { recipe, folder, parts, identity, patience, signal, onProgress } = options;
  const { checkpointEvery = CHECKPOINT_EVERY } = options;
  const validateEvery = options.validateEvery ?? Math.max(1, Math.ceil(recipe.steps / VALIDATIONS));
  const batches = new Batches(on, recipe, options.seed ?? 0);
  const first = history.steps.length;
  const report = () =>
    onProgress?.({
      step: history.steps.length,
      steps: recipe.steps,
      images: (history.steps.length - first) * recipe.batchSize * recipe.accumulate,
      last: history.steps.at(-1),
      validation: history.validations.at(-1),
    });
  const isOver = () => patience !== undefined && sinceBest(history.validations) >= patience;
  report();
  for (let step = first; step < recipe.steps && !isOver(); step++) {
    checkAborted(signal);
    history.steps.push(await trainStep(on.trainer, batches, step, recipe));
    const isLast = step + 1 === recipe.steps;
    if (valid && (isLast || (step + 1) % validateEvery === 0)) {
      history.validations.push(await validate(on, valid, step + 1, recipe.batchSize));
      await keepBest(on.trainer, folder, history.validations, patience);
    }
    if ((step + 1) % checkpointEvery === 0)
      await saveCheckpoint(folder, on.trainer, parts, identity, history);
    report();
  }
  // What follows may fail, as on a full disk: it is then all that is to be done again.
  if (history.steps.length % checkpointEvery !== 0)
    await saveCheckpoint(folder, on.trainer, parts, identity, history);
  return history;
}

/** The batches of a run. While one is trained on, the next one is decoded. */
class Batches {
  private readonly sampler: Sampler;
  private next: { pass: number; batch: Promise<TrainingBatch> } | undefined;

  constructor(
    private readonly on: TrainedOn,
    private readonly recipe: Recipe,
    seed: number,
  ) {
    this.sampler = new Sampler(on.train.length, seed);
  }

  /** The batch of a forward pass of the run, from 0. */
  async at(pass: number): Promise<TrainingBatch> {
    const batch = this.next?.pass === pass ? this.next.batch : this.make(pass);
    if (pass + 1 < this.recipe.steps * this.recipe.accumulate) {
      const following = batch.then(() => this.make(pass + 1));
      following.catch(() => undefined); // awaited in its turn, where there is one
      this.next = { pass: pass + 1, batch: following };
    }
    return batch;
  }

  private async make(pass: number): Promise<TrainingBatch> {
    const { batchSize } = this.recipe;
    const place = pass * batchSize;
    const indices = this.sampler.batch(place, batchSize);
    const { train, texts } = this.on;
    const pixels = await train.augmented(indices, place);
    return { pixels, rows: indices.length, ...texts.forTraining(train.labels(indices), place) };
  }
}

type TrainingBatch = { pixels: Uint8Array; rows: number } & ReturnType<ClassTexts["forTraining"]>;

/** The forward and backward passes of a step, and its update. */
async function trainStep(
  trainer: Trainer,
  batches: Batches,
  step: number,
  recipe: Recipe,
): Promise<StepRecord> {
  const { accumulate } = recipe;
  let [loss, correct, rows] = [0, 0, 0];
  for (let pass = 0; pass < accumulate; pass++) {
    const batch = await batches.at(step * accumulate + pass);
    const found = await trainer.train({ ...batch, weight: 1 / accumulate });
    loss += found.loss / accumulate;
    correct += found.correct;
    rows += batch.rows;
  }
  if (!Number.isFinite(loss)) throw divergedError(step + 1, loss);
  const learningRate = learningRateAt(step, recipe);
  const norm = await trainer.update(learningRate);
  return { step: step + 1, loss, accuracy: correct / rows, learningRate, norm };
}

function divergedError(step: number, loss: number): TorchclipError {
  const message =
    `the loss of step ${step} is ${loss}: training diverged; ` +
    "a lower learning rate, a warm-up or clipped gradients prevent that";
  return new TorchclipError("E_ARGUMENT", message, { subject: "learningRate" });
}

/** The loss and the accuracy of all images of a validation. */
export async function validate(
  { trainer, texts }: Pick<TrainedOn, "trainer" | "texts">,
  images: TrainingImages,
  step: number,
  batchSize: number,
): Promise<ValidationRecord> {
  const count = images.length;
  let [loss, correct] = [0, 0];
  for (let start = 0; start < count; start += batchSize) {
    const indices = Array.from({ length: Math.min(batchSize, count - start) }, (_, i) => start + i);
    const pixels = await images.plain(indices);
    const side = texts.forTest(images.labels(indices));
    const found = await trainer.test({ pixels, rows: indices.length, ...side, weight: 1 });
    loss += found.loss * indices.length;
    correct += found.correct;
  }
  return { step, loss: loss / count, accuracy: correct / count };
}

/** Keeps the tensors of the best validation, for runs that take them at the end. */
async function keepBest(
  trainer: Trainer,
  folder: string,
  validations: readonly ValidationRecord[],
  patience: number | undefined,
): Promise<void> {
  if (patience === undefined || bestOf(validations) !== validations.at(-1)) return;
  await saveTrained(bestFile(folder), trainer, ["values"], {});
}
