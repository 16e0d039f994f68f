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

export function computeMetrics(
  items: readonly Scored[],
  classes: readonly string[],
  options: { topK?: number[]; seed?: number } = {},
): Metrics {
  const n = items.length;
  const truth = items.map((i) => i.label);
  const predicted = items.map((i) => argmax(i.probabilities));
  const confusion = confusionMatrix(truth, predicted, classes.length);
  const perClass = classes.map((name, c) => classMetrics(name, c, confusion));
  const correct = truth.reduce((s, t, i) => s + (t === predicted[i] ? 1 : 0), 0);
  const random = seededRandom(options.seed ?? 0);
  const resamples = n > 0 ? BOOTSTRAP_ROUNDS : 0;
  const f1s: number[] = [];
  const aucs: number[] = [];
  const aps: number[] = [];
  const binary = classes.length === 2;
  const scores = binary ? items.map((i) => i.probabilities[1]) : [];
  const rows = new Int32Array(n);
  for (let round = 0; round < resamples; round++) {
    for (let i = 0; i < n; i++) rows[i] = below(random, n);
    const t = Array.from(rows, (r) => truth[r]);
    f1s.push(
      macroF1(
        confusionMatrix(
          t,
          Array.from(rows, (r) => predicted[r]),
          classes.length,
        ),
      ),
    );
    if (binary) {
      const s = Array.from(rows, (r) => scores[r]);
      const auc = rocAuc(t, s);
      if (!Number.isNaN(auc)) {
        aucs.push(auc);
        aps.push(averagePrecision(t, s));
      }
    }
  }
  const present = perClass.filter((c) => c.support > 0);
  // As scikit-learn: macro means go over the classes that occur among the true or the predicted labels.
  const occurring = perClass.filter((c) => c.support + c.predicted > 0);
  return {
    count: n,
    accuracy: ratio(correct, n),
    accuracyInterval: wilson(correct, n),
    topK: (options.topK ?? [1, 5])
      .filter((k) => k <= classes.length)
      .map((k) => ({ k, accuracy: topKAccuracy(items, k) })),
    macro: {
      precision: mean(occurring.map((c) => c.precision)),
      recall: mean(occurring.map((c) => c.recall)),
      f1: mean(occurring.map((c) => c.f1)),
      f1Interval: percentile(f1s),
    },
    meanPerClassRecall: mean(present.map((c) => c.recall)),
    perClass,
    confusion,
    ...(binary && present.length === 2
      ? {
          binary: {
            rocAuc: rocAuc(truth, scores),
            rocAucInterval: percentile(aucs),
            averagePrecision: averagePrecision(truth, scores),
            averagePrecisionInterval: percentile(aps),
          },
        }
      : {}),
    calibration: calibration(items, predicted),
  };
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
  for (let i = 0; i < truth.length; i++) m[truth[i]][predicted[i]]++;
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

function macroF1(confusion: number[][]): number {
  const f1s: number[] = [];
  for (let c = 0; c < confusion.length; c++) {
    const support = confusion[c].reduce((a, b) => a + b, 0);
    const predicted = confusion.reduce((a, row) => a + row[c], 0);
    if (support + predicted > 0) f1s.push((2 * confusion[c][c]) / (support + predicted));
  }
  return mean(f1s);
}

/** A hit where fewer than k classes score higher, or equal with a lower index. */
function topKAccuracy(items: readonly Scored[], k: number): number {
  let hits = 0;
  for (const { label, probabilities: p } of items) {
    let ahead = 0;
    for (let c = 0; c < p.length; c++) if (p[c] > p[label] || (p[c] === p[label] && c < label)) ahead++;
    if (ahead < k) hits++;
  }
  return ratio(hits, items.length);
}

/** Points of the ROC curve, thresholds falling, equal scores together; starts at (0, 0). */
export function rocCurve(
  truth: readonly number[],
  scores: readonly number[],
): { fpr: number; tpr: number }[] {
  const steps = thresholdSteps(truth, scores);
  const { hits: positives, misses: negatives } = steps[steps.length - 1] ?? { hits: 0, misses: 0 };
  return [{ fpr: 0, tpr: 0 }, ...steps.map((s) => ({ fpr: s.misses / negatives, tpr: s.hits / positives }))];
}

function thresholdSteps(
  truth: readonly number[],
  scores: readonly number[],
): { hits: number; misses: number }[] {
  const order = truth.map((_, i) => i).sort((a, b) => scores[b] - scores[a]);
  const steps: { hits: number; misses: number }[] = [];
  let hits = 0;
  let misses = 0;
  order.forEach((i, at) => {
    if (truth[i] === 1) hits++;
    else misses++;
    if (at + 1 === order.length || scores[order[at + 1]] !== scores[i]) steps.push({ hits, misses });
  });
  return steps;
}

/** Area under the ROC curve by trapezoids; NaN where only one class occurs. */
export function rocAuc(truth: readonly number[], scores: readonly number[]): number {
  const steps = thresholdSteps(truth, scores);
  const last = steps[steps.length - 1];
  if (!last || last.hits === 0 || last.misses === 0) return NaN;
  let area = 0;
  let before = { hits: 0, misses: 0 };
  for (const s of steps) {
    area += ((s.misses - before.misses) * (s.hits + before.hits)) / 2;
    before = s;
  }
  return area / (last.hits * last.misses);
}

/** Sum of precision × growth of recall over the thresholds (no interpolation). */
export function averagePrecision(truth: readonly number[], scores: readonly number[]): number {
  const steps = thresholdSteps(truth, scores);
  const positives = steps[steps.length - 1]?.hits ?? 0;
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
function percentile(values: number[]): Interval {
  const sorted = values.sort((a, b) => a - b);
  const at = (q: number) =>
    sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(q * (sorted.length - 1))))] ?? 0;
  return { low: at(0.025), high: at(0.975), method: "bootstrap" };
}

function calibration(items: readonly Scored[], predicted: readonly number[]): Metrics["calibration"] {
  const BINS = 15;
  const bins = Array.from({ length: BINS }, (_, b) => ({
    low: b / BINS,
    high: (b + 1) / BINS,
    count: 0,
    confidence: 0,
    accuracy: 0,
  }));
  items.forEach(({ label, probabilities }, i) => {
    const p = probabilities[predicted[i]];
    const bin = bins[Math.min(BINS - 1, Math.max(0, Math.ceil(p * BINS) - 1))];
    bin.count++;
    bin.confidence += p;
    bin.accuracy += label === predicted[i] ? 1 : 0;
  });
  let ece = 0;
  for (const bin of bins) {
    if (bin.count === 0) continue;
    ece += Math.abs(bin.accuracy - bin.confidence) / items.length;
    bin.confidence /= bin.count;
    bin.accuracy /= bin.count;
  }
  return { ece, bins };
}
