import type { Prediction } from "../clip/classifier.js";
import type { Clip } from "../clip/clip.js";
import type { Dataset } from "../datasets/dataset.js";
import type { Interval } from "../eval/metrics.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";

const percent = (x: number) => `${(100 * x).toFixed(2)}%`;
const interval = (i: Interval) =>
  `95 % interval ${percent(i.low)} to ${percent(i.high)}, ${i.method === "wilson" ? "Wilson" : "bootstrap"}`;

/** The ranked classes of one image, as the article prints them. */
export function topPredictions(predictions: readonly Pick<Prediction, "label" | "probability">[]): string {
  const width = Math.max(16, ...predictions.map((p) => p.label.length));
  return [
    "Top predictions:",
    "",
    ...predictions.map((p) => `${p.label.padStart(width)}: ${percent(p.probability)}`),
  ].join("\n");
}

export function modelLines(clip: Clip): string {
  const { config, device, deviceNote, precision } = clip.info;
  return `Model: ${config.name} (${config.architecture}, ${config.image.imageSize} px) on ${device}, ${precision}${deviceNote ? ` (no CUDA: ${deviceNote})` : ""}`;
}

export function datasetLines(data: Dataset): string {
  const splits = data.splits.map(
    (s) =>
      `  ${s.split.padEnd(6)} ${String(s.total).padStart(6)}${data.classes.length <= 4 ? ` = ${s.byClass.map((n, c) => `${n} ${data.classes[c]}`).join(" + ")}` : ""}`,
  );
  return [
    `Data set: ${data.name}, split ${data.split}, ${data.length} images, ${data.classes.length} classes`,
    ...splits,
  ].join("\n");
}

/** Accuracy, precision and recall with what each means. */
export function metricsText(result: ZeroShotResult, classes: readonly string[]): string {
  const { metrics: m, skipped } = result;
  const lines = [
    `Accuracy:  ${percent(m.accuracy)}  of ${m.count} images got their true class (${interval(m.accuracyInterval)})`,
    `Precision: ${percent(m.macro.precision)}  of the images given a class belong to it, mean over classes`,
    `Recall:    ${percent(m.macro.recall)}  of a class's images were found, mean over classes`,
    `F1:        ${percent(m.macro.f1)}  harmonic mean of precision and recall, mean over classes (${interval(m.macro.f1Interval)})`,
  ];
  for (const { k, accuracy } of m.topK)
    if (k > 1 && k < classes.length)
      lines.push(
        `Top-${k}:     ${percent(accuracy)}  of the images have their true class among the ${k} most likely`,
      );
  if (m.binary) {
    const { rocAuc, rocAucInterval, averagePrecision, averagePrecisionInterval } = m.binary;
    const range = ({ low, high }: Interval) => `(${low.toFixed(4)} to ${high.toFixed(4)}, bootstrap)`;
    lines.push(
      `ROC AUC:   ${rocAuc.toFixed(4)}   chance that a random "${classes[1]}" image scores above ` +
        `a random "${classes[0]}" one ${range(rocAucInterval)}`,
      `Average precision: ${averagePrecision.toFixed(4)}   precision averaged over all thresholds ` +
        `for "${classes[1]}" ${range(averagePrecisionInterval)}`,
    );
  }
  lines.push(
    `Calibration error: ${percent(m.calibration.ece)}   mean gap between the probability shown ` +
      `and how often it was right (15 bins)`,
  );
  if (classes.length <= 12) {
    const width = Math.max(5, ...classes.map((c) => c.length));
    lines.push("", `${"class".padEnd(width)}  precision  recall      F1  images`);
    for (const c of m.perClass) {
      lines.push(
        [
          c.name.padEnd(width),
          percent(c.precision).padStart(9),
          percent(c.recall).padStart(6),
          percent(c.f1).padStart(6),
          String(c.support).padStart(6),
        ].join("  "),
      );
    }
  }
  if (skipped.length) {
    lines.push("", `Skipped: ${skipped.length} images that could not be read`);
    for (const s of skipped.slice(0, 10)) lines.push(`  ${s.name}: ${s.message}`);
    if (skipped.length > 10) lines.push(`  … and ${skipped.length - 10} more (results.json has all)`);
  }
  return lines.join("\n");
}

/** The stage that took longest. */
export function slowestStage(times: object): string {
  return (Object.entries(times) as [string, number][]).reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

/** The stage times with the slowest stage named. */
export function timesText(times: ZeroShotResult["times"]): string {
  const { total, ...stages } = times;
  const shown = Object.entries(stages).map(([s, t]) => `${s} ${t.toFixed(1)}`);
  return `Time: ${total.toFixed(1)} s (${shown.join(", ")}; read, decode and resize overlap with forward). Slowest: ${slowestStage(stages)}.`;
}
