import { TorchclipError } from "../errors.js";
import { accuracyOf, joinRows, type LabelledFeatures } from "./labelled.js";
import { fitLinearProbe, type FitOptions } from "./solver/fit.js";
import { argmaxRows, type FitReport, type LinearProbe } from "./solver/linear-probe.js";

/**
 * The sweep of the CLIP paper (Radford et al. 2021, arXiv:2103.00020, appendix A.3): λ of 96 logarithmic steps
 * from 1e-6 to 1e6, 8 a decade. It begins with seven values two decades apart and halves the distance around
 * the best until neighbours are one step apart.
 */
const STEPS = 96;
const DECADES = 12;
const COARSE = 16;
const FINER = [8, 4, 2, 1];

/**
 * Tolerance of the fits that are only compared on the validation split: the hundredth part of scikit-learn's
 * default.
 */
const SEARCH_TOLERANCE = 1e-6;

/** One λ that was tried. */
export interface TriedLambda {
  lambda: number;
  /** Accuracy on the validation split. */
  accuracy: number;
  /** Mean of -log probability of the true class there. */
  loss: number;
  /** Whether the fit reached the tolerance of the search. */
  converged: boolean;
}

export interface LambdaSearch {
  /** The one with the highest accuracy; of equal ones, of which the paper says nothing, that of the least loss. */
  lambda: number;
  /** Its accuracy on the validation split. */
  accuracy: number;
  /** All that were tried, by rising λ. */
  tried: TriedLambda[];
  /** Wall time of the search. */
  seconds: number;
}

export interface SearchOptions extends Pick<
  FitOptions,
  "standardize" | "threads" | "signal" | "maxIterations"
> {
  classes: readonly string[];
  /** Called before each fit. */
  onTry?: (lambda: number, done: number, total: number) => void;
}

const lambdaAt = (step: number): number => 10 ** ((step / STEPS) * DECADES - DECADES / 2);
const FITS = STEPS / COARSE + 1 + 2 * FINER.length;

/**
 * Finds λ on the validation split. Each fit starts from the fitted probe whose λ is nearest. At most 15 fits
 * of the 97 are done.
 */
export async function searchLambda(
  train: LabelledFeatures,
  valid: LabelledFeatures,
  options: SearchOptions,
): Promise<LambdaSearch> {
  const started = performance.now();
  const { onTry, ...how } = options;
  const probes = new Map<number, LinearProbe & { fit: FitReport }>();
  const tried = new Map<number, TriedLambda>();
  const attempt = async (step: number) => {
    if (step < 0 || step > STEPS || tried.has(step)) return;
    const lambda = lambdaAt(step);
    onTry?.(lambda, tried.size, FITS);
    const start = nearest(probes, step);
    const settings = { ...how, lambda, start, tolerance: SEARCH_TOLERANCE };
    const probe = await fitLinearProbe(train.features, train.labels, settings);
    const scores = await scoresOf(probe, valid, how.threads);
    probes.set(step, probe);
    tried.set(step, { lambda, ...scores, converged: probe.fit.converged });
  };
  // From the strongest penalty on: its fit is the fastest, and each is a good start for the next one.
  for (let step = STEPS; step >= 0; step -= COARSE) await attempt(step);
  for (const distance of FINER) {
    const [best] = bestOf(tried);
    await attempt(best + distance);
    await attempt(best - distance);
  }
  const [, { lambda, accuracy }] = bestOf(tried);
  const all = [...tried.values()].sort((a, b) => a.lambda - b.lambda);
  return { lambda, accuracy, tried: all, seconds: (performance.now() - started) / 1000 };
}

/** The probe that was fitted with the nearest λ; of two the one with the larger. */
function nearest<T>(probes: ReadonlyMap<number, T>, step: number): T | undefined {
  const steps = [...probes.keys()].sort((a, b) => Math.abs(a - step) - Math.abs(b - step) || b - a);
  return probes.get(steps[0]);
}

/** The best of those that were tried, behind its step. */
function bestOf(tried: ReadonlyMap<number, TriedLambda>): [step: number, tried: TriedLambda] {
  const [best] = [...tried].sort(([, a], [, b]) => b.accuracy - a.accuracy || a.loss - b.loss);
  return best;
}

/** Accuracy and loss of a probe on labelled rows. */
export async function scoresOf(
  probe: LinearProbe,
  { features, labels }: LabelledFeatures,
  threads?: number,
): Promise<{ accuracy: number; loss: number }> {
  const width = probe.classes.length;
  const probabilities = await probe.probabilities(features, threads);
  let loss = 0;
  labels.forEach((label, row) => (loss -= Math.log(probabilities[row * width + label])));
  return { accuracy: accuracyOf(argmaxRows(probabilities, width), labels), loss: loss / labels.length };
}

export interface ProtocolOptions extends SearchOptions {
  /** A fixed λ instead of the search. */
  lambda?: number;
  /** Tolerance of the final fit. Default 1e-8. */
  tolerance?: number;
  onProgress?: FitOptions["onProgress"];
}

export interface ProtocolResult {
  probe: LinearProbe & { fit: FitReport };
  /** Absent with a fixed λ. */
  search?: LambdaSearch;
}

/**
 * The linear probe of the CLIP paper: λ by `searchLambda`, then a fit on train and validation together. The
 * test split has no part in it. Throws E_ARGUMENT where there is neither λ nor a validation split.
 */
export async function fitByProtocol(
  train: LabelledFeatures,
  valid: LabelledFeatures | undefined,
  options: ProtocolOptions,
): Promise<ProtocolResult> {
  const { lambda: fixed, tolerance, onProgress, onTry, ...how } = options;
  if (fixed === undefined && !valid) {
    const message = "without a validation split there is nothing to choose λ on: give lambda";
    throw new TorchclipError("E_ARGUMENT", message, { subject: "lambda" });
  }
  const search =
    fixed === undefined && valid ? await searchLambda(train, valid, { ...how, onTry }) : undefined;
  const all = valid ? joinRows(train, valid) : train;
  const lambda = fixed ?? search?.lambda;
  const probe = await fitLinearProbe(all.features, all.labels, { ...how, lambda, tolerance, onProgress });
  return { probe, ...(search ? { search } : {}) };
}
