import type { Embeddings } from "../embeddings.js";
import { TorchclipError } from "../errors.js";

/** The factor w of Hessel et al., by which scores of ViT-B/32 spread over 0 to 1. */
const WEIGHT = 2.5;

/**
 * CLIPScore of captions with their images (Hessel et al. 2021, "CLIPScore: A Reference-free Evaluation Metric for
 * Image Captioning", section 3): w · max(cos(image, caption), 0) with w = 2.5. Their code puts "A photo depicts "
 * before each caption; with `weight: 100` it is torchmetrics' `clip_score` of each pair.
 *
 * @param images normalised embeddings, float32 [rows, dim]
 * @param captions of the same rows
 * @returns float64 [rows]
 * @example
 * const images = await clip.encodeImages(paths);
 * const texts = await clip.encodeTexts(captions.map((caption) => `A photo depicts ${caption}`));
 * const scores = clipScore(images, texts);
 */
export function clipScore(
  images: Embeddings,
  captions: Embeddings,
  { weight = WEIGHT }: { weight?: number } = {},
): Float64Array {
  if (images.rows !== captions.rows || images.dim !== captions.dim) {
    const message =
      `images of [${images.rows}, ${images.dim}] and captions of [${captions.rows}, ${captions.dim}] ` +
      "are no pairs";
    throw new TorchclipError("E_ARGUMENT", message, { subject: "captions" });
  }
  return Float64Array.from({ length: images.rows }, (_, row) => {
    const cosine = dot(images, row, captions, row);
    return weight * Math.max(cosine, 0);
  });
}

/**
 * RefCLIPScore (the same paper, section 3): the harmonic mean of CLIPScore and the highest cosine, at least 0, of
 * the caption with a reference. 0 where either is 0.
 *
 * @param scores what `clipScore` gives for the captions
 * @param references normalised embeddings of all references, without a prefix as the captions here
 * @param referencesOf the rows of the references of each caption, at least one
 */
export function refClipScore(
  scores: ArrayLike<number>,
  captions: Embeddings,
  references: Embeddings,
  referencesOf: readonly (readonly number[])[],
): Float64Array {
  if (scores.length !== captions.rows || referencesOf.length !== captions.rows)
    throw new TorchclipError(
      "E_ARGUMENT",
      `${scores.length} scores and references of ${referencesOf.length} for ${captions.rows} captions`,
      { subject: "scores" },
    );
  if (references.dim !== captions.dim) {
    const message = `references of ${references.dim} dimensions for captions of ${captions.dim}`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "references" });
  }
  return Float64Array.from(scores, (score, row) => {
    const own = referencesOf[row];
    const isRow = (at: number) => Number.isInteger(at) && at >= 0 && at < references.rows;
    if (!own.every(isRow)) {
      const message = `a reference of caption ${row} is none of the ${references.rows} rows`;
      throw new TorchclipError("E_ARGUMENT", message, { index: row });
    }
    if (own.length === 0)
      throw new TorchclipError("E_ARGUMENT", `caption ${row} has no reference`, { index: row });
    const closest = Math.max(0, ...own.map((reference) => dot(captions, row, references, reference)));
    return score + closest === 0 ? 0 : (2 * score * closest) / (score + closest);
  });
}

/** Inner product of two rows, in float64. */
function dot(a: Embeddings, row: number, b: Embeddings, other: number): number {
  let sum = 0;
  for (let i = 0; i < a.dim; i++) sum += a.data[row * a.dim + i] * b.data[other * b.dim + i];
  return sum;
}
