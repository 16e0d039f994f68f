import type { Embeddings } from "../../embeddings.js";
import type { StoredHit } from "../../search/stored.js";

/** The nearest rows of a shard. */
export interface ShardAnswer {
  /** Rows of the shard when it was searched. */
  rows: number;
  /** Best first, equal scores by row number; rows are numbered within the shard. */
  hits: StoredHit[];
}

/** A part of an index: a file, or an index of another server. */
export interface Shard {
  /** For messages: a path, or a URL without what may be secret. */
  readonly where: string;
  /** As far as known: those of another server are known from its last answer. */
  readonly rows: number;
  /** Whether it has images to show. */
  readonly hasImages: boolean;
  /** The `count` rows that are nearest to the one query. */
  nearest: (query: Embeddings, count: number, signal: AbortSignal) => Promise<ShardAnswer>;
  /** The thumbnail of a row's image, as WebP; undefined where there is none. */
  thumbnail: (row: number, signal: AbortSignal) => Promise<Uint8Array | undefined>;
  close: () => void;
}

/**
 * The nearest rows of all shards, from those of each: the same rows, in the same order, as those of one index
 * that holds the rows of the first shard, then those of the second, and so on.
 */
export function mergeAnswers(answers: readonly ShardAnswer[], count: number): StoredHit[] {
  let first = 0;
  const all: StoredHit[] = [];
  for (const { rows, hits } of answers) {
    for (const hit of hits) all.push({ ...hit, row: first + hit.row });
    first += rows;
  }
  all.sort((a, b) => b.score - a.score || a.row - b.row);
  return all.slice(0, count).map((hit, i) => ({ ...hit, rank: i + 1 }));
}
