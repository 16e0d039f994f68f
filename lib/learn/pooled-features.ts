import type { Clip } from "../clip/clip.js";
import type { Dataset } from "../datasets/dataset.js";
import { normalizeRows, type Embeddings } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import { datasetFeatures, type DatasetFeatures, type FeatureOptions } from "./features.js";
import { readImageProjection } from "./solver/image-projection.js";

/**
 * The embeddings of pooled features of a model, without encoding the images again; undefined where the model's
 * projection is not linear.
 */
export async function embedPooled(
  info: Clip["info"],
  pooled: Embeddings,
  threads = 0,
): Promise<Embeddings | undefined> {
  const { kind, projection } = await readImageProjection(info);
  if (kind === "none") return normalizeRows({ ...pooled, data: pooled.data.slice() });
  return projection?.embed(pooled, threads);
}

/**
 * The same images as `pooled` with their embeddings as features: by the model's projection where it is linear,
 * else encoded, or taken from the cache.
 */
export async function embeddingsOfPooled(
  clip: Clip,
  data: Dataset,
  pooled: DatasetFeatures,
  options: FeatureOptions,
): Promise<DatasetFeatures> {
  const features = await embedPooled(clip.info, pooled.features);
  if (features) return { ...pooled, features };
  const encoded = await datasetFeatures(clip, data, { ...options, features: "embedding" });
  const different = pooled.indices.find((index, row) => encoded.indices[row] !== index);
  if (different === undefined && encoded.indices.length === pooled.indices.length) return encoded;
  const message = `${data.name}: an image could be read the first time and not the second, or the reverse`;
  throw new TorchclipError("E_IMAGE_READ", message, { subject: data.name });
}
