import { join } from "node:path";
import type { Clip } from "../clip/clip.js";
import type { StageTimes } from "../clip/options.js";
import type { CaptionSet } from "../datasets/captions/caption-set.js";
import { cachedImages, cachedTexts } from "../embed/cached.js";
import type { ImageSource } from "../embed/sources.js";
import type { Embeddings } from "../embeddings.js";
import { TorchclipError, withoutIndex } from "../errors.js";
import { measureRetrieval, type QueryRanks, type RetrievalMetrics } from "./retrieval-metrics.js";
import { gatherRows } from "../util/rows.js";
import type { Similarity } from "./zero-shot.js";

export interface RetrievalOptions {
  batchSize?: number;
  /** An image that cannot be read: leave it out with its captions and count it, or stop. Default "skip". */
  onError?: "skip" | "fail";
  autoRotate?: boolean;
  /**
   * A folder that keeps the embeddings. A stopped run goes on from it, and a later one reads only images that were
   * added or changed. E_LOCKED while another process uses it.
   */
  cache?: string;
  /** Of the bootstrap intervals. Default 0. */
  seed?: number;
  signal?: AbortSignal;
  /** Called with 0 before the first item and then after each batch, for images and then for captions. */
  onProgress?: (what: "images" | "captions", done: number, total: number) => void;
}

/** A query whose right answer came late, with what came first. */
export interface WorstQuery {
  /** Number of the image or of the caption. */
  query: number;
  /** Of the best right answer, 1 for the first place. */
  rank: number;
  /** The best right answer and its cosine. */
  answer: RetrievedRow;
  /** What came first, best first. */
  hits: RetrievedRow[];
}

/** A caption or an image by its number, and its cosine with the query. */
export interface RetrievedRow {
  row: number;
  score: number;
}

export interface RetrievalResult {
  metrics: RetrievalMetrics;
  /** The images that were evaluated, which `imageOf` and the ranks number. */
  images: { name: string; image: string }[];
  /** The captions that were evaluated. */
  captions: string[];
  /** The image of each caption. */
  imageOf: number[];
  ranks: QueryRanks;
  /** The ten queries of each direction whose best right answer came latest. */
  worst: { imageToText: WorstQuery[]; textToImage: WorstQuery[] };
  skipped: { name: string; code: string; message: string }[];
  /** Captions that were longer than the model's context and were cut. */
  truncated: number;
  /** Rows that the cache held already. */
  resumed: { images: number; captions: number };
  /** Seconds. Read, decode and resize overlap with forward; `search` is that of ranks and metrics. */
  times: StageTimes & { search: number; total: number };
}

/** What `evaluateRetrieval` does, with the cosines computed by `similarity`. */
export async function retrieve(
  clip: Clip,
  data: CaptionSet,
  similarity: Similarity,
  options: RetrievalOptions,
): Promise<RetrievalResult> {
  const started = performance.now();
  const found = await embedSet(clip, data, options);
  const before = performance.now();
  const { imageRows, captionRows, images, captions, imageOf } = found;
  const { seed, signal } = options;
  const { metrics, ranks } = await measureRetrieval(imageRows, captionRows, imageOf, similarity, {
    seed,
    signal,
  });
  const answersOf = Array.from(images, (): number[] => []);
  for (const [caption, image] of imageOf.entries()) answersOf[image].push(caption);
  const worst = {
    imageToText: worstQueries(imageRows, captionRows, ranks.imageToText, (i) => answersOf[i], similarity),
    textToImage: worstQueries(captionRows, imageRows, ranks.textToImage, (i) => [imageOf[i]], similarity),
  };
  const search = (performance.now() - before) / 1000;
  return {
    metrics,
    images,
    captions,
    imageOf,
    ranks,
    worst,
    skipped: found.skipped,
    truncated: found.truncated,
    resumed: found.resumed,
    times: { ...found.times, search, total: (performance.now() - started) / 1000 },
  };
}

/** A set with its embeddings; images that could not be read, and their captions, are left out. */
interface EmbeddedSet extends Pick<
  RetrievalResult,
  "images" | "captions" | "imageOf" | "skipped" | "truncated" | "resumed"
> {
  imageRows: Embeddings;
  captionRows: Embeddings;
  times: StageTimes;
}

async function embedSet(clip: Clip, data: CaptionSet, options: RetrievalOptions): Promise<EmbeddedSet> {
  checkSet(data);
  const images = await embedImages(clip, data, options);
  const failed = new Map(images.errors.map((error) => [error.index, error]));
  if (options.onError === "fail") for (const error of images.errors) throw imageFailure(error);
  const kept = data.images.map((_, i) => i).filter((i) => !failed.has(i));
  if (kept.length === 0) {
    const message = `none of the ${data.images.length} images of ${data.name} could be read`;
    throw new TorchclipError("E_DATASET_EMPTY", message, { subject: data.name });
  }
  const captions = kept.flatMap((i) => data.images[i].captions);
  const texts = await embedCaptions(clip, captions, options);
  return {
    imageRows: kept.length === images.rows ? images : gatherRows(images, kept),
    captionRows: texts,
    images: kept.map((i) => ({ name: data.images[i].name, image: data.images[i].image })),
    captions,
    imageOf: kept.flatMap((i, row) => data.images[i].captions.map(() => row)),
    skipped: images.errors.map(({ name, code, message }) => ({ name, code, message })),
    truncated: countTruncated(clip, captions),
    resumed: { images: images.resumed, captions: texts.resumed },
    times: { ...images.times, forward: images.times.forward + texts.times.forward },
  };
}

/** A set that a program made may hold anything. */
function checkSet({ name, images }: CaptionSet): void {
  const without = images.findIndex(({ captions }) => captions.length === 0);
  if (without < 0) return;
  throw new TorchclipError("E_ARGUMENT", `${images[without].name} of ${name} has no caption`, {
    index: without,
    subject: images[without].name,
  });
}

interface EmbeddedImages extends Embeddings {
  errors: FailedImage[];
  resumed: number;
  times: StageTimes;
}

interface FailedImage {
  index: number;
  name: string;
  code: TorchclipError["code"];
  message: string;
}

function imageFailure({ index, name, code, message }: FailedImage): TorchclipError {
  return new TorchclipError(code, `${name}: ${message}`, { index, subject: name });
}

/** The embeddings of all images of a set; those that cannot be read are NaN. */
async function embedImages(clip: Clip, data: CaptionSet, options: RetrievalOptions): Promise<EmbeddedImages> {
  const { cache, batchSize, autoRotate, signal, onProgress } = options;
  if (cache === undefined) return streamedImages(clip, data, options);
  const { images, name: input } = data;
  const source: ImageSource = {
    count: images.length,
    notes: () => [],
    // Named by its path: files of captions may give one name to two images.
    async *images(skip) {
      for (const { image } of images.slice(skip)) yield await Promise.resolve({ name: image, image });
    },
  };
  const report = (done: number) => onProgress?.("images", done, images.length);
  const how = { input, batchSize, autoRotate, signal, onProgress: report };
  const rows = await cachedImages(clip, source, join(cache, "images"), how);
  const errors = rows.errors.map(({ index, code, message }) => {
    return { index, name: images[index].name, code: code as FailedImage["code"], message };
  });
  return { ...rows, errors };
}

/** The same without a cache. */
async function streamedImages(
  clip: Clip,
  { images }: CaptionSet,
  { batchSize, autoRotate, signal, onProgress }: RetrievalOptions,
): Promise<EmbeddedImages> {
  const times = { read: 0, decode: 0, resize: 0, forward: 0 };
  const dim = clip.info.embedDim;
  const data = new Float32Array(images.length * dim);
  const errors: FailedImage[] = [];
  let done = 0;
  onProgress?.("images", 0, images.length);
  const paths = images.map(({ image }) => image);
  const how = { batchSize, autoRotate, signal, onError: "collect", times } as const;
  for await (const batch of clip.streamImages(paths, how)) {
    data.set(batch.data, done * dim);
    for (const [i, error] of batch.errors.entries()) {
      if (!error) continue;
      const { name } = images[done + i];
      errors.push({ index: done + i, name, code: error.code, message: withoutIndex(error) });
    }
    done += batch.rows;
    onProgress?.("images", done, images.length);
  }
  return { data, rows: images.length, dim, errors, resumed: 0, times };
}

/** Captions in one forward pass. */
const TEXT_BATCH = 256;

/** Captions are cut at the model's context, as all published evaluations do. */
async function embedCaptions(
  clip: Clip,
  captions: readonly string[],
  { cache, signal, onProgress }: RetrievalOptions,
): Promise<Embeddings & { resumed: number; times: Pick<StageTimes, "forward"> }> {
  const total = captions.length;
  const report = (done: number) => onProgress?.("captions", done, total);
  if (cache !== undefined) {
    const how = { input: "captions", truncate: "end", signal, onProgress: report } as const;
    return cachedTexts(clip, captions, join(cache, "captions"), how);
  }
  const started = performance.now();
  const dim = clip.info.embedDim;
  const data = new Float32Array(total * dim);
  report(0);
  for (let from = 0; from < total; from += TEXT_BATCH) {
    const texts = captions.slice(from, from + TEXT_BATCH);
    data.set((await clip.encodeTexts(texts, { truncate: "end", signal })).data, from * dim);
    report(from + texts.length);
  }
  const forward = (performance.now() - started) / 1000;
  return { data, rows: total, dim, resumed: 0, times: { forward } };
}

function countTruncated(clip: Clip, captions: readonly string[]): number {
  let count = 0;
  for (let from = 0; from < captions.length; from += TEXT_BATCH) {
    const { truncated } = clip.tokenize(captions.slice(from, from + TEXT_BATCH), { truncate: "end" });
    count += truncated.filter(Boolean).length;
  }
  return count;
}

const WORST = 10;
const HITS = 3;

/** The queries whose best right answer comes latest; among equals the first. */
function worstQueries(
  queries: Embeddings,
  base: Embeddings,
  ranks: Int32Array,
  answersOf: (query: number) => readonly number[],
  similarity: Similarity,
): WorstQuery[] {
  const order = Array.from(ranks, (_, i) => i).sort((a, b) => ranks[b] - ranks[a] || a - b);
  const chosen = order.slice(0, WORST);
  const scores = similarity(gatherRows(queries, chosen), base);
  return chosen.map((query, i) => {
    const own = scores.subarray(i * base.rows, (i + 1) * base.rows);
    const [answer] = bestOf(answersOf(query), own, 1);
    return { query, rank: ranks[query] + 1, answer, hits: bestOf(own.keys(), own, HITS) };
  });
}

/** The rows with the highest scores, equal ones by their numbers. */
function bestOf(rows: Iterable<number>, scores: Float32Array, count: number): RetrievedRow[] {
  const best: RetrievedRow[] = [];
  for (const row of rows) {
    const score = scores[row];
    const place = best.findIndex((one) => score > one.score);
    if (place >= 0) best.splice(place, 0, { row, score });
    else if (best.length < count) best.push({ row, score });
    best.length = Math.min(best.length, count);
  }
  return best;
}
