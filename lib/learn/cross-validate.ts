import { scoresOf } from "./lambda-search.js";
import { fitLinearProbe, type FitOptions } from "./solver/fit.js";
import { pickRows, rowsByClass, type LabelledFeatures } from "./labelled.js";

/** λ from 1e-3 to 1e3, two a decade. */
const LAMBDAS = Array.from({ length: 13 }, (_, i) => 10 ** (i / 2 - 3));
const MOST_FOLDS = 5;
const TOLERANCE = 1e-6;

export interface CrossValidation {
  lambda: number;
  /** Share of the rows that are right when they are held out. */
  accuracy: number;
  /** Mean of -log probability of the true class of a row that is held out. */
  loss: number;
  folds: number;
}

/**
 * The λ whose probes give held-out rows the highest probability, by cross-validation with up to five folds that
 * are balanced over the classes. For few images, where accuracies are often equal, the probability tells more.
 * Undefined where a class has one row: nothing can be held out then.
 */
export async function chooseLambda(
  data: LabelledFeatures,
  options: Pick<FitOptions, "threads" | "signal"> & { classes: readonly string[] },
): Promise<CrossValidation | undefined> {
  const classes = rowsByClass(data.labels, options.classes.length);
  const folds = Math.min(MOST_FOLDS, ...classes.map((rows) => rows.length));
  if (folds < 2) return undefined;
  const foldOf = new Int32Array(data.labels.length);
  for (const rows of classes) rows.forEach((row, i) => (foldOf[row] = i % folds));
  const results: CrossValidation[] = [];
  for (const lambda of LAMBDAS) results.push(await validate(data, foldOf, folds, { ...options, lambda }));
  return results.reduce((best, one) => (one.loss <= best.loss ? one : best));
}

async function validate(
  data: LabelledFeatures,
  foldOf: Int32Array,
  folds: number,
  options: FitOptions & { classes: readonly string[]; lambda: number },
): Promise<CrossValidation> {
  let [hits, loss] = [0, 0];
  for (let fold = 0; fold < folds; fold++) {
    const rows = [...foldOf.keys()];
    const train = pickRows(
      data,
      rows.filter((row) => foldOf[row] !== fold),
    );
    const held = pickRows(
      data,
      rows.filter((row) => foldOf[row] === fold),
    );
    const probe = await fitLinearProbe(train.features, train.labels, { ...options, tolerance: TOLERANCE });
    const scores = await scoresOf(probe, held, options.threads);
    hits += scores.accuracy * held.labels.length;
    loss += scores.loss * held.labels.length;
  }
  const count = data.labels.length;
  return { lambda: options.lambda, accuracy: hits / count, loss: loss / count, folds };
}
