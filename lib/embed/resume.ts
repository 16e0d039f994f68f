import { isFast } from "../models/runner.js";
import { matched, type Identity, type StoredRows } from "./identity.js";

export interface ResumeOptions<T extends Identity> {
  /** Everything that the result is of, in its order. */
  items: AsyncIterable<T>;
  stored: StoredRows;
  /** See `wholeBatchesOf`. */
  wholeBatches: number | undefined;
  /** Takes a stored row over for the item at `position`. */
  take: (position: number, row: number, item: T) => void;
  /**
   * With `wholeBatches`, before the first item that is computed: no stored row from `count` on is taken over.
   */
  cut?: (count: number) => Promise<void>;
  /** Called with the number of items that are done, 0 before the first. */
  onProgress?: (done: number) => void;
}

/**
 * A run that computes only what an earlier one did not leave: hands out those items, and says where their
 * results belong.
 */
export class Resume<T extends Identity> {
  private positions = 0;
  private takenOver = 0;
  private computed = 0;
  private readonly waiting: { position: number; item: T }[] = [];

  constructor(private readonly options: ResumeOptions<T>) {}

  /** Items so far. */
  get length(): number {
    return this.positions;
  }

  /** How many were taken over. */
  get taken(): number {
    return this.takenOver;
  }

  /** The items that must be computed, each to be asked for by `next` later. */
  async *missing(): AsyncGenerator<T> {
    const { items, stored, wholeBatches, take, cut } = this.options;
    this.report(); // so that a progress bar shows the time before the first batch is done
    for await (const { item, row } of matched(items, stored, wholeBatches)) {
      const position = this.positions++;
      if (row !== undefined) {
        take(position, row, item);
        this.takenOver++;
        this.report();
        continue;
      }
      if (wholeBatches !== undefined && position === this.takenOver) await cut?.(this.takenOver);
      this.waiting.push({ position, item });
      yield item;
    }
  }

  /** The next `count` of them, in order, whose results are there. */
  next(count: number): { position: number; item: T }[] {
    return this.waiting.splice(0, count);
  }

  /** Says that `count` results are kept. */
  finished(count: number): void {
    this.computed += count;
    this.report();
  }

  private report(): void {
    this.options.onProgress?.(this.takenOver + this.computed);
  }
}

/**
 * Which rows may be taken over: the fast runner gives an item the same bits in every batch, TorchScript only
 * in the same batches.
 */
export function wholeBatchesOf(runner: string, batchSize: number): number | undefined {
  return isFast(runner) ? undefined : batchSize;
}
