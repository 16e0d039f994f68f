import { setImmediate as nextTurn } from "node:timers/promises";
import type { Embeddings } from "../embeddings.js";
import { checkAborted, TorchclipError } from "../errors.js";
import { rowsOf } from "../util/rows.js";
import type { Similarity } from "./zero-shot.js";

/** The rows that are right answers of each query: those of query q are rows[starts[q]] to rows[starts[q + 1] − 1]. */
export interface Positives {
  starts: Int32Array;
  rows: Int32Array;
}

/** Where the right answers of each query stand among all rows. */
export interface Ranks {
  /** As `Positives.rows`: how many rows come before each right answer, 0 for the first place. */
  ranks: Int32Array;
  /** 1 for each query whose best right answer scores exactly as a wrong one does. */
  tied: Uint8Array;
}

/** Scores that are held at once: 8 MB. */
const BLOCK_SCORES = 1 << 21;

/**
 * Ranks of all right answers by exact search: for each of them the rows with a higher score are counted, and those
 * with an equal score and a lower number, as open_clip_train does. The scores of some queries with all rows are in
 * memory at once, never those of all queries; the event loop gets a turn between blocks.
 */
export async function ranksOf(
  queries: Embeddings,
  base: Embeddings,
  { starts, rows }: Positives,
  how: { similarity: Similarity; signal?: AbortSignal },
): Promise<Ranks> {
  const ranks = new Int32Array(rows.length);
  const tied = new Uint8Array(queries.rows);
  const most = Math.max(1, Math.floor(BLOCK_SCORES / base.rows));
  for (let first = 0; first < queries.rows; first += most) {
    const count = Math.min(most, queries.rows - first);
    const scores = how.similarity(rowsOf(queries, first, count), base);
    for (let i = 0; i < count; i++) {
      const own = scores.subarray(i * base.rows, (i + 1) * base.rows);
      const [from, to] = [starts[first + i], starts[first + i + 1]];
      for (let at = from; at < to; at++) ranks[at] = before(own, rows[at]);
      tied[first + i] = isTied(own, rows.subarray(from, to)) ? 1 : 0;
    }
    await nextTurn();
    checkAborted(how.signal);
  }
  return { ranks, tied };
}

/** How many rows come before a row: those that score higher, or as high and have a lower number. */
function before(scores: Float32Array, row: number): number {
  const own = scores[row];
  let count = 0;
  for (let i = 0; i < row; i++) if (scores[i] >= own) count++;
  for (let i = row + 1; i < scores.length; i++) if (scores[i] > own) count++;
  return count;
}

/** Whether a wrong row scores exactly as the best right one. */
function isTied(scores: Float32Array, right: Int32Array): boolean {
  if (right.length === 0) return false;
  const best = right.reduce((most, row) => Math.max(most, scores[row]), -Infinity);
  let equal = 0;
  for (const score of scores) if (score === best) equal++;
  for (const row of right) if (scores[row] === best) equal--;
  return equal > 0;
}

/** Throws E_ARGUMENT, with the number of the row, where one holds a NaN or an infinity. */
export function checkFinite({ data, dim }: Embeddings, what: string): void {
  const at = data.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  const row = Math.floor(at / dim);
  throw new TorchclipError("E_ARGUMENT", `the embedding of ${what} ${row} holds ${data[at]}`, { index: row });
}
