import type { Embeddings } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import { percentile, resamples, type Interval } from "./metrics.js";
import { checkFinite, ranksOf, type Positives, type Ranks } from "./retrieval-ranks.js";
import { gatherRows } from "../util/rows.js";
import type { Similarity } from "./zero-shot.js";

/** A mean over queries with its interval: 95 %, percentile bootstrap over images (with all their captions). */
export interface Estimate {
  value: number;
  interval: Interval;
}

/** How well the right answers of a direction's queries are found. */
export interface DirectionMetrics {
  queries: number;
  /** Share of queries with a right answer among the first k. */
  recall: ({ k: number } & Estimate)[];
  /** Median of the rank of the best right answer, 1 for the first place; rounded down, as open_clip does. */
  medianRank: Estimate;
  meanRank: Estimate;
  /**
   * Normalised discounted cumulative gain of the first ten (Järvelin & Kekäläinen 2002, gain 1 for a right answer,
   * discount log2(place + 1)), MTEB's main score of retrieval. Absent where each query has one right answer that
   * was chosen among several.
   */
  ndcg10?: Estimate;
  /** Queries whose best right answer scores exactly as a wrong one: the lower number decided its place. */
  ties: number;
}

export interface BothDirections {
  /** An image is the query, captions are searched. Published as text retrieval. */
  imageToText: DirectionMetrics;
  /** A caption is the query, images are searched. Published as image retrieval. */
  textToImage: DirectionMetrics;
}

/** Retrieval in both published definitions, which differ where images have several captions. */
export interface RetrievalMetrics {
  images: number;
  captions: number;
  /**
   * All captions are queries and answers; an image is found where any of its captions is among the first k. That of
   * the CLIP paper, CLIP_benchmark and the results tables of open_clip.
   */
  anyPositive: BothDirections;
  /**
   * The first caption of each image alone, so that query and answer are pairs: recall is by the rank of the pair.
   * That of open_clip_train, whose captions are rows of a CSV file.
   */
  oneCaption: BothDirections;
  /** Mean of both directions' Recall@1 with any positive: DataComp's main score of COCO and Flickr30k. */
  meanRecall1: number;
}

export interface RetrievalMetricsOptions {
  /** Of the bootstrap. Default 0. */
  seed?: number;
  signal?: AbortSignal;
}

/** The best rank of each query (0 for the first place), as tables of single queries need it. */
export interface QueryRanks {
  imageToText: Int32Array;
  textToImage: Int32Array;
}

/**
 * All retrieval metrics of some embeddings, normalised, [images, dim] and [captions, dim]. `imageOf`: the image of
 * each caption.
 *
 * Throws E_ARGUMENT where an embedding holds a NaN, a caption has no image or an image no caption.
 */
export async function measureRetrieval(
  images: Embeddings,
  captions: Embeddings,
  imageOf: ArrayLike<number>,
  similarity: Similarity,
  options: RetrievalMetricsOptions = {},
): Promise<{ metrics: RetrievalMetrics; ranks: QueryRanks }> {
  checkFinite(images, "image");
  checkFinite(captions, "caption");
  const captionsOf = captionsOfImages(imageOf, images.rows, captions.rows);
  const { seed = 0, signal } = options;
  const how = { similarity, signal };
  const owners = Int32Array.from(imageOf);
  const own = Int32Array.from({ length: images.rows }, (_, i) => i);

  const toText = await ranksOf(images, captions, captionsOf, how);
  const toImage = await ranksOf(captions, images, oneEach(owners), how);
  const anyPositive = {
    imageToText: direction(toText, captionsOf, own, seed, true),
    textToImage: direction(toImage, oneEach(owners), owners, seed, true),
  };

  const firstCaptions = gatherRows(
    captions,
    own.map((image) => captionsOf.rows[captionsOf.starts[image]]),
  );
  const pairs = oneEach(own);
  const pairToText = await ranksOf(images, firstCaptions, pairs, how);
  const pairToImage = await ranksOf(firstCaptions, images, pairs, how);
  const oneCaption = {
    imageToText: direction(pairToText, pairs, own, seed, false),
    textToImage: direction(pairToImage, pairs, own, seed, false),
  };

  const recall1 = ({ recall }: DirectionMetrics) => recall[0].value;
  return {
    metrics: {
      images: images.rows,
      captions: captions.rows,
      anyPositive,
      oneCaption,
      meanRecall1: (recall1(anyPositive.imageToText) + recall1(anyPositive.textToImage)) / 2,
    },
    ranks: { imageToText: bestRanks(toText, captionsOf), textToImage: toImage.ranks },
  };
}

/** The captions of each image, in their order. */
function captionsOfImages(imageOf: ArrayLike<number>, images: number, captions: number): Positives {
  if (imageOf.length !== captions)
    throw new TorchclipError("E_ARGUMENT", `${imageOf.length} images for ${captions} captions`, {
      subject: "imageOf",
    });
  const lists = Array.from({ length: images }, (): number[] => []);
  for (let caption = 0; caption < captions; caption++) {
    const image = imageOf[caption];
    if (!Number.isInteger(image) || image < 0 || image >= images) {
      const message = `caption ${caption} is of image ${image}, and there are ${images}`;
      throw new TorchclipError("E_ARGUMENT", message, { index: caption });
    }
    lists[image].push(caption);
  }
  const without = lists.findIndex((list) => list.length === 0);
  if (without >= 0)
    throw new TorchclipError("E_ARGUMENT", `image ${without} has no caption`, { index: without });
  const starts = new Int32Array(images + 1);
  for (const [image, list] of lists.entries()) starts[image + 1] = starts[image] + list.length;
  return { starts, rows: Int32Array.from(lists.flat()) };
}

/** One right answer for each query. */
function oneEach(rows: Int32Array): Positives {
  return { starts: Int32Array.from({ length: rows.length + 1 }, (_, i) => i), rows };
}

/** The rank of the best right answer of each query. */
function bestRanks({ ranks }: Ranks, { starts }: Positives): Int32Array {
  return Int32Array.from({ length: starts.length - 1 }, (_, query) =>
    ranks.subarray(starts[query], starts[query + 1]).reduce((a, b) => Math.min(a, b)),
  );
}

const RECALL_AT = [1, 5, 10];
const GAINS = 10;

function direction(
  found: Ranks,
  positives: Positives,
  imageOf: Int32Array,
  seed: number,
  hasGain: boolean,
): DirectionMetrics {
  const best = bestRanks(found, positives);
  const recalls = RECALL_AT.map((k) => Float64Array.from(best, (rank) => (rank < k ? 1 : 0)));
  const gains = hasGain ? [gainsOf(found, positives)] : [];
  const places = Float64Array.from(best, (rank) => rank + 1);
  const { median, means } = estimates(places, [places, ...recalls, ...gains], imageOf, seed);
  const [meanRank, ...others] = means;
  return {
    queries: best.length,
    recall: RECALL_AT.map((k, i) => ({ k, ...others[i] })),
    medianRank: median,
    meanRank,
    ...(hasGain ? { ndcg10: others[RECALL_AT.length] } : {}),
    ties: found.tied.reduce((sum, one) => sum + one, 0),
  };
}

/** nDCG@10 of each query. */
function gainsOf({ ranks }: Ranks, { starts }: Positives): Float64Array {
  const discount = (rank: number) => 1 / Math.log2(rank + 2);
  return Float64Array.from({ length: starts.length - 1 }, (_, query) => {
    const own = ranks.subarray(starts[query], starts[query + 1]);
    const gain = own.reduce((sum, rank) => sum + (rank < GAINS ? discount(rank) : 0), 0);
    let ideal = 0;
    for (let place = 0; place < Math.min(GAINS, own.length); place++) ideal += discount(place);
    return gain / ideal;
  });
}

/**
 * The floor of the median of `places`, and the means of `values`, over the queries; with their intervals from
 * resamples of the images with replacement (Efron 1979). All queries of an image are drawn together, as captions of
 * one image depend on each other. `imageOf`: the image of each query.
 */
function estimates(
  places: Float64Array,
  values: readonly Float64Array[],
  imageOf: Int32Array,
  seed: number,
): { median: Estimate; means: Estimate[] } {
  const images = imageOf.reduce((most, image) => Math.max(most, image + 1), 0);
  const counts = sumsByImage(new Float64Array(imageOf.length).fill(1), imageOf, images);
  const sums = values.map((one) => sumsByImage(one, imageOf, images));
  const order = Int32Array.from(places, (_, i) => i).sort((a, b) => places[a] - places[b]);
  const sorted = Float64Array.from(order, (query) => places[query]);
  const sortedImages = order.map((query) => imageOf[query]);
  const medians: number[] = [];
  const means = values.map((): number[] => []);
  for (const times of draws(images, seed)) {
    const queries = dot(times, counts);
    medians.push(weightedMedian(sorted, sortedImages, times, queries));
    for (const [i, sum] of sums.entries()) means[i].push(dot(times, sum) / queries);
  }
  const once = new Int32Array(images).fill(1);
  return {
    median: {
      value: weightedMedian(sorted, sortedImages, once, imageOf.length),
      interval: percentile(medians),
    },
    means: values.map((one, i) => ({
      value: one.reduce((a, b) => a + b, 0) / one.length,
      interval: percentile(means[i]),
    })),
  };
}

/** How often each image is drawn, for each resample; always in the same array. */
function* draws(images: number, seed: number): Generator<Int32Array> {
  const times = new Int32Array(images);
  for (const rows of resamples(images, seed)) {
    times.fill(0);
    for (const row of rows) times[row]++;
    yield times;
  }
}

/** The sum of the values of each image's queries. */
function sumsByImage(values: Float64Array, imageOf: Int32Array, images: number): Float64Array {
  const sums = new Float64Array(images);
  for (const [query, image] of imageOf.entries()) sums[image] += values[query];
  return sums;
}

function dot(a: Int32Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** floor(median) of sorted values, each taken as often as its image is drawn; `total` of them together. */
function weightedMedian(sorted: Float64Array, imageOf: Int32Array, times: Int32Array, total: number): number {
  const [lower, upper] = [Math.floor((total - 1) / 2), Math.floor(total / 2)];
  let passed = 0;
  let below = NaN;
  for (let i = 0; i < sorted.length; i++) {
    passed += times[imageOf[i]];
    if (Number.isNaN(below) && passed > lower) below = sorted[i];
    if (passed > upper) return Math.floor((below + sorted[i]) / 2);
  }
  return NaN;
}
