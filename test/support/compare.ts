import assert from "node:assert/strict";

/** Largest difference of two lists; infinite where their lengths differ. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] - b[i]);
    if (d > most || Number.isNaN(d)) most = d;
  }
  return most;
}

/** Fails where two lists differ by more than `tolerance` anywhere. */
export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what = "",
): void {
  const difference = largestDifference(actual, expected);
  assert.ok(difference <= tolerance, `${what} differs by ${difference}, more than ${tolerance}`.trimStart());
}

/** Least cosine between the rows of two sets of embeddings. */
export function leastCosine(a: ArrayLike<number>, b: ArrayLike<number>, dim: number): number {
  assert.equal(a.length, b.length, "the embeddings have the same number of values");
  let least = 1;
  for (let start = 0; start < a.length; start += dim) {
    let [product, ofA, ofB] = [0, 0, 0];
    for (let i = start; i < start + dim; i++) {
      product += a[i] * b[i];
      ofA += a[i] * a[i];
      ofB += b[i] * b[i];
    }
    least = Math.min(least, product / Math.sqrt(ofA * ofB));
  }
  return least;
}

/** Fails where the cosine between two rows is below `least`. */
export function assertCosine(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  dim: number,
  least: number,
  what = "",
): void {
  const cosine = leastCosine(actual, expected, dim);
  assert.ok(cosine >= least, `${what} cosine ${cosine}, less than ${least}`.trimStart());
}

/** Fails where two numbers differ by `tolerance` or more. */
export function assertNear(actual: number, expected: number, tolerance: number, what = ""): void {
  const message = `${what} ${actual} is not within ${tolerance} of ${expected}`.trimStart();
  assert.ok(Math.abs(actual - expected) < tolerance, message);
}
