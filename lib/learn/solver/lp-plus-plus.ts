import { addon } from "../../addon.js";
import type { Embeddings } from "../../embeddings.js";
import { checkAborted, toTorchclipError } from "../../errors.js";
import { own } from "../../util/own.js";
import { checkClassTexts } from "./class-texts.js";
import { checkFeatures, headsOf, LinearProbe } from "./linear-probe.js";

export interface LpPlusPlusOptions {
  classes: readonly string[];
  /** Gradient steps. Default 300, as in the authors' code. */
  steps?: number;
  /** Default 0: one a core. */
  threads?: number;
  /** Ends the fit with E_ABORTED. */
  signal?: AbortSignal;
}

const STEPS = 300;

/**
 * LP++ (Huang et al., CVPR 2024, arXiv:2404.02285): a linear probe for a few images of each class, whose weights
 * are w + α t with a visual prototype w and the text embedding t of the class. The lengths of the gradient
 * steps follow from Lipschitz constants, so no validation images are needed. The result is a linear classifier
 * as any other.
 *
 * Differs from the authors' code in two places: the gradient of α is that of the step (theirs is never reset),
 * and the weights of the last step are taken, not those that are best on validation images.
 *
 * @param features float32 [rows, dim], of length 1
 * @param labels class ids, one a row; every class must occur
 * @param texts float32 [classes, dim], of length 1: `clip.encodeClasses`
 */
export async function fitLpPlusPlus(
  features: Embeddings,
  labels: Int32Array,
  texts: Embeddings,
  { classes, steps = STEPS, threads = 0, signal }: LpPlusPlusOptions,
): Promise<LinearProbe> {
  checkFeatures(features);
  checkFeatures(texts);
  checkAborted(signal);
  checkClassTexts(features, labels, texts, features.dim, classes);
  const { rows, dim } = features;
  const count = classes.length;
  const coefficients = new Float64Array(count * dim);
  const intercepts = new Float64Array(count);
  const cancel = new Int32Array(1);
  const abort = () => (cancel[0] = 1);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const data = await own(features.data, "features");
    const ofTexts = await own(texts.data, "texts");
    const problem = { features: data, labels: labels.slice(), texts: ofTexts, rows, dim, classes: count };
    const alphas = new Float64Array(count);
    await addon().fitLpPlusPlus({ ...problem, steps, threads }, coefficients, intercepts, alphas, cancel);
  } catch (error) {
    checkAborted(signal);
    throw toTorchclipError(error);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
  const weights =
    headsOf(count) === 1 ? difference(coefficients, intercepts, dim) : { coefficients, intercepts };
  return new LinearProbe({ classes, dim, lambda: 0, ...weights });
}

/** The one head of two classes: the second less the first. */
function difference(coefficients: Float64Array, intercepts: Float64Array, dim: number) {
  return {
    coefficients: Float64Array.from({ length: dim }, (_, i) => coefficients[dim + i] - coefficients[i]),
    intercepts: Float64Array.of(intercepts[1] - intercepts[0]),
  };
}
