import { setImmediate } from "node:timers/promises";
import type { Embeddings } from "../embeddings.js";
import { checkAborted } from "../errors.js";
import type { EmbeddingIndex } from "../search/embedding-index.js";

/** Options of what goes over all rows of an index. */
export interface PassOptions {
  signal?: AbortSignal;
  /** Called with 0 before the first rows and then after each block of them. */
  onProgress?: (done: number, total: number) => void;
}

/** Rows that are read from an index at once. */
const BLOCK_ROWS = 1024;

/**
 * All rows of an index, some at a time; `start` is the number of the first. The event loop gets its turn between
 * two blocks.
 */
export async function* blocksOf(
  index: EmbeddingIndex,
  { signal, onProgress }: PassOptions = {},
): AsyncGenerator<{ start: number; block: Embeddings }> {
  const { rows } = index;
  onProgress?.(0, rows);
  for (let start = 0; start < rows; start += BLOCK_ROWS) {
    await setImmediate();
    checkAborted(signal);
    const block = index.vectors(start, Math.min(BLOCK_ROWS, rows - start));
    yield { start, block };
    onProgress?.(start + block.rows, rows);
  }
}
