import type { Clip } from "../clip/clip.js";
import type { Dataset } from "../datasets/dataset.js";
import { similarity } from "../embeddings.js";
import { mcnemar } from "../eval/compare.js";
import { argmax, computeMetrics } from "../eval/metrics.js";
import { promptNames, type ImagePrediction, type ZeroShotResult } from "../eval/zero-shot.js";
import { ARTICLE_PROMPTS, type PromptSet } from "../text/prompts.js";
import { softmax } from "../util/softmax.js";
import type { DatasetFeatures } from "./features.js";

/** The times of a result whose features were made before. */
function timesSince(started: number): ZeroShotResult["times"] {
  const total = (performance.now() - started) / 1000;
  return { read: 0, decode: 0, resize: 0, forward: 0, post: total, total };
}

/**
 * The metrics of a classifier on a data set, in the form of a zero-shot result, so that reports and tables show
 * both alike.
 *
 * @param method What the report calls it: "Linear probe".
 * @param scores float64 [rows, classes]: what its predictions are by; in the place of a zero-shot's cosines
 * @param probabilities float64 [rows, classes]
 */
export function scoredResult(
  data: Dataset,
  features: DatasetFeatures,
  method: string,
  scores: Float64Array,
  probabilities: Float64Array,
  seed: number,
): ZeroShotResult {
  const started = performance.now();
  const width = data.classes.length;
  const predictions = features.indices.map((index, row): ImagePrediction => {
    const part = (values: Float64Array) => Array.from(values.subarray(row * width, (row + 1) * width));
    const own = part(probabilities);
    const label = features.labels[row];
    return {
      index,
      name: features.names[row],
      label,
      predicted: argmax(own),
      cosines: part(scores),
      probabilities: own,
    };
  });
  const metrics = computeMetrics(predictions, data.classes, { seed });
  return {
    method,
    prompts: { templates: [], source: method },
    classNames: [...data.classes],
    predictions,
    skipped: features.skipped,
    metrics,
    times: timesSince(started),
  };
}

export interface ZeroShotOfFeatures {
  prompts?: PromptSet;
  /** Names in the prompts, in the order of class ids. Default: the data set's, with spaces for "_". */
  classNames?: readonly string[];
  seed?: number;
  signal?: AbortSignal;
}

/** Zero-shot classification of images whose embeddings are there. */
export async function zeroShotOfFeatures(
  clip: Clip,
  data: Dataset,
  features: DatasetFeatures,
  options: ZeroShotOfFeatures = {},
): Promise<ZeroShotResult> {
  const { seed = 0, signal } = options;
  const prompts = options.prompts ?? data.prompts.at(0) ?? ARTICLE_PROMPTS;
  const classNames = [...(options.classNames ?? promptNames(data.classes))];
  const classes = await clip.encodeClasses(classNames, prompts.templates, { signal });
  const cosines = similarity(features.features, classes);
  const probabilities = new Float64Array(cosines.length);
  for (let at = 0; at < cosines.length; at += classes.rows) {
    probabilities.set(softmax(cosines.subarray(at, at + classes.rows), clip.info.logitScale), at);
  }
  const result = scoredResult(data, features, "Zero-shot", Float64Array.from(cosines), probabilities, seed);
  return { ...result, prompts, classNames };
}

/** Two classifiers on the same images. */
export interface Comparison {
  images: number;
  /** Accuracies, and the second less the first. */
  first: number;
  second: number;
  difference: number;
  /** Images that only one of them has right. */
  onlyFirst: number;
  onlySecond: number;
  /** McNemar's exact test. */
  p: number;
}

/** Compares two results on the images that both have. */
export function compareResults(first: ZeroShotResult, second: ZeroShotResult): Comparison {
  const other = new Map(second.predictions.map((prediction) => [prediction.index, prediction]));
  let [images, hitsOfFirst, hitsOfSecond, onlyFirst, onlySecond] = [0, 0, 0, 0, 0];
  for (const prediction of first.predictions) {
    const there = other.get(prediction.index);
    if (!there) continue;
    const isFirst = prediction.predicted === prediction.label;
    const isSecond = there.predicted === there.label;
    images++;
    if (isFirst) hitsOfFirst++;
    if (isSecond) hitsOfSecond++;
    if (isFirst && !isSecond) onlyFirst++;
    if (isSecond && !isFirst) onlySecond++;
  }
  const { p } = mcnemar(onlyFirst, onlySecond);
  const [a, b] = [hitsOfFirst / images, hitsOfSecond / images];
  return { images, first: a, second: b, difference: b - a, onlyFirst, onlySecond, p };
}
