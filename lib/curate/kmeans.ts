import { normalizeRows, similarity, topK, type Embeddings } from "../embeddings.js";
import { checkAborted, TorchclipError } from "../errors.js";
import type { EmbeddingIndex } from "../search/embedding-index.js";
import { below, seededRandom, shuffle, type Random } from "../util/random.js";
import { gatherRows, rowAt } from "../util/rows.js";
import { blocksOf, type PassOptions } from "./blocks.js";

export interface ClusterOptions extends PassOptions {
  /** Clusters, 1 to the number of rows. */
  clusters: number;
  /** Most rounds of the algorithm; it ends before where no row changes its cluster. Default 50. */
  iterations?: number;
  /** Seed of the choice of rows and of the first centroids. Default 0. */
  seed?: number;
}

export interface Clustering {
  /** float32 [clusters, dim], normalised. */
  centroids: Embeddings;
  /** Cluster of each row of the index; −1 for a row of NaN. */
  assignments: Int32Array;
  /** Cosine of each row with its centroid; NaN for a row of NaN. */
  scores: Float32Array;
  /** Rows of each cluster. */
  sizes: number[];
  /** Rounds that were done. */
  iterations: number;
}

const ITERATIONS = 50;
/**
 * Rows a cluster from which the centroids are learned; more change them little and cost time. The number is
 * that of Faiss (ClusteringParameters::max_points_per_centroid).
 */
const ROWS_A_CLUSTER = 256;

/**
 * Spherical k-means (Dhillon and Modha 2001, doi:10.1023/A:1007612920971): rows go to the centroid of the
 * largest cosine, and a centroid is the normalised sum of its rows. The first centroids are chosen by
 * k-means++ (Arthur and Vassilvitskii 2007). Learned from at most 256 rows a cluster, chosen at random; the
 * same seed gives the same clusters. Clusters are numbered by falling size. E_ARGUMENT for `clusters` that the
 * index cannot have.
 *
 * @example
 * using index = await EmbeddingIndex.open("photos.npy");
 * const { assignments, sizes } = await clusterIndex(index, { clusters: 20 });
 */
export async function clusterIndex(index: EmbeddingIndex, options: ClusterOptions): Promise<Clustering> {
  const { clusters, iterations: most = ITERATIONS, seed = 0, signal } = options;
  const wrong = (why: string) =>
    new TorchclipError("E_ARGUMENT", `clusters must be a whole number ${why}, not ${clusters}`, {
      subject: "clusters",
    });
  if (!Number.isInteger(clusters) || clusters < 1) throw wrong("of at least 1");
  const random = seededRandom(seed);
  const sample = await sampleOf(index, clusters * ROWS_A_CLUSTER, random, signal);
  if (clusters > sample.rows) throw wrong(`of at most the ${sample.rows} rows that can be clustered`);
  const first = firstCentroids(sample, clusters, random, signal);
  const { centroids, iterations } = await learn(sample, first, most, signal);
  const { assignments, scores } = await assignAll(index, centroids, options);
  return numbered({ centroids, assignments, scores, iterations });
}

/** Rows of an index that are no NaN: all of them, or `most` chosen at random. */
async function sampleOf(
  index: EmbeddingIndex,
  most: number,
  random: Random,
  signal: AbortSignal | undefined,
): Promise<Embeddings> {
  const { dim } = index;
  const whole: number[] = [];
  for await (const { start, block } of blocksOf(index, { signal }))
    for (let i = 0; i < block.rows; i++) if (!Number.isNaN(block.data[i * dim])) whole.push(start + i);
  const chosen =
    whole.length > most
      ? shuffle(random, whole)
          .slice(0, most)
          .sort((a, b) => a - b)
      : whole;
  const data = new Float32Array(chosen.length * dim);
  chosen.forEach((row, i) => data.set(index.vector(row), i * dim));
  return { data, rows: chosen.length, dim };
}

/** Each next centroid is a row, with a probability by its squared distance to the nearest one so far. */
function firstCentroids(
  sample: Embeddings,
  clusters: number,
  random: Random,
  signal: AbortSignal | undefined,
): Embeddings {
  const { rows, dim } = sample;
  const data = new Float32Array(clusters * dim);
  const nearest = new Float64Array(rows).fill(Infinity);
  let row = below(random, rows);
  for (let cluster = 0; cluster < clusters; cluster++) {
    checkAborted(signal);
    data.set(rowAt(sample, row), cluster * dim);
    const scores = similarity(sample, { data: rowAt(sample, row), rows: 1, dim });
    // Of unit vectors, the squared distance is 2 − 2 cos.
    for (let i = 0; i < rows; i++) nearest[i] = Math.min(nearest[i], Math.max(0, 1 - scores[i]));
    row = draw(nearest, random);
  }
  return { data, rows: clusters, dim };
}

/** An index, with a probability in proportion to its weight; any where all weights are 0. */
function draw(weights: Float64Array, random: Random): number {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (total === 0) return below(random, weights.length);
  let left = random() * total;
  for (const [i, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return i;
  }
  return weights.length - 1;
}

async function learn(
  sample: Embeddings,
  first: Embeddings,
  most: number,
  signal: AbortSignal | undefined,
): Promise<{ centroids: Embeddings; iterations: number }> {
  let centroids = first;
  let before = new Int32Array(sample.rows).fill(-1);
  for (let round = 1; round <= most; round++) {
    checkAborted(signal);
    const { indices, scores } = await topK(sample, centroids, 1);
    if (indices.every((cluster, row) => cluster === before[row])) return { centroids, iterations: round };
    before = Int32Array.from(indices);
    centroids = meansOf(sample, indices, scores, centroids.rows);
  }
  return { centroids, iterations: most };
}

/** A cluster that lost all its rows gets the row that is farthest from its own centroid. */
function meansOf(
  sample: Embeddings,
  assignments: Int32Array,
  scores: Float32Array,
  clusters: number,
): Embeddings {
  const { dim } = sample;
  const data = new Float32Array(clusters * dim);
  const sizes = new Int32Array(clusters);
  for (const [row, cluster] of assignments.entries()) {
    sizes[cluster]++;
    const values = rowAt(sample, row);
    for (let i = 0; i < dim; i++) data[cluster * dim + i] += values[i];
  }
  const farthest = [...scores.keys()].sort((a, b) => scores[a] - scores[b]);
  let next = 0;
  for (const [cluster, size] of sizes.entries())
    if (size === 0) data.set(rowAt(sample, farthest[next++]), cluster * dim);
  return normalizeRows({ data, rows: clusters, dim });
}

async function assignAll(
  index: EmbeddingIndex,
  centroids: Embeddings,
  options: PassOptions,
): Promise<{ assignments: Int32Array; scores: Float32Array }> {
  const assignments = new Int32Array(index.rows);
  const scores = new Float32Array(index.rows);
  for await (const { start, block } of blocksOf(index, options)) {
    const found = await topK(block, centroids, 1);
    assignments.set(found.indices, start);
    scores.set(found.scores, start);
  }
  return { assignments, scores };
}

/** The clusters in the order of their sizes. */
function numbered(found: Omit<Clustering, "sizes">): Clustering {
  const { centroids, assignments } = found;
  const sizes = new Array<number>(centroids.rows).fill(0);
  for (const cluster of assignments) if (cluster >= 0) sizes[cluster]++;
  const order = [...sizes.keys()].sort((a, b) => sizes[b] - sizes[a] || a - b);
  const number = new Int32Array(centroids.rows);
  order.forEach((cluster, i) => (number[cluster] = i));
  return {
    ...found,
    centroids: gatherRows(centroids, order),
    assignments: assignments.map((cluster) => (cluster < 0 ? -1 : number[cluster])),
    sizes: order.map((cluster) => sizes[cluster]),
  };
}
