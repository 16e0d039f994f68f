import { similarity, type Embeddings } from "../embeddings.js";
import { rowsOf } from "../util/rows.js";
import { checkClassIds, type LabelledFeatures } from "./labelled.js";

export interface TipAdapterOptions {
  /** exp of the model's learned scale: `clip.info.logitScale`. */
  logitScale: number;
  /** Weight of the training images beside the texts. Default 1. */
  alpha?: number;
  /** Sharpness: an image at cosine c counts exp(-β (1 - c)). Default 5.5. */
  beta?: number;
}

/** The paper's values for ImageNet (section 4.1). */
const ALPHA = 1;
const BETA = 5.5;

const ROWS_AT_ONCE = 256; // bounds the cosines that are held

/**
 * Training-free Tip-Adapter (Zhang et al., ECCV 2022, arXiv:2207.09519, equation 5): the logits of zero-shot
 * plus α times the votes of the training images, float64 [rows, classes].
 *
 * @param train float32 [images, dim] of length 1, with their classes
 * @param texts float32 [classes, dim] of length 1
 * @param features float32 [rows, dim] of length 1
 */
export function tipAdapter(
  train: LabelledFeatures,
  texts: Embeddings,
  features: Embeddings,
  { logitScale, alpha = ALPHA, beta = BETA }: TipAdapterOptions,
): Float64Array {
  const { rows } = features;
  const classes = texts.rows;
  const images = train.features.rows;
  checkClassIds(train.labels, classes);
  const logits = new Float64Array(rows * classes);
  for (let first = 0; first < rows; first += ROWS_AT_ONCE) {
    const count = Math.min(ROWS_AT_ONCE, rows - first);
    const part = rowsOf(features, first, count);
    const ofTexts = similarity(part, texts);
    const ofImages = similarity(part, train.features);
    for (let row = 0; row < count; row++) {
      const out = logits.subarray((first + row) * classes, (first + row + 1) * classes);
      for (let c = 0; c < classes; c++) out[c] = logitScale * ofTexts[row * classes + c];
      for (let i = 0; i < images; i++) {
        out[train.labels[i]] += alpha * Math.exp(-beta * (1 - ofImages[row * images + i]));
      }
    }
  }
  return logits;
}
