// What users call of lib/eval, with the addon's similarity and description of the machine handed in.
import { addon } from "../addon.js";
import type { Clip } from "../clip/clip.js";
import type { CaptionSet } from "../datasets/captions/caption-set.js";
import type { Dataset } from "../datasets/dataset.js";
import { similarity, type Embeddings } from "../embeddings.js";
import {
  measureRetrieval,
  type RetrievalMetrics,
  type RetrievalMetricsOptions,
} from "./retrieval-metrics.js";
import { retrieve, type RetrievalOptions, type RetrievalResult } from "./retrieval.js";
import {
  manifestOf,
  retrievalManifestOf,
  type RetrievalManifest,
  type RunManifest,
  type RunSettings,
  type SystemDescription,
} from "./run-manifest.js";
import { evaluate, type ZeroShotOptions, type ZeroShotResult } from "./zero-shot.js";

/** Classifies every image of the set by its nearest class prompt (Radford et al. 2021, section 3.1). */
export async function zeroShot(
  clip: Clip,
  data: Dataset,
  options: ZeroShotOptions = {},
): Promise<ZeroShotResult> {
  return evaluate(clip, data, similarity, options);
}

/**
 * Encodes images and captions and measures how well each finds the other: Recall@1, 5 and 10 in both published
 * definitions, nDCG@10, median and mean rank, with intervals. The search is exact.
 *
 * Throws E_DATASET_EMPTY where no image can be read, E_ARGUMENT for an image without a caption.
 *
 * @example
 * const data = await loadCaptions("dataset_coco.json", { root: "coco" });
 * const { metrics } = await evaluateRetrieval(clip, data);
 * metrics.anyPositive.imageToText.recall; // [{ k: 1, value, interval }, …]
 */
export async function evaluateRetrieval(
  clip: Clip,
  data: CaptionSet,
  options: RetrievalOptions = {},
): Promise<RetrievalResult> {
  return retrieve(clip, data, similarity, options);
}

/**
 * The metrics of `evaluateRetrieval` for embeddings of any model: normalised, float32 [images, dim] and [captions,
 * dim]. `imageOf`: the image of each caption.
 *
 * Throws E_ARGUMENT, with the index, where an embedding holds a NaN, a caption is of no image or an image has no
 * caption.
 *
 * @example
 * const metrics = await retrievalMetrics(images, captions, [0, 0, 1, 1]); // two captions an image
 */
export async function retrievalMetrics(
  images: Embeddings,
  captions: Embeddings,
  imageOf: ArrayLike<number>,
  options: RetrievalMetricsOptions = {},
): Promise<RetrievalMetrics> {
  return (await measureRetrieval(images, captions, imageOf, similarity, options)).metrics;
}

/** Everything that a reader needs to repeat a result, or to see why another differs. */
export function runManifest(
  clip: Clip,
  data: Dataset,
  result: ZeroShotResult,
  run: RunSettings,
): RunManifest {
  return manifestOf(clip, data, result, run, system());
}

/** What `runManifest` is for `zeroShot`, for `evaluateRetrieval`. */
export function retrievalManifest(
  clip: Clip,
  data: CaptionSet,
  result: RetrievalResult,
  run: RunSettings,
): RetrievalManifest {
  return retrievalManifestOf(clip, data, result, run, system());
}

function system(): SystemDescription {
  return { cpuFeatures: addon().systemInfo().cpuFeatures, libtorch: () => addon().libtorchInfo() };
}
