import { below, seededRandom } from "../util/random.js";

/**
 * Metrics of a classification, as scikit-learn defines them (1.x; names in parentheses). A ratio whose
 * denominator is zero (a class never predicted, or without images) is 0, as with zero_division=0.
 */
export interface Interval {
  low: number;
  high: number;
  method: "wilson" | "bootstrap";
}

export interface ClassMetrics {
  name: string;
  support: number;
  predicted: number;
  precision: number;
  recall: number;
  f1: number;
  precisionInterval: Interval;
  recallInterval: Interval;
}

export interface Metrics {
  count: number;
  /** accuracy_score */
  accuracy: number;
  accuracyInterval: Interval;
  /** top_k_accuracy_score for each k. */
  topK: { k: number; accuracy: number }[];
  /** precision_score, recall_score, f1_score with average="macro". */
  macro: { precision: number; recall: number; f1: number; f1Interval: Interval };
  /** Mean of the recalls of the classes that have images (balanced_accuracy_score). */
  meanPerClassRecall: number;
  perClass: ClassMetrics[];
  /** confusion_matrix: rows true classes, columns predicted. */
  confusion: number[][];
  /** Two classes only; the second class is the positive one. roc_auc_score, average_precision_score. */
  binary?: {
    rocAuc: number;
    rocAucInterval: Interval;
    averagePrecision: number;
    averagePrecisionInterval: Interval;
  };
  /**
   * Expected calibration error (Naeini et al. 2015; Guo et al. 2017): 15 bins of equal width over the top
   * probability.
   */
  calibration: {
    ece: number;
    bins: { low: number; high: number; count: number; confidence: number; accuracy: number }[];
  };
}

export interface Scored {
  label: number;
  /** Probability of each class, summing to 1. */
  probabilities: ArrayLike<number>;
}

const Z = 1.959963984540054; // 97.5 % quantile of the normal distribution
const BOOTSTRAP_ROUNDS = 1000;

/** Highest probability; the lowest index among equals, as numpy.argmax. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** All metrics of a classification; `seed` is that of the bootstrap intervals. */
export function computeMetrics(
  items: readonly Scored[],
  classes: readonly string[],
  options: { topK?: number[]; seed?: number } = {},
): Metrics {
  const { topK = [1, 5], seed = 0 } = options;
  const truth = items.map((item) => item.label);
  const predicted = items.map((item) => argmax(item.probabilities));
  const scores = classes.length === 2 ? items.map((item) => item.probabilities[1]) : undefined;
  const confusion = confusionMatrix(truth, predicted, classes.length);
  const perClass = classes.map((name, c) => classMetrics(name, c, confusion));
  const correct = truth.reduce((count, label, i) => count + (label === predicted[i] ? 1 : 0), 0);
  const resampled = bootstrap({ truth, predicted, scores }, classes.length, seed);
  const present = perClass.filter((c) => c.support > 0);
  // As scikit-learn: macro means go over the classes that occur among the true or the predicted labels.
  const occurring = perClass.filter((c) => c.support + c.predicted > 0);
  return {
    count: items.length,
    accuracy: ratio(correct, items.length),
    accuracyInterval: wilson(correct, items.length),
    topK: topK.filter((k) => k <= classes.length).map((k) => ({ k, accuracy: topKAccuracy(items, k) })),
    macro: {
      precision: mean(occurring.map((c) => c.precision)),
      recall: mean(occurring.map((c) => c.recall)),
      f1: mean(occurring.map((c) => c.f1)),
      f1Interval: percentile(resampled.f1),
    },
    meanPerClassRecall: mean(present.map((c) => c.recall)),
    perClass,
    confusion,
    ...(scores && present.length === 2 ? { binary: binaryMetrics(truth, scores, resampled) } : {}),
    calibration: calibration(items, predicted),
  };
}

function binaryMetrics(
  truth: readonly number[],
  scores: readonly number[],
  resampled: Resampled,
): NonNullable<Metrics["binary"]> {
  return {
    rocAuc: rocAuc(truth, scores),
    rocAucInterval: percentile(resampled.rocAuc),
    averagePrecision: averagePrecision(truth, scores),
    averagePrecisionInterval: percentile(resampled.averagePrecision),
  };
}

/** What is resampled, an entry for each image. */
interface Outcomes {
  truth: readonly number[];
  predicted: readonly number[];
  /** Of the positive class, where there are two. */
  scores: readonly number[] | undefined;
}

/** A metric of each resample. Where one lacks a class, it has no area under the curve and no precision. */
interface Resampled {
  f1: number[];
  rocAuc: number[];
  averagePrecision: number[];
}

/** The metrics of resamples of the images with replacement (Efron 1979). */
function bootstrap({ truth, predicted, scores }: Outcomes, classes: number, seed: number): Resampled {
  const resampled: Resampled = { f1: [], rocAuc: [], averagePrecision: [] };
  if (truth.length === 0) return resampled;
  for (const rows of resamples(truth.length, seed)) {
    const pick = (values: readonly number[]) => Array.from(rows, (row) => values[row]);
    const labels = pick(truth);
    resampled.f1.push(f1OfConfusion(confusionMatrix(labels, pick(predicted), classes), "occurring"));
    if (!scores) continue;
    const picked = pick(scores);
    const auc = rocAuc(labels, picked);
    if (Number.isNaN(auc)) continue;
    resampled.rocAuc.push(auc);
    resampled.averagePrecision.push(averagePrecision(labels, picked));
  }
  return resampled;
}

/** The rows of each resample of `count` rows with replacement (Efron 1979); always in the same array. */
export function* resamples(count: number, seed: number): Generator<Int32Array> {
  const random = seededRandom(seed);
  const rows = new Int32Array(count);
  for (let round = 0; round < BOOTSTRAP_ROUNDS; round++) {
    for (let i = 0; i < count; i++) rows[i] = below(random, count);
    yield rows;
  }
}

function ratio(a: number, b: number): number {
  return b === 0 ? 0 : a / b;
}

function mean(values: readonly number[]): number {
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : 0;
}

function confusionMatrix(
  truth: readonly number[],
  predicted: readonly number[],
  classes: number,
): number[][] {
  const m = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (const [i, label] of truth.entries()) m[label][predicted[i]]++;
  return m;
}

function classMetrics(name: string, c: number, confusion: number[][]): ClassMetrics {
  const hits = confusion[c][c];
  const support = confusion[c].reduce((a, b) => a + b, 0);
  const predicted = confusion.reduce((a, row) => a + row[c], 0);
  return {
    name,
    support,
    predicted,
    precision: ratio(hits, predicted),
    recall: ratio(hits, support),
    f1: ratio(2 * hits, support + predicted),
    precisionInterval: wilson(hits, predicted),
    recallInterval: wilson(hits, support),
  };
}

/**
 * Which classes a macro F1 goes over. "occurring": those among the true or the predicted labels (scikit-learn's
 * default). "true": those among the true labels (WILDS; DataComp's main score of iWildCam, `F1-macro_all`). "all":
 * all of the set; one that occurs nowhere counts 0 (scikit-learn with `labels=range(classes)`).
 */
export type MacroOver = "occurring" | "true" | "all";

/**
 * Mean of the F1 of classes (f1_score with average="macro", zero_division=0).
 *
 * @param truth the class id of each image
 * @param predicted the predicted one
 * @param classes how many classes there are
 * @example
 * macroF1([0, 0, 2], [0, 1, 2], 4, "all"); // (2/3 + 0 + 1 + 0) / 4
 */
export function macroF1(
  truth: readonly number[],
  predicted: readonly number[],
  classes: number,
  over: MacroOver = "occurring",
): number {
  return f1OfConfusion(confusionMatrix(truth, predicted, classes), over);
}

function f1OfConfusion(confusion: number[][], over: MacroOver): number {
  const f1s: number[] = [];
  for (const [c, row] of confusion.entries()) {
    const support = row.reduce((a, b) => a + b, 0);
    const predicted = confusion.reduce((a, other) => a + other[c], 0);
    const weight = { occurring: support + predicted, true: support, all: 1 }[over];
    if (weight > 0) f1s.push(ratio(2 * row[c], support + predicted));
  }
  return mean(f1s);
}

/** A hit where fewer than k classes score higher, or equal with a lower index. */
function topKAccuracy(items: readonly Scored[], k: number): number {
  const hits = items.filter((item) => rankOf(item) < k).length;
  return ratio(hits, items.length);
}

/** How many classes come before the true one. */
function rankOf({ label, probabilities }: Scored): number {
  const own = probabilities[label];
  let ahead = 0;
  for (let c = 0; c < probabilities.length; c++) {
    const isAhead = probabilities[c] > own || (probabilities[c] === own && c < label);
    if (isAhead) ahead++;
  }
  return ahead;
}

/** Points of the ROC curve, thresholds falling, equal scores together; starts at (0, 0). */
export function rocCurve(
  truth: readonly number[],
  scores: readonly number[],
): { fpr: number; tpr: number }[] {
  const steps = thresholdSteps(truth, scores);
  const { hits: positives, misses: negatives } = totals(steps);
  return [{ fpr: 0, tpr: 0 }, ...steps.map((s) => ({ fpr: s.misses / negatives, tpr: s.hits / positives }))];
}

/** How many images of the positive class, and of the other, score at least as high as a threshold. */
interface Step {
  hits: number;
  misses: number;
}

/** The steps of falling thresholds; images of equal scores reach one together. */
export function thresholdSteps(truth: readonly number[], scores: readonly number[]): Step[] {
  const order = truth.map((_, i) => i).sort((a, b) => scores[b] - scores[a]);
  const steps: Step[] = [];
  let hits = 0;
  let misses = 0;
  order.forEach((i, place) => {
    if (truth[i] === 1) hits++;
    else misses++;
    const isLast = place + 1 === order.length;
    if (isLast || scores[order[place + 1]] !== scores[i]) steps.push({ hits, misses });
  });
  return steps;
}

/** Of the lowest threshold, which all images reach. */
function totals(steps: readonly Step[]): Step {
  return steps.at(-1) ?? { hits: 0, misses: 0 };
}

/** Area under the ROC curve by trapezoids; NaN where only one class occurs. */
export function rocAuc(truth: readonly number[], scores: readonly number[]): number {
  const steps = thresholdSteps(truth, scores);
  const { hits, misses } = totals(steps);
  if (hits === 0 || misses === 0) return NaN;
  let area = 0;
  let before: Step = { hits: 0, misses: 0 };
  for (const step of steps) {
    area += ((step.misses - before.misses) * (step.hits + before.hits)) / 2;
    before = step;
  }
  return area / (hits * misses);
}

/** Sum of precision × growth of recall over the thresholds (no interpolation). */
export function averagePrecision(truth: readonly number[], scores: readonly number[]): number {
  const steps = thresholdSteps(truth, scores);
  const positives = totals(steps).hits;
  let sum = 0;
  let before = 0;
  for (const { hits, misses } of steps) {
    sum += ((hits - before) / positives) * (hits / (hits + misses));
    before = hits;
  }
  return sum;
}

/** Wilson's score interval for a proportion, 95 % (Wilson 1927). */
export function wilson(hits: number, n: number): Interval {
  if (n === 0) return { low: 0, high: 1, method: "wilson" };
  const p = hits / n;
  const d = 1 + Z ** 2 / n;
  const centre = (p + Z ** 2 / (2 * n)) / d;
  const half = (Z / d) * Math.sqrt((p * (1 - p)) / n + Z ** 2 / (4 * n * n));
  return { low: Math.max(0, centre - half), high: Math.min(1, centre + half), method: "wilson" };
}

/** Percentile bootstrap, 95 %, over images. */
export function percentile(values: readonly number[]): Interval {
  const sorted = values.toSorted((a, b) => a - b);
  const quantile = (q: number) => sorted.at(Math.round(q * Math.max(0, sorted.length - 1))) ?? 0;
  return { low: quantile(0.025), high: quantile(0.975), method: "bootstrap" };
}

const BINS = 15;

function calibration(items: readonly Scored[], predicted: readonly number[]): Metrics["calibration"] {
  const bins = Array.from({ length: BINS }, (_, b) => ({
    low: b / BINS,
    high: (b + 1) / BINS,
    count: 0,
    confidence: 0,
    accuracy: 0,
  }));
  for (const [i, { label, probabilities }] of items.entries()) {
    const confidence = probabilities[predicted[i]];
    const bin = bins[Math.min(BINS - 1, Math.max(0, Math.ceil(confidence * BINS) - 1))];
    bin.count++;
    bin.confidence += confidence;
    bin.accuracy += label === predicted[i] ? 1 : 0;
  }
  let ece = 0;
  for (const bin of bins) {
    if (bin.count === 0) continue;
    ece += Math.abs(bin.accuracy - bin.confidence) / items.length;
    bin.confidence /= bin.count;
    bin.accuracy /= bin.count;
  }
  return { ece, bins };
}
