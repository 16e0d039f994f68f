import { TorchclipError } from "../errors.js";
import { percentile, resamples, type Interval } from "./metrics.js";

/** McNemar's test of two classifiers on the same images. */
export interface McNemar {
  /** Images that only the first classifier got right (b), and only the second (c). */
  onlyFirst: number;
  onlySecond: number;
  /**
   * Two-sided exact p: the probability of a split at least as uneven as b : c, if each of the b + c images
   * were equally likely to fall to either side. 1 where b + c is 0.
   */
  p: number;
}

/**
 * McNemar's exact test (McNemar 1947, with the binomial distribution instead of χ²): p = min(1, 2 · P(X ≤
 * min(b, c))) with X binomial of b + c trials and probability ½. Equal to `statsmodels`'
 * `mcnemar(table, exact=True)`; no mid-p correction, no continuity correction.
 *
 * @param b images that only the first classifier got right
 * @param c images that only the second got right
 * @example
 * mcnemar(4, 12).p; // 0.0768127...
 */
export function mcnemar(b: number, c: number): McNemar {
  for (const [name, count] of Object.entries({ b, c })) {
    if (Number.isSafeInteger(count) && count >= 0) continue;
    throw new TorchclipError("E_ARGUMENT", `${name} must be a whole number of at least 0, not ${count}`, {
      subject: name,
    });
  }
  const p = Math.min(1, 2 * binomialTail(b + c, Math.min(b, c)));
  return { onlyFirst: b, onlySecond: c, p };
}

/** P(X ≤ k) of n trials with probability ½, k ≤ n / 2. */
function binomialTail(n: number, k: number): number {
  let term = binomialHalf(n, k);
  let sum = 0;
  for (let i = k; i >= 0 && term > sum * Number.EPSILON * 1e-3; i--) {
    sum += term;
    term *= i / (n - i + 1);
  }
  return sum;
}

/**
 * C(n, k) / 2^n. The halvings, which are exact, are spread over the product so that it neither overflows nor
 * loses digits; what is smaller than a double can hold is 0.
 */
function binomialHalf(n: number, k: number): number {
  let value = 1;
  let halvings = n;
  for (let i = 1; i <= k; i++) {
    value *= (n - k + i) / i;
    while (value > 1 && halvings > 0) {
      value /= 2;
      halvings--;
    }
  }
  return value * 2 ** -halvings;
}

/** An image that a classifier was asked about. */
export interface Classified {
  /** What tells the image from the others: its name and place. */
  image: string;
  /** Its true class. */
  label: string;
  isRight: boolean;
}

export interface Comparison {
  /** Images that both classifiers were measured on. */
  count: number;
  /** Accuracy of the first and of the second classifier. */
  first: number;
  second: number;
  /** second − first. */
  difference: number;
  /** 95 % interval of the difference: percentile bootstrap over images, both classifiers resampled together. */
  interval: Interval;
  mcnemar: McNemar;
}

/**
 * The difference in accuracy of two classifiers on the same images, which is judged on pairs: images that both
 * get right or both get wrong say nothing about it. `seed` is that of the bootstrap.
 *
 * Throws E_ARGUMENT where the images or their true classes differ, with the first that does, and where there
 * are none.
 *
 * @example
 * const { difference, interval, mcnemar } = compareClassifiers(before, after);
 */
export function compareClassifiers(
  first: readonly Classified[],
  second: readonly Classified[],
  seed = 0,
): Comparison {
  checkSameImages(first, second);
  const differences = Int8Array.from(first, (one, i) => Number(second[i].isRight) - Number(one.isRight));
  const count = differences.length;
  const right = (results: readonly Classified[]) => results.filter(({ isRight }) => isRight).length;
  const b = differences.filter((difference) => difference < 0).length;
  const c = differences.filter((difference) => difference > 0).length;
  return {
    count,
    first: right(first) / count,
    second: right(second) / count,
    difference: (c - b) / count,
    interval: percentile(resampledMeans(differences, seed)),
    mcnemar: mcnemar(b, c),
  };
}

/** Means of resamples with replacement (Efron 1979). */
function resampledMeans(values: Int8Array, seed: number): number[] {
  return Array.from(resamples(values.length, seed), (rows) => {
    let sum = 0;
    for (const row of rows) sum += values[row];
    return sum / rows.length;
  });
}

function checkSameImages(first: readonly Classified[], second: readonly Classified[]): void {
  const refuse = (why: string, index?: number): never => {
    throw new TorchclipError("E_ARGUMENT", `the two results are not of the same images: ${why}`, { index });
  };
  if (first.length === 0 && second.length === 0) refuse("both are of none");
  for (const [i, one] of first.entries()) {
    const other = second.at(i);
    if (!other) refuse(`${one.image} is only in the first`, i);
    else if (one.image !== other.image) refuse(`one has ${one.image} where the other has ${other.image}`, i);
    else if (one.label !== other.label)
      refuse(`${one.image} is of class ${one.label} in the one, of ${other.label} in the other`, i);
  }
  if (second.length > first.length)
    refuse(`${second[first.length].image} is only in the second`, first.length);
}
