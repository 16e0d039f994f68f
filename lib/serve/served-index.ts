import type { Embeddings } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import { RequestError } from "./errors.js";
import type { ServedModel } from "./model.js";
import { mergeAnswers, splitPlace, type Shard, type ShardAnswer, type ShardCall } from "./shards/shard.js";

/** Servers that may pass a request on. More are servers that ask each other in a circle. */
const MOST_HOPS = 8;

/**
 * An index that `/v1/search` searches: one or several shards, whose rows are numbered one after another, in
 * the order of the shards.
 */
export class ServedIndex {
  private searches = 0;

  /** @param maxSearches Searches that may wait or run; more are refused with E_BUSY. */
  constructor(
    readonly name: string,
    /** The one that made the index. */
    readonly model: ServedModel,
    readonly shards: readonly Shard[],
    private readonly maxSearches: number,
  ) {}

  get rows(): number {
    return this.shards.reduce((sum, { rows }) => sum + rows, 0);
  }

  /**
   * The `count` rows of all shards that are nearest to the one query. Where one shard fails, the others are
   * told to stop, and its error is that of the search.
   */
  async nearest(query: Embeddings, count: number, { signal, hops }: ShardCall): Promise<ShardAnswer> {
    this.checkHops(hops);
    if (this.searches >= this.maxSearches)
      throw new RequestError(429, "E_BUSY", `${this.searches} searches wait already; try again later`);
    this.searches++;
    const failed = new AbortController();
    const call = { signal: AbortSignal.any([signal, failed.signal]), hops };
    try {
      return mergeAnswers(
        await Promise.all(this.shards.map((shard) => shard.nearest(query, count, call))),
        count,
      );
    } catch (error) {
      failed.abort();
      throw error;
    } finally {
      this.searches--;
    }
  }

  /** The thumbnail at the place that a hit named, as WebP; undefined where there is none. */
  async thumbnail(place: string, call: ShardCall): Promise<Uint8Array | undefined> {
    this.checkHops(call.hops);
    const found = splitPlace(place, this.shards);
    return found.shard?.thumbnail(found.place, call);
  }

  close(): void {
    for (const shard of this.shards) shard.close();
  }

  private checkHops(hops: number): void {
    if (hops <= MOST_HOPS) return;
    const message = `the index ${this.name} was passed on by ${hops} servers: they ask each other in a circle`;
    throw new TorchclipError("E_SHARD", message);
  }
}
