import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Clip } from "../clip/clip.js";
import type { ClipInfo } from "../clip/options.js";
import type { Dataset } from "../datasets/dataset.js";
import { embedRows } from "../embed/embed.js";
import { identified, type Identity } from "../embed/identity.js";
import { Partial } from "../embed/partial.js";
import type { NamedImage } from "../embed/sources.js";
import { TorchclipError, withoutIndex } from "../errors.js";
import { lock, type Lock } from "../util/lock.js";
import { packageVersion } from "../util/package.js";
import type { LabelledFeatures } from "./labelled.js";
import { probeModel, type FeatureKind } from "./probe-file.js";

export interface FeatureOptions {
  /**
   * Folder that keeps the features of images by their content, for the next run. A call waits while another
   * process uses it for the same model.
   */
  cache: string;
  /**
   * "embedding" (default): the embeddings, of length 1. "pooled": the image features before the projection, as
   * they are. The cache keeps the two apart. Third-party exports reject "pooled" with E_ARGUMENT.
   */
  features?: FeatureKind;
  /** Images in one forward pass. Default 32. */
  batchSize?: number;
  autoRotate?: boolean;
  /** An image that cannot be read: leave it out, or stop. Default "skip". */
  onError?: "skip" | "fail";
  signal?: AbortSignal;
  /** Called with 0 before the first image and then after each batch. */
  onProgress?: (done: number, total: number) => void;
}

/** An image without features. */
export interface SkippedImage {
  /** Place in the data set. */
  index: number;
  name: string;
  code: string;
  message: string;
}

/** Features of a data set: a row for each image that could be read. */
export interface DatasetFeatures extends LabelledFeatures {
  /** The place of each row's image in the data set. */
  indices: number[];
  /** Its name. */
  names: string[];
  /** Hash of its content; empty where that is not known. */
  contents: string[];
  skipped: SkippedImage[];
  /** Images whose features were taken from the cache, without decoding them. */
  cached: number;
}

type Item = NamedImage & Identity;

/**
 * The features of every image of a data set. Those of images that were seen before, by the same model with the
 * same settings and under any name, come from the cache; their files are read for the hash of their content
 * alone.
 */
export async function datasetFeatures(
  clip: Clip,
  data: Dataset,
  options: FeatureOptions,
): Promise<DatasetFeatures> {
  const settings = settingsOf(clip, options);
  const key = createHash("sha256").update(settings).digest("hex").slice(0, 24);
  const folder = join(options.cache, key);
  const held = await lock(`${folder}.lock`, { wait: true, signal: options.signal });
  const store = new Partial(folder, featureDim(clip.info, options.features));
  try {
    const { order, items, cached } = await computeMissing(clip, data, { store, held, settings }, options);
    return await collect(data, store, order, items, cached, options);
  } finally {
    await store.close();
    await held.release();
  }
}

/** What must be equal for features to be the same. */
function settingsOf(clip: Clip, { autoRotate = false, features: kind }: FeatureOptions): string {
  const { precision, device, imageRunner, config } = clip.info;
  const { fingerprint, features } = probeModel(clip.info, kind);
  const place = device === "cpu" ? "cpu" : "cuda";
  return JSON.stringify({
    torchclip: packageVersion(),
    fingerprint,
    storedDtype: config.storedDtype,
    features,
    precision,
    place,
    runner: imageRunner,
    autoRotate,
    embedDim: featureDim(clip.info, kind),
  });
}

/** Floats of a feature. Throws E_ARGUMENT for a kind that the model does not give. */
function featureDim({ embedDim, pooledDim }: ClipInfo, kind: FeatureKind = "embedding"): number {
  const dim = kind === "pooled" ? pooledDim : embedDim;
  if (dim > 0) return dim;
  const message = "a third-party TorchScript export gives no pooled features: fit on its embeddings";
  throw new TorchclipError("E_ARGUMENT", message, { subject: "features" });
}

/** Encodes what the store does not have. `order`: the row of the store of each image. */
async function computeMissing(
  clip: Clip,
  data: Dataset,
  { store, held, settings }: { store: Partial; held: Lock; settings: string },
  { batchSize = 32, features: output, autoRotate, signal, onProgress }: FeatureOptions,
) {
  const items: Identity[] = [];
  await store.begin(settings);
  const how = { batchSize, output, autoRotate, signal, onError: "collect" } as const;
  const encode = async function* (missing: AsyncIterable<Item>) {
    const images = async function* () {
      for await (const { image } of missing) yield image;
    };
    yield* clip.streamImages(images(), how);
  };
  // The row is found by the content of the file, which may have another path by then.
  const messageOf = (error: TorchclipError, { image }: Item) =>
    typeof image === "string" ? withoutIndex(error).replaceAll(image, "it") : withoutIndex(error);
  const job = { items: byContent(data, items), encode, messageOf, total: data.length };
  const kept = { state: store, held, stored: store.stored(), wholeBatches: undefined };
  const { order, resumed } = await embedRows(job, kept, (done) => onProgress?.(done, data.length));
  return { order, items, cached: resumed };
}

/** The images with their content as their identity; `items` gets each one's name and content. */
async function* byContent(data: Dataset, items: Identity[]): AsyncGenerator<Item> {
  for await (const { name, image, content } of identified(data.images())) {
    items.push({ name, content: content === "url" ? "" : content });
    // The content of a URL is not read for its identity: its address stands for it.
    yield { name: content === "url" ? name : "", content, image };
  }
}

/** The rows of the images that could be read, in the order of the data set. */
async function collect(
  data: Dataset,
  store: Partial,
  order: readonly number[],
  items: readonly Identity[],
  cached: number,
  { onError = "skip" }: FeatureOptions,
): Promise<DatasetFeatures> {
  const samples = [...data];
  const skipped: SkippedImage[] = [];
  const indices: number[] = [];
  for (const [index, row] of order.entries()) {
    const { error } = store.at(row);
    if (!error) {
      indices.push(index);
      continue;
    }
    const { name } = samples[index];
    if (onError === "fail") {
      const code = error.code as TorchclipError["code"];
      throw new TorchclipError(code, `${name}: ${error.message}`, { index, subject: name });
    }
    skipped.push({ index, name, ...error });
  }
  return {
    features: await store.read(indices.map((index) => order[index])),
    labels: Int32Array.from(indices, (index) => samples[index].label),
    indices,
    names: indices.map((index) => samples[index].name),
    contents: indices.map((index) => items[index].content),
    skipped,
    cached,
  };
}

/** Two images with the same content. */
export interface Overlap {
  /** Names in the first and in the second set. */
  first: string;
  second: string;
}

/** Images of the second set whose content is also in the first. */
export function overlaps(
  first: Pick<DatasetFeatures, "contents" | "names">,
  second: Pick<DatasetFeatures, "contents" | "names">,
): Overlap[] {
  const names = new Map<string, string>();
  first.contents.forEach((content, i) => content && names.set(content, first.names[i]));
  return second.contents.flatMap((content, i) => {
    const name = names.get(content);
    return name === undefined ? [] : [{ first: name, second: second.names[i] }];
  });
}
