import { addon } from "../../addon.js";
import type { Embeddings } from "../../embeddings.js";
import { checkAborted, toTorchclipError } from "../../errors.js";
import { isSignal, readOptions, wholeIn, type OptionCheck } from "../../options.js";
import { own } from "../../util/own.js";
import { checkClassTexts } from "./class-texts.js";
import { checkPooledDim, ImageProjection } from "./image-projection.js";
import { checkFeatures } from "./linear-probe.js";

export interface ProlipOptions {
  classes: readonly string[];
  /** exp of the model's learned scale: `clip.info.logitScale`. */
  logitScale: number;
  /**
   * Strength of the penalty λ ‖W − W₀‖² beside the mean cross-entropy. Default 1 / shots, the mean number of rows
   * of a class: the paper's choice without validation images.
   */
  lambda?: number;
  /**
   * Learning rate of Adam's first step, from which it falls to 0 along a half cosine. Default 1e-5, with which
   * the authors' code runs its experiments without validation images.
   */
  learningRate?: number;
  /** Steps, each over all rows. Default 300, as in the authors' code. */
  steps?: number;
  /** Default 0: one a core. */
  threads?: number;
  /** Ends the fit with E_ABORTED. */
  signal?: AbortSignal;
}

const STEPS = 300;
const LEARNING_RATE = 1e-5;

const isPositive: OptionCheck = (value) =>
  typeof value === "number" && value > 0 && value < Infinity ? undefined : "a positive number";

const CHECKS: Partial<Record<keyof ProlipOptions, OptionCheck>> = {
  logitScale: isPositive,
  lambda: (value) =>
    typeof value === "number" && value >= 0 && value < Infinity ? undefined : "a number of at least 0",
  learningRate: isPositive,
  steps: wholeIn(0, 1 << 20),
  threads: wholeIn(0, 1024),
  signal: isSignal,
};

/**
 * ProLIP (Fahes et al., arXiv:2410.05270): fine-tunes the projection of the image encoder, and nothing else, on a
 * few images of each class. The classifier stays CLIP's own, the cosines of images and class texts; the penalty
 * keeps the matrix near the one it begins with. The result is a projection whose embeddings are compared with the
 * same texts. The work is float64, and its bits do not depend on the number of threads.
 *
 * Differs from the authors' code in the images: they train on 300 random crops and flips of each, this on the one
 * view that is classified, whose features are cached.
 *
 * @param features float32 [rows, pooledDim]: pooled features, not normalised
 * @param labels class ids, one a row; every class must occur
 * @param texts float32 [classes, dim], of length 1: `clip.encodeClasses`
 * @param projection the model's: `readImageProjection(clip.info)`
 *
 * @example
 * const { projection } = await readImageProjection(clip.info);
 * const tuned = await fitProlip(train, labels, texts, projection, { classes, logitScale: clip.info.logitScale });
 * const cosines = similarity(await tuned.embed(test), texts);
 */
export async function fitProlip(
  features: Embeddings,
  labels: Int32Array,
  texts: Embeddings,
  projection: ImageProjection,
  given: ProlipOptions,
): Promise<ImageProjection> {
  const options = readOptions(given, CHECKS);
  const { classes, logitScale, steps = STEPS, learningRate = LEARNING_RATE, threads = 0, signal } = options;
  checkFeatures(features);
  checkFeatures(texts);
  checkAborted(signal);
  const { dim, pooledDim, bias } = projection;
  checkClassTexts(features, labels, texts, dim, classes);
  checkPooledDim(features, projection);
  const matrix = new Float64Array(dim * pooledDim);
  const cancel = new Int32Array(1);
  const abort = () => (cancel[0] = 1);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const problem = {
      features: await own(features.data, "features"),
      labels: labels.slice(),
      texts: await own(texts.data, "texts"),
      matrix: Float32Array.from(projection.matrix),
      bias: Float32Array.from(bias),
      rows: features.rows,
      dim: pooledDim,
      columns: dim,
      classes: classes.length,
      logitScale,
      lambda: options.lambda ?? classes.length / features.rows,
      learningRate,
      steps,
      threads,
    };
    await addon().fitProlip(problem, matrix, cancel);
  } catch (error) {
    checkAborted(signal);
    throw toTorchclipError(error);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
  return new ImageProjection({ dim, pooledDim, matrix, bias: bias.slice() });
}
