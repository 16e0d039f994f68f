import type { FinetuneResult } from "../finetune/finetune.js";
import type { TrainingProgress } from "../finetune/train-steps.js";
import { percent } from "../report/text.js";

/** Loss and accuracy of the last step, and of the last validation. */
export function progressText({ last, validation }: TrainingProgress): string {
  if (!last) return "";
  const step = `loss ${last.loss.toFixed(4)}, ${percent(last.accuracy)}`;
  return validation ? `${step}; validation ${percent(validation.accuracy)}` : step;
}

/** What was trained, and how it went, a line each. */
export function finetuneText(result: FinetuneResult): string[] {
  const { recipe, history, trained, device, best, taken, sweep } = result;
  const { optimizer, learningRate, batchSize, accumulate } = recipe;
  const values = trained.values.toLocaleString("en");
  const last = history.steps.slice(-50);
  const mean = last.reduce((sum, { loss }) => sum + loss, 0) / last.length;
  const first = history.steps[0].loss;
  return [
    `Trained: ${values} values in ${trained.tensors} tensors, ${optimizer}, learning rate ${learningRate}, ` +
      `${history.steps.length} steps of ${batchSize * accumulate} images on ${device}`,
    `Loss:    ${first.toFixed(4)} in the first step, ${mean.toFixed(4)} in the last ${last.length}`,
    ...(best
      ? [`Validation: best ${percent(best.accuracy)} after step ${best.step}; step ${taken} is taken`]
      : []),
    ...sweep.map(
      ({ share, accuracy, loss }) =>
        `  share ${share.toFixed(1)}  ${percent(accuracy)}  loss ${loss.toFixed(4)}`,
    ),
  ];
}
