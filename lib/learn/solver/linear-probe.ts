import { addon } from "../../addon.js";
import { isEmbeddings, type Embeddings } from "../../embeddings.js";
import { TorchclipError, toTorchclipError } from "../../errors.js";
import { own } from "../../util/own.js";
import { softmaxRows } from "../../util/softmax.js";

/** How features are scaled before a classifier sees them: (x - mean) / deviation, as StandardScaler does. */
export interface Standardization {
  /** float64 [dim] */
  mean: Float64Array;
  /** float64 [dim]; 1 where a feature is the same in all rows. */
  deviation: Float64Array;
}

/** What a fit reached. */
export interface FitReport {
  iterations: number;
  /** Passes over the features: two for each step of conjugate gradients, two for each iteration. */
  products: number;
  /** The objective divided by the number of rows. */
  objective: number;
  /** Largest element of the gradient of that. */
  gradient: number;
  /** Whether `gradient` is at most the tolerance. */
  converged: boolean;
  /** Wall time. */
  seconds: number;
}

/** Weights of a linear classifier. */
export interface ProbeWeights {
  /** float64 [heads, dim], row-major; two classes have one head, that of the second class. */
  coefficients: Float64Array;
  /** float64 [heads] */
  intercepts: Float64Array;
}

export interface LinearProbeInit extends ProbeWeights {
  classes: readonly string[];
  dim: number;
  lambda: number;
  standardization?: Standardization;
  fit?: FitReport;
}

/** Rows of weights for so many classes. */
export const headsOf = (classes: number): number => (classes === 2 ? 1 : classes);

/**
 * A linear classifier of features: logits = W x + b. Made by `fitLinearProbe`, or read from a file by
 * `readProbe`.
 *
 * @example
 * const probe = await fitLinearProbe(train, labels, { classes: ["cat", "dog"], lambda: 0.316 });
 * const predicted = await probe.predict(test); // Int32Array of class ids
 */
export class LinearProbe implements LinearProbeInit {
  readonly classes: readonly string[];
  readonly dim: number;
  readonly lambda: number;
  readonly coefficients: Float64Array;
  readonly intercepts: Float64Array;
  readonly standardization?: Standardization;
  readonly fit?: FitReport;

  constructor(init: LinearProbeInit) {
    this.classes = init.classes;
    this.dim = init.dim;
    this.lambda = init.lambda;
    this.coefficients = init.coefficients;
    this.intercepts = init.intercepts;
    if (init.standardization) this.standardization = init.standardization;
    if (init.fit) this.fit = init.fit;
  }

  /**
   * float64 [rows, classes]. Of two classes the first one's logit is 0. Throws E_ARGUMENT for features of
   * another dimension.
   */
  async logits(features: Embeddings, threads = 0): Promise<Float64Array> {
    checkFeatures(features);
    if (features.dim !== this.dim) {
      const message = `the features have ${features.dim} dimensions, the probe was fitted on ${this.dim}`;
      throw new TorchclipError("E_ARGUMENT", message, { subject: "features" });
    }
    const { rows, dim } = features;
    const heads = headsOf(this.classes.length);
    const out = new Float64Array(rows * heads);
    if (rows === 0) return out;
    // Copies: a caller may transfer the probe's own arrays while a thread reads them.
    const [coefficients, intercepts] = [this.coefficients.slice(), this.intercepts.slice()];
    const { standardization } = this;
    const data = standardization ? features.data.slice() : await own(features.data, "features");
    if (standardization) standardizeInPlace({ data, rows, dim }, standardization);
    try {
      await addon().probeLogits(data, rows, dim, coefficients, intercepts, heads, threads, out);
    } catch (error) {
      throw toTorchclipError(error);
    }
    return heads === 1 ? withFirstClass(out) : out;
  }

  /** The softmax of the logits: float64 [rows, classes]. */
  async probabilities(features: Embeddings, threads = 0): Promise<Float64Array> {
    return softmaxRows(await this.logits(features, threads), this.classes.length);
  }

  /** The class of each row; the first among equals. */
  async predict(features: Embeddings, threads = 0): Promise<Int32Array> {
    return argmaxRows(await this.logits(features, threads), this.classes.length);
  }
}

/** The place of the largest value of each row of `width` values; the first among equals. */
export function argmaxRows(values: Float64Array | Float32Array, width: number): Int32Array {
  const places = new Int32Array(values.length / width);
  for (let row = 0; row < places.length; row++) {
    let best = row * width;
    for (let i = best + 1; i < (row + 1) * width; i++) if (values[i] > values[best]) best = i;
    places[row] = best - row * width;
  }
  return places;
}

/** Two logits for each row of one. */
function withFirstClass(second: Float64Array): Float64Array {
  const both = new Float64Array(2 * second.length);
  for (let i = 0; i < second.length; i++) both[2 * i + 1] = second[i];
  return both;
}

/** Throws E_ARGUMENT, with the row as its index, for features that are no rows of finite numbers. */
export function checkFeatures(features: Embeddings): void {
  if (!isEmbeddings(features)) {
    const message = "features are not { data: Float32Array of rows × dim, rows, dim }";
    throw new TorchclipError("E_ARGUMENT", message, { subject: "features" });
  }
  const { data, dim } = features;
  for (let i = 0; i < data.length; i++) {
    if (Number.isFinite(data[i])) continue;
    const row = Math.floor(i / dim);
    const message = `row ${row} of the features holds ${data[i]}: leave out images that could not be encoded`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "features", index: row });
  }
}

/** Whether a feature is the same in all rows. */
function isConstant(feature: number, { data, dim }: Embeddings): boolean {
  for (let i = feature + dim; i < data.length; i += dim) if (data[i] !== data[feature]) return false;
  return true;
}

/** Mean and deviation (of the population) of each feature; the deviation of a constant feature is 1. */
export function standardizationOf({ data, rows, dim }: Embeddings): Standardization {
  const mean = new Float64Array(dim);
  const deviation = new Float64Array(dim);
  for (let i = 0; i < data.length; i++) mean[i % dim] += data[i] / rows;
  for (let i = 0; i < data.length; i++) deviation[i % dim] += (data[i] - mean[i % dim]) ** 2 / rows;
  for (let i = 0; i < dim; i++) {
    // Rounding of the mean would leave a constant feature a tiny deviation.
    if (isConstant(i, { data, rows, dim })) [mean[i], deviation[i]] = [data[i], 1];
    else deviation[i] = Math.sqrt(deviation[i]) || 1;
  }
  return { mean, deviation };
}

/** Scales features, rounding to float32. */
export function standardizeInPlace({ data, dim }: Embeddings, { mean, deviation }: Standardization): void {
  for (let i = 0; i < data.length; i++) data[i] = (data[i] - mean[i % dim]) / deviation[i % dim];
}
