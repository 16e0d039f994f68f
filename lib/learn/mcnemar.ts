/**
 * McNemar's exact test of two classifiers on the same images (McNemar 1947): `b` images that only the first
 * has right, `c` that only the second has. `p` is the two-sided probability of a division at least as uneven
 * if both were equally good, by the binomial distribution.
 */
export function mcnemar(b: number, c: number): { p: number } {
  const n = b + c;
  let term = -n * Math.LN2; // log of the probability of i successes, i = 0
  let sum = Math.exp(term);
  for (let i = 1; i <= Math.min(b, c); i++) {
    term += Math.log((n - i + 1) / i);
    sum += Math.exp(term);
  }
  return { p: Math.min(1, 2 * sum) };
}
