import { addon, type NativeProbeProblem } from "../../addon.js";
import type { Embeddings } from "../../embeddings.js";
import { checkAborted, TorchclipError, toTorchclipError } from "../../errors.js";
import { isBoolean, isSignal, readOptions, wholeIn, type OptionCheck } from "../../options.js";
import { own } from "../../util/own.js";
import {
  checkFeatures,
  headsOf,
  LinearProbe,
  standardizationOf,
  standardizeInPlace,
  type FitReport,
} from "./linear-probe.js";

export interface FitOptions {
  /** Names of the classes, or how many there are. Default: one more than the largest label. */
  classes?: readonly string[] | number;
  /**
   * Strength of the penalty λ/2 ‖W‖² beside the loss summed over the rows: 1/C of scikit-learn's
   * LogisticRegression. Default 1.
   */
  lambda?: number;
  /** Divide each feature, less its mean, by its deviation over the rows. Default false. */
  standardize?: boolean;
  /**
   * The fit ends when no element of the gradient of objective / rows is larger: scikit-learn's `tol`. Default
   * 1e-8.
   */
  tolerance?: number;
  /** Default 1000. A fit that ends by it has `fit.converged` false. */
  maxIterations?: number;
  /** Where the fit starts: a probe of the same classes and dimension. Default: zeros. */
  start?: LinearProbe;
  /** Default 0: one a core. */
  threads?: number;
  /** Ends the fit with E_ABORTED. */
  signal?: AbortSignal;
  /** Called a few times a second while the fit runs. */
  onProgress?: (progress: Pick<FitReport, "iterations" | "objective" | "gradient">) => void;
}

const isPositive: OptionCheck = (value) =>
  typeof value === "number" && value > 0 && value < Infinity ? undefined : "a positive number";

const isClasses: OptionCheck = (value) => {
  if (Array.isArray(value)) return value.length >= 2 ? undefined : "at least two names";
  return Number.isInteger(value) && (value as number) >= 2
    ? undefined
    : "names, or a whole number of at least 2";
};

const FIT_CHECKS: Partial<Record<keyof FitOptions, OptionCheck>> = {
  classes: isClasses,
  lambda: isPositive,
  standardize: isBoolean,
  tolerance: isPositive,
  maxIterations: wholeIn(0, 1 << 30),
  threads: wholeIn(0, 1024),
  signal: isSignal,
};

const PROGRESS_MS = 200;

/**
 * Multinomial logistic regression: the weights W and intercepts b that minimise
 * Σ loss(W x + b, y) + λ/2 ‖W‖², in float64. With two classes the loss is binomial and W has one row, as
 * scikit-learn's LogisticRegression(C=1/λ) has it; the result is the same to its tolerance. The features are
 * copied; the work runs on threads of its own, with about 24 bytes of memory for each row and class beside
 * the features.
 *
 * Throws E_ARGUMENT for a label that is no class id and for features that are not finite, with the row as
 * `index`; E_ABORTED.
 *
 * @param features float32 [rows, dim]
 * @param labels class ids, one a row
 *
 * @example
 * const features = await clip.encodeImages(paths);
 * const probe = await fitLinearProbe(features, labels, { classes: ["cat", "dog"] });
 * console.log(probe.fit.gradient, await probe.predict(await clip.encodeImages(["new.jpg"])));
 */
export async function fitLinearProbe(
  features: Embeddings,
  labels: ArrayLike<number>,
  given: FitOptions = {},
): Promise<LinearProbe & { fit: FitReport }> {
  const options = readOptions(given, FIT_CHECKS);
  checkFeatures(features);
  checkAborted(options.signal);
  const classes = classNames(options.classes, labels);
  checkLabels(labels, features.rows, classes.length);
  const { rows, dim } = features;
  const { lambda = 1, standardize = false } = options;
  const data = standardize ? features.data.slice() : await own(features.data, "features");
  const standardization = standardize ? standardizationOf({ data, rows, dim }) : undefined;
  if (standardization) standardizeInPlace({ data, rows, dim }, standardization);
  const { coefficients, intercepts } = startOf(options.start, classes.length, dim);
  const problem: NativeProbeProblem = {
    features: data,
    labels: Int32Array.from(labels),
    rows,
    dim,
    classes: classes.length,
    lambda,
    tolerance: options.tolerance ?? 1e-8,
    maxIterations: options.maxIterations ?? 1000,
    threads: options.threads ?? 0,
  };
  const fit = await solve(problem, coefficients, intercepts, options);
  const probe = new LinearProbe({ classes, dim, lambda, coefficients, intercepts, standardization, fit });
  return probe as LinearProbe & { fit: FitReport };
}

async function solve(
  problem: NativeProbeProblem,
  coefficients: Float64Array,
  intercepts: Float64Array,
  { signal, onProgress }: FitOptions,
): Promise<FitReport> {
  checkAborted(signal); // A signal that was aborted while the features were copied calls no listener.
  const cancel = new Int32Array(1);
  const report = new Float64Array(5);
  const abort = () => (cancel[0] = 1);
  const reached = () => ({ iterations: report[0], objective: report[2], gradient: report[3] });
  signal?.addEventListener("abort", abort, { once: true });
  const timer = onProgress && setInterval(() => onProgress(reached()), PROGRESS_MS);
  const started = performance.now();
  try {
    await addon().fitLinearProbe(problem, coefficients, intercepts, cancel, report);
  } catch (error) {
    checkAborted(signal);
    throw toTorchclipError(error);
  } finally {
    clearInterval(timer);
    signal?.removeEventListener("abort", abort);
  }
  onProgress?.(reached());
  const seconds = (performance.now() - started) / 1000;
  return { ...reached(), products: report[1], converged: report[4] === 1, seconds };
}

function classNames(given: FitOptions["classes"], labels: ArrayLike<number>): readonly string[] {
  if (Array.isArray(given)) return [...(given as string[])];
  const count = typeof given === "number" ? given : Math.max(2, largest(labels) + 1);
  return Array.from({ length: count }, (_, id) => String(id));
}

function largest(labels: ArrayLike<number>): number {
  let most = 0;
  for (const label of Array.from(labels)) if (label > most) most = label;
  return Number.isInteger(most) && most < 1 << 20 ? most : 0;
}

function checkLabels(labels: ArrayLike<number>, rows: number, classes: number): void {
  const error = (message: string, index?: number) =>
    new TorchclipError("E_ARGUMENT", message, { subject: "labels", index });
  if (labels.length !== rows) throw error(`${labels.length} labels for ${rows} rows of features`);
  const present = new Set<number>();
  for (let i = 0; i < rows; i++) {
    const label = labels[i];
    if (!Number.isInteger(label) || label < 0 || label >= classes)
      throw error(`label ${i} is ${label}, and the class ids are 0 to ${classes - 1}`, i);
    present.add(label);
  }
  if (present.size < 2) throw error("a classifier needs rows of at least two classes");
}

/** Weights to start from. */
function startOf(start: LinearProbe | undefined, classes: number, dim: number) {
  const heads = headsOf(classes);
  if (!start) return { coefficients: new Float64Array(heads * dim), intercepts: new Float64Array(heads) };
  if (start.dim !== dim || start.classes.length !== classes) {
    const has = `${start.classes.length} classes and ${start.dim} dimensions`;
    const message = `start is a probe of ${has}; the fit has ${classes} and ${dim}`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "start" });
  }
  return { coefficients: start.coefficients.slice(), intercepts: start.intercepts.slice() };
}
