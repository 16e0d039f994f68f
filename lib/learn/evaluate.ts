import type { Clip } from "../clip/clip.js";
import type { Dataset } from "../datasets/dataset.js";
import { similarity } from "../embeddings.js";
import { mcnemar, type McNemar } from "../eval/compare.js";
import { argmax, computeMetrics } from "../eval/metrics.js";
import { promptNames, type ImagePrediction, type ZeroShotResult } from "../eval/zero-shot.js";
import { ARTICLE_PROMPTS, type PromptSet } from "../text/prompts.js";
import { softmaxRows } from "../util/softmax.js";
import type { DatasetFeatures } from "./features.js";
import type { LinearProbe } from "./solver/linear-probe.js";

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

/** The metrics of a probe on a data set. */
export async function probeResult(
  data: Dataset,
  features: DatasetFeatures,
  probe: LinearProbe,
  seed: number,
): Promise<ZeroShotResult> {
  const logits = await probe.logits(features.features);
  const probabilities = softmaxRows(logits, probe.classes.length);
  return scoredResult(data, features, "Linear probe", logits, probabilities, seed);
}

interface ZeroShotOfFeatures {
  prompts?: PromptSet;
  /** What stands in the prompts for each class; default: the classes of the data set. */
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
  const probabilities = softmaxRows(cosines, classes.rows, clip.info.logitScale);
  const result = scoredResult(data, features, "Zero-shot", Float64Array.from(cosines), probabilities, seed);
  return { ...result, prompts, classNames };
}

/** Two classifiers on the same images, with McNemar's exact test. */
export interface ComparedResults extends McNemar {
  images: number;
  /** Accuracies, and the second less the first. */
  first: number;
  second: number;
  difference: number;
}

/** Compares two results of the same features. */
export function compareResults(first: ZeroShotResult, second: ZeroShotResult): ComparedResults {
  const hitsOf = ({ predictions }: ZeroShotResult) =>
    predictions.map(({ predicted, label }) => predicted === label);
  const [a, b] = [hitsOf(first), hitsOf(second)];
  const onlyFirst = a.filter((hit, i) => hit && !b[i]).length;
  const onlySecond = b.filter((hit, i) => hit && !a[i]).length;
  const [ofFirst, ofSecond] = [first.metrics.accuracy, second.metrics.accuracy];
  return {
    images: a.length,
    first: ofFirst,
    second: ofSecond,
    difference: ofSecond - ofFirst,
    ...mcnemar(onlyFirst, onlySecond),
  };
}
