import type { LabelledFeatures } from "../../lib/learn/labelled.js";
import { noise } from "../support/noise.js";

export interface ProblemSize {
  seed: number;
  rows: number;
  dim: number;
  classes: number;
  /** More rows of the last class than of the others. */
  uneven?: boolean;
}

/** In [-1, 1). */
const uniform = (seed: number, i: number) => noise(seed, i) / 2 ** 31 - 1;

/** Features around a centre for each class; scripts/learn/probe_goldens.py makes the same. */
export function problem({ seed, rows, dim, classes, uneven }: ProblemSize): LabelledFeatures {
  const labels = Int32Array.from({ length: rows }, (_, row) =>
    uneven ? Math.min(row % (classes * 2), classes - 1) : row % classes,
  );
  const data = Float32Array.from({ length: rows * dim }, (_, i) => {
    const feature = i % dim;
    const centre = uniform(seed + 1, labels[(i - feature) / dim] * dim + feature);
    return 0.3 + 0.4 * centre + uniform(seed + 2, i);
  });
  return { features: { data, rows, dim }, labels };
}
