import type { Prediction } from "../clip/classifier.js";
import type { Clip } from "../clip/clip.js";
import type { StageTimes } from "../clip/options.js";
import type { Dataset } from "../datasets/dataset.js";
import type { ClassMetrics, Interval, Metrics } from "../eval/metrics.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";

/** A share with two digits: "12.34%". */
export const percent = (x: number) => `${(100 * x).toFixed(2)}%`;
const interval = ({ low, high, method }: Interval) =>
  `95 % interval ${percent(low)} to ${percent(high)}, ${method === "wilson" ? "Wilson" : "bootstrap"}`;

/** A class of one image, as text and report show it. */
type RankedClass = Pick<Prediction, "label" | "probability">;

/** Classes by falling probability. */
export function ranked(
  classNames: readonly string[],
  probabilities: readonly number[],
  k: number,
): RankedClass[] {
  return classNames
    .map((label, i) => ({ label, probability: probabilities[i] }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, k);
}

/** The ranked classes of one image, as the article prints them. */
export function topPredictions(predictions: readonly RankedClass[]): string {
  const width = Math.max(16, ...predictions.map((p) => p.label.length));
  return [
    "Top predictions:",
    "",
    ...predictions.map((p) => `${p.label.padStart(width)}: ${percent(p.probability)}`),
  ].join("\n");
}

export function modelLines({ info }: Clip): string {
  const { config, device, deviceNote, precision } = info;
  const model = `${config.name} (${config.architecture}, ${config.image.imageSize} px)`;
  const reason = deviceNote ? ` (no CUDA: ${deviceNote})` : "";
  return `Model: ${model} on ${device}, ${precision}${reason}`;
}

/** Classes whose images of a split are counted one by one. */
const COUNTED_CLASSES = 4;

export function datasetLines(data: Dataset): string {
  const { name, split, length, classes } = data;
  const counts = (byClass: readonly number[]) =>
    classes.length <= COUNTED_CLASSES ? ` = ${byClass.map((n, c) => `${n} ${classes[c]}`).join(" + ")}` : "";
  return [
    `Data set: ${name}, split ${split}, ${length} images, ${classes.length} classes`,
    ...data.splits.map(
      ({ split: one, total, byClass }) => `  ${one.padEnd(6)} ${String(total).padStart(6)}${counts(byClass)}`,
    ),
  ].join("\n");
}

/** Classes that the table of classes shows. */
const MOST_CLASSES = 12;

/** Accuracy, precision and recall with what each means. */
export function metricsText({ metrics, skipped }: ZeroShotResult, classes: readonly string[]): string {
  const { ece } = metrics.calibration;
  return [
    ...averageLines(metrics),
    ...topKLines(metrics, classes.length),
    ...(metrics.binary ? binaryLines(metrics.binary, classes) : []),
    `Calibration error: ${percent(ece)}   mean gap between the probability shown ` +
      "and how often it was right (15 bins)",
    ...(classes.length <= MOST_CLASSES ? classLines(metrics.perClass) : []),
    ...skippedLines(skipped),
  ].join("\n");
}

function averageLines({ accuracy, accuracyInterval, count, macro }: Metrics): string[] {
  const { precision, recall, f1, f1Interval } = macro;
  return [
    `Accuracy:  ${percent(accuracy)}  of ${count} images got their true class ` +
      `(${interval(accuracyInterval)})`,
    `Precision: ${percent(precision)}  of the images given a class belong to it, mean over classes`,
    `Recall:    ${percent(recall)}  of a class's images were found, mean over classes`,
    `F1:        ${percent(f1)}  harmonic mean of precision and recall, mean over classes ` +
      `(${interval(f1Interval)})`,
  ];
}

function topKLines({ topK }: Metrics, classes: number): string[] {
  const line = (k: number, accuracy: number) =>
    `Top-${k}:     ${percent(accuracy)}  of the images have their true class among the ${k} most likely`;
  return topK.filter(({ k }) => k > 1 && k < classes).map(({ k, accuracy }) => line(k, accuracy));
}

function binaryLines(
  binary: NonNullable<Metrics["binary"]>,
  [negative, positive]: readonly string[],
): string[] {
  const { rocAuc, rocAucInterval, averagePrecision, averagePrecisionInterval } = binary;
  const range = ({ low, high }: Interval) => `(${low.toFixed(4)} to ${high.toFixed(4)}, bootstrap)`;
  return [
    `ROC AUC:   ${rocAuc.toFixed(4)}   chance that a random "${positive}" image scores above ` +
      `a random "${negative}" one ${range(rocAucInterval)}`,
    `Average precision: ${averagePrecision.toFixed(4)}   precision averaged over all thresholds ` +
      `for "${positive}" ${range(averagePrecisionInterval)}`,
  ];
}

function classLines(classes: readonly ClassMetrics[]): string[] {
  const width = Math.max(5, ...classes.map(({ name }) => name.length));
  const rows = classes.map(({ name, precision, recall, f1, support }) =>
    [
      name.padEnd(width),
      percent(precision).padStart(9),
      percent(recall).padStart(6),
      percent(f1).padStart(6),
      String(support).padStart(6),
    ].join("  "),
  );
  return ["", `${"class".padEnd(width)}  precision  recall      F1  images`, ...rows];
}

const MOST_SKIPPED = 10;

/** What was skipped, the first ones by name; `rest` follows the count. */
export function skippedLines(skipped: readonly { name: string; message: string }[], rest = ""): string[] {
  if (skipped.length === 0) return [];
  const shown = skipped.slice(0, MOST_SKIPPED).map(({ name, message }) => `  ${name}: ${message}`);
  const more = skipped.length - shown.length;
  return [
    "",
    `Skipped: ${skipped.length} images that could not be read${rest}`,
    ...shown,
    ...(more > 0 ? [`  … and ${more} more (results.json has all)`] : []),
  ];
}

/** The stage that took longest. */
export function slowestStage(times: object): string {
  const stages = Object.entries(times) as [string, number][];
  const [slowest] = stages.reduce((longest, stage) => (stage[1] > longest[1] ? stage : longest));
  return slowest;
}

/** The stage times with the slowest stage named. */
export function timesText({ total, ...stages }: StageTimes & { total: number }): string {
  const seconds = Object.entries<number>(stages).map(([stage, time]) => `${stage} ${time.toFixed(1)}`);
  return (
    `Time: ${total.toFixed(1)} s (${seconds.join(", ")}; read, decode and resize overlap with forward). ` +
    `Slowest: ${slowestStage(stages)}.`
  );
}
