import { TorchclipError } from "../errors.js";
import type { Embeddings } from "../embeddings.js";
import type { EmbeddingIndex } from "../search/embedding-index.js";
import { gatherRows } from "../util/rows.js";
import { blocksOf, type PassOptions } from "./blocks.js";

export interface NearDuplicateOptions extends PassOptions {
  /** Cosine from which on two images count as near-duplicates, in −1 to 1. Default 0.96. */
  threshold?: number;
}

/** Images that are near-duplicates of each other. */
export interface DuplicateGroup {
  /** Row numbers of the index, rising; at least two. */
  rows: number[];
  /** The cosine of each with the first, which may be below the threshold: see `nearDuplicates`. */
  scores: number[];
}

const DEFAULT_THRESHOLD = 0.96;
/** Neighbours that are asked for first; a row with more of them is asked again for four times as many. */
const NEIGHBOURS = 16;
const MORE = 4;

/**
 * The groups of rows that are connected by cosines of at least `threshold` (single linkage, exact): largest
 * group first, equal sizes by their first row. Two rows of a group may be less alike than the threshold where
 * others lie between them. Rows of NaN are in no group.
 *
 * @example
 * using index = await EmbeddingIndex.open("photos.npy");
 * for (const { rows } of await nearDuplicates(index)) console.log(rows);
 */
export async function nearDuplicates(
  index: EmbeddingIndex,
  options: NearDuplicateOptions = {},
): Promise<DuplicateGroup[]> {
  const { threshold = DEFAULT_THRESHOLD } = options;
  if (!(threshold >= -1 && threshold <= 1))
    throw new TorchclipError("E_ARGUMENT", `threshold must be a cosine in -1 to 1, not ${threshold}`, {
      subject: "threshold",
    });
  const sets = new DisjointSets(index.rows);
  for await (const { start, block } of blocksOf(index, options))
    await connect(
      index,
      block,
      Array.from({ length: block.rows }, (_, i) => start + i),
      threshold,
      sets,
    );
  return sets.groups().map((rows) => ({ rows, scores: scoresOf(index, rows) }));
}

/** Joins each of `rows`, whose vectors are `queries`, with its neighbours; asks for more where all are near. */
async function connect(
  index: EmbeddingIndex,
  queries: Embeddings,
  rows: readonly number[],
  threshold: number,
  sets: DisjointSets,
): Promise<void> {
  let asked = { queries, rows };
  for (let k = NEIGHBOURS; asked.rows.length > 0; k *= MORE) {
    const found = await index.search(asked.queries, k);
    const open: number[] = [];
    for (const [i, row] of asked.rows.entries()) {
      const isOpen = join(row, found.indices, found.scores, i * found.k, found.k, threshold, sets);
      if (isOpen && found.k < index.rows) open.push(i);
    }
    asked = { queries: gatherRows(asked.queries, open), rows: open.map((i) => asked.rows[i]) };
  }
}

/** Whether the last neighbour that was asked for is near, too, so that there may be more. */
function join(
  row: number,
  indices: Int32Array,
  scores: Float32Array,
  from: number,
  count: number,
  threshold: number,
  sets: DisjointSets,
): boolean {
  for (let at = from; at < from + count; at++) {
    const isNear = indices[at] >= 0 && scores[at] >= threshold;
    if (!isNear) return false;
    sets.join(row, indices[at]);
  }
  return true;
}

function scoresOf(index: EmbeddingIndex, rows: readonly number[]): number[] {
  const first = index.vector(rows[0]);
  return rows.map((row) => {
    const other = index.vector(row);
    let sum = 0;
    for (const [i, value] of first.entries()) sum += value * other[i];
    return sum;
  });
}

/** Union-find over row numbers, with path halving. */
class DisjointSets {
  private readonly parents: Int32Array;

  constructor(private readonly count: number) {
    this.parents = Int32Array.from({ length: count }, (_, row) => row);
  }

  join(a: number, b: number): void {
    const [one, other] = [this.root(a), this.root(b)];
    this.parents[Math.max(one, other)] = Math.min(one, other);
  }

  /** Sets of more than one row, each in the order of the rows. */
  groups(): number[][] {
    const byRoot = new Map<number, number[]>();
    for (let row = 0; row < this.count; row++) {
      const root = this.root(row);
      const group = byRoot.get(root);
      if (group) group.push(row);
      else byRoot.set(root, [row]);
    }
    const groups = [...byRoot.values()].filter((rows) => rows.length > 1);
    return groups.sort((a, b) => b.length - a.length || a[0] - b[0]);
  }

  private root(row: number): number {
    const { parents } = this;
    while (parents[row] !== row) {
      parents[row] = parents[parents[row]];
      row = parents[row];
    }
    return row;
  }
}
