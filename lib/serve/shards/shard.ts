import type { Embeddings } from "../../embeddings.js";
import type { StoredHit } from "../../search/stored.js";

/** A row that a query found, and where its thumbnail is. */
export interface ShardHit extends StoredHit {
  /**
   * The place of the row's image, for `thumbnail`; undefined where there is none. Unlike a row's number it
   * does not depend on how many rows other shards have.
   */
  place?: string;
}

/** The nearest rows of a shard, or of all shards of an index. */
export interface ShardAnswer {
  /** Rows that were searched. */
  rows: number;
  /** Best first, equal scores by row number. */
  hits: ShardHit[];
}

/** What belongs to one search or thumbnail. */
export interface ShardCall {
  signal: AbortSignal;
  /** How many servers have passed the request on: 0 where it comes from a client. */
  hops: number;
}

/** A part of an index: a file, or an index of another server. */
export interface Shard {
  /** For messages: a path, or a URL without what may be secret. */
  readonly where: string;
  /** As far as known: those of another server are known from its last answer. */
  readonly rows: number;
  /** The `count` rows that are nearest to the one query, numbered within the shard. */
  nearest: (query: Embeddings, count: number, call: ShardCall) => Promise<ShardAnswer>;
  /** The thumbnail at a place, as WebP; undefined where there is none. */
  thumbnail: (place: string, call: ShardCall) => Promise<Uint8Array | undefined>;
  close: () => void;
}

/**
 * The nearest rows of all shards, from those of each: the same rows, in the same order, as those of one index
 * that holds the rows of the first shard, then those of the second, and so on. The place of an image begins
 * with the number of its shard, unless there is only one.
 */
export function mergeAnswers(answers: readonly ShardAnswer[], count: number): ShardAnswer {
  if (answers.length === 1) return answers[0];
  let rows = 0;
  const all: ShardHit[] = [];
  for (const [shard, answer] of answers.entries()) {
    for (const hit of answer.hits) {
      const place = hit.place === undefined ? undefined : `${shard}-${hit.place}`;
      all.push({ ...hit, row: rows + hit.row, place });
    }
    rows += answer.rows;
  }
  all.sort((a, b) => b.score - a.score || a.row - b.row);
  return { rows, hits: all.slice(0, count).map((hit, i) => ({ ...hit, rank: i + 1 })) };
}

/** The shard of a place, and the place there. */
export function splitPlace(place: string, shards: readonly Shard[]): { shard?: Shard; place: string } {
  if (shards.length === 1) return { shard: shards[0], place };
  const [, number = "", rest = ""] = /^(\d{1,6})-(.+)$/.exec(place) ?? [];
  return { shard: number === "" ? undefined : shards[Number(number)], place: rest };
}
