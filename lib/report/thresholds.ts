import type { ZeroShotResult } from "../eval/zero-shot.js";

/**
 * For each class against all others: how many images have a probability of at least t, and how many of those
 * belong to the class, for thresholds t = 0, 1/steps, … 1.
 */
export interface ThresholdTable {
  steps: number;
  /** One entry a class; arrays of steps + 1 counts. */
  classes: { support: number; found: number[]; right: number[] }[];
}

/** 101 thresholds up to 200 classes, 21 beyond: the page holds all of them. */
export function thresholdTable(result: ZeroShotResult): ThresholdTable {
  const classes = result.metrics.perClass.length;
  const steps = classes <= 200 ? 100 : 20;
  const table: ThresholdTable = { steps, classes: [] };
  for (let c = 0; c < classes; c++) {
    const found = new Array<number>(steps + 1).fill(0);
    const right = new Array<number>(steps + 1).fill(0);
    let support = 0;
    for (const { label, probabilities } of result.predictions) {
      if (label === c) support++;
      // The highest threshold that this probability reaches.
      const reached = Math.min(steps, Math.floor(probabilities[c] * steps + 1e-9));
      found[reached]++;
      if (label === c) right[reached]++;
    }
    for (let t = steps - 1; t >= 0; t--) {
      found[t] += found[t + 1];
      right[t] += right[t + 1];
    }
    table.classes.push({ support, found, right });
  }
  return table;
}
