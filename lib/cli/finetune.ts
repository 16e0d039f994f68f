import { Dataset } from "../datasets/dataset.js";
import { identified } from "../embed/identity.js";
import { finetune, type FinetuneResult } from "../finetune/finetune.js";
import type { LoraProjection, RecipeChanges } from "../finetune/recipes.js";
import type { TrainingProgress } from "../finetune/train-steps.js";
import { drawShots } from "../learn/split.js";
import { datasetLines } from "../report/text.js";
import type { FinetuneFlags } from "./finetune-flags.js";
import { testBeforeAndAfter } from "./finetune-test.js";
import { progressText } from "./finetune-text.js";
import { interruptSignal, list, note, progressBar, remark } from "./io.js";
import { imageLimits, loadOptions } from "./options.js";
import { loadSplits, noteOverlap, type SplitContents, type Splits } from "./probe-data.js";

/** What `torchclip finetune` does. */
export async function run(flags: FinetuneFlags): Promise<void> {
  const signal = interruptSignal();
  const splits = drawn(await loadSplits(flags, signal), flags);
  await noteOverlaps(splits, flags.strict);
  if (!flags.json) process.stdout.write(`${datasetLines(splits.train)}\n\n`);
  try {
    const result = await train(splits, flags, signal);
    await testBeforeAndAfter(splits, result, flags, signal);
  } catch (error) {
    if (signal.aborted) note("Stopped. The same command with --resume goes on from the last checkpoint.");
    throw error;
  }
}

/** With --shots: that many training images of each class. */
function drawn(splits: Splits, { shots, seed }: FinetuneFlags): Splits {
  if (shots === undefined) return splits;
  const samples = [...splits.train];
  const labels = Int32Array.from(samples, ({ label }) => label);
  const { kept } = drawShots(labels, splits.train.classes, shots, seed);
  const { name, split, classes, prompts, source, notes } = splits.train;
  const chosen = kept.sort((a, b) => a - b).map((row) => samples[row]);
  return { ...splits, train: new Dataset({ name, split, classes, samples: chosen, prompts, source, notes }) };
}

/** Says which images are in two splits. */
async function noteOverlaps({ train, valid, test }: Splits, strict: boolean | undefined): Promise<void> {
  const contents = async (data: Dataset): Promise<SplitContents> => {
    const found: SplitContents = { contents: [], names: [] };
    for await (const { name, content } of identified(data.images())) {
      found.names.push(name);
      found.contents.push(content === "url" ? "" : content);
    }
    return found;
  };
  const [ofTrain, ofTest] = [await contents(train), await contents(test)];
  noteOverlap(train.split, ofTrain, test.split, ofTest, strict);
  if (!valid) return;
  const ofValid = await contents(valid);
  noteOverlap(train.split, ofTrain, valid.split, ofValid, strict);
  noteOverlap(valid.split, ofValid, test.split, ofTest, strict);
}

/** The recipe's fields that the command line changes. */
function recipeChanges(flags: FinetuneFlags): RecipeChanges {
  const { steps, optimizer, learningRate, leastLearningRate, warmup, weightDecay, momentum } = flags;
  const { batchSize, accumulate, flip, layers, rank, alpha, dropout, towers, clipNorm, cropScale } = flags;
  return {
    ...{ steps, optimizer, learningRate, leastLearningRate, warmup, weightDecay, momentum },
    ...{ batchSize, accumulate, flip, layers, cropScale, largestNorm: clipNorm },
    lora: {
      ...{ rank, alpha, dropout, towers },
      projections: list(flags.projections) as LoraProjection[] | undefined,
      rankStabilized: flags.rankStabilized,
    },
  };
}

/** Says where a run with --resume begins. */
function noteResumed(step: number, folder: string): void {
  remark(
    step > 0
      ? `Goes on after step ${step} of the checkpoint.`
      : `There is no checkpoint in ${folder}: training begins anew.`,
  );
}

/** Trains with a progress bar, and shows each validation. */
async function train(splits: Splits, flags: FinetuneFlags, signal: AbortSignal): Promise<FinetuneResult> {
  const bar = progressBar("fine-tuning", "steps/s");
  let shownAt = -1;
  let hasBegun = false;
  const onProgress = (progress: TrainingProgress) => {
    const { step, steps, validation } = progress;
    if (!hasBegun && flags.resume) noteResumed(step, flags.out);
    hasBegun = true;
    bar.update(step, steps, progressText(progress));
    if (!validation || validation.step === shownAt || validation.step !== step) return;
    shownAt = validation.step;
    if (!process.stderr.isTTY) note(`step ${step} of ${steps}: ${progressText(progress)}`);
  };
  const { method, out: folder, seed, bf16, wise, template } = flags;
  const { validateEvery, patience, checkpointEvery, resume, autoRotate } = flags;
  const { device, threads, adapters, cacheDir, offline, mirror, mirrorFallback, onNote } = loadOptions(
    flags,
    signal,
  );
  return finetune(flags.model, splits.train, {
    ...recipeChanges(flags),
    ...{ method, folder, seed, bf16, wise, validateEvery, patience, checkpointEvery, resume, autoRotate },
    valid: splits.valid,
    sweep: flags.wiseSweep ? splits.test : undefined,
    prompts: template && { templates: template, source: "--template" },
    limits: imageLimits(flags),
    load: { device, threads, adapters, cacheDir, offline, mirror, mirrorFallback, onNote },
    signal,
    onProgress,
  }).finally(() => bar.stop());
}
