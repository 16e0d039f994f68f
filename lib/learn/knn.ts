import type { Embeddings } from "../embeddings.js";
import { topK } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import { NEIGHBOUR_DEFAULTS } from "./defaults.js";
import { checkClassIds, type LabelledFeatures } from "./labelled.js";

export interface NeighbourOptions {
  /** Nearest training images that vote. Default 20, lowered to the number of training images. */
  k?: number;
  /** A vote weighs exp(cosine / temperature). Default 0.07. */
  temperature?: number;
}

/**
 * Classification by the nearest training images, weighted as in DINO (Wu et al. 2018, arXiv:1805.01978,
 * section 3.4; Caron et al. 2021, arXiv:2104.14294): the share of each class in the votes of the k nearest,
 * float64 [rows, classes]. Features must be normalised, so that inner products are cosines.
 *
 * Throws E_ARGUMENT for a label that is no class id, for k below 1 and a temperature that is not positive.
 */
export async function nearestNeighbours(
  train: LabelledFeatures,
  features: Embeddings,
  classes: number,
  given: NeighbourOptions = {},
): Promise<Float64Array> {
  const { k = NEIGHBOUR_DEFAULTS.k, temperature = NEIGHBOUR_DEFAULTS.temperature } = given;
  if (!(temperature > 0)) {
    const message = `temperature must be a positive number, not ${temperature}`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "temperature" });
  }
  checkClassIds(train.labels, classes);
  const found = await topK(features, train.features, k);
  const votes = new Float64Array(features.rows * classes);
  for (let row = 0; row < features.rows; row++) {
    const first = row * found.k;
    const nearest = found.scores[first];
    let total = 0;
    for (let i = first; i < first + found.k; i++) {
      const label = train.labels[found.indices[i]];
      // Divided by the largest vote, which does not change the shares and cannot overflow.
      const vote = Math.exp((found.scores[i] - nearest) / temperature);
      votes[row * classes + label] += vote;
      total += vote;
    }
    for (let c = 0; c < classes; c++) votes[row * classes + c] /= total;
  }
  return votes;
}
