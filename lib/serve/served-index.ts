import type { Embeddings } from "../embeddings.js";
import type { StoredHit } from "../search/stored.js";
import type { ServedModel } from "./model.js";
import { mergeAnswers, type Shard } from "./shards/shard.js";

/** The nearest rows of an index. */
export interface IndexHits {
  /** Rows of the whole index. */
  rows: number;
  hits: StoredHit[];
}

/**
 * An index that `/v1/search` searches: one or several shards, whose rows are numbered one after another, in
 * the order of the shards.
 */
export class ServedIndex {
  constructor(
    readonly name: string,
    /** The one that made the index. */
    readonly model: ServedModel,
    readonly shards: readonly Shard[],
  ) {}

  get rows(): number {
    return this.shards.reduce((sum, { rows }) => sum + rows, 0);
  }

  get hasImages(): boolean {
    return this.shards.some(({ hasImages }) => hasImages);
  }

  /** The `count` rows of all shards that are nearest to the one query. Rejects where a shard does not answer. */
  async nearest(query: Embeddings, count: number, signal: AbortSignal): Promise<IndexHits> {
    const answers = await Promise.all(this.shards.map((shard) => shard.nearest(query, count, signal)));
    return { rows: answers.reduce((sum, { rows }) => sum + rows, 0), hits: mergeAnswers(answers, count) };
  }

  /** Whether a row has an image that may be shown. */
  hasImage(row: number): boolean {
    return this.find(row)?.shard.hasImages ?? false;
  }

  /** The thumbnail of a row's image, as WebP; undefined where there is none. */
  async thumbnail(row: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const found = this.find(row);
    return found?.shard.thumbnail(found.row, signal);
  }

  close(): void {
    for (const shard of this.shards) shard.close();
  }

  /** The shard that holds a row, and the row's number there. */
  private find(row: number): { shard: Shard; row: number } | undefined {
    let first = 0;
    for (const shard of this.shards) {
      if (row < first + shard.rows) return { shard, row: row - first };
      first += shard.rows;
    }
    return undefined;
  }
}
