import { types } from "node:util";
import { addon } from "./addon.js";
import { TorchclipError, toTorchclipError } from "./errors.js";
import { own } from "./util/own.js";

/** Rows of vectors: float32 [rows, dim], row-major. */
export interface Embeddings {
  data: Float32Array;
  rows: number;
  dim: number;
}

export interface SimilarityOptions {
  /** Where the product is computed: "cpu" (default) or "cuda", "cuda:N". */
  device?: string;
}

/**
 * Cosine of every row of `a` with every row of `b` (both normalised): Float32Array [a.rows × b.rows]. Runs on
 * the calling thread; for many rows against a few best, `topK` leaves the event loop free.
 */
export function similarity(a: Embeddings, b: Embeddings, options: SimilarityOptions = {}): Float32Array {
  checkPair(a, b);
  const out = new Float32Array(a.rows * b.rows);
  try {
    if (out.length) addon().similarity(a.data, a.rows, b.data, b.rows, a.dim, options.device ?? "cpu", out);
  } catch (error) {
    throw toTorchclipError(error);
  }
  return out;
}

export interface TopK {
  /** int32 [queries.rows × k]: row numbers of `base`, best first, equal scores by row number. */
  indices: Int32Array;
  /** float32 [queries.rows × k]: their cosines. */
  scores: Float32Array;
  k: number;
}

/**
 * Rows of `base` that are searched at once: as many bytes, but no fewer rows than the int8 prefilter needs
 * (native/core/search).
 */
const BLOCK_BYTES = 32 << 20;
const BLOCK_ROWS = 16384;

/**
 * The k rows of `base` nearest to each query, exact. `k` is lowered to base.rows where that is less. Scores
 * that are not numbers are no hits: past the last hit the index is −1 and the score NaN. The arrays may be
 * transferred or changed only when the promise has settled; a transferred one is E_ARGUMENT. `base` is copied
 * block by block, unless its memory is a SharedArrayBuffer's; for a base that is searched often, an
 * EmbeddingIndex keeps its own copy.
 */
export async function topK(
  queries: Embeddings,
  base: Embeddings,
  k: number,
  options: SimilarityOptions = {},
): Promise<TopK> {
  checkPair(queries, base);
  if (!Number.isInteger(k) || k < 1)
    throw new TorchclipError("E_ARGUMENT", `k must be a whole number of at least 1, not ${k}`);
  const n = Math.min(k, base.rows);
  const indices = new Int32Array(queries.rows * n);
  const scores = new Float32Array(queries.rows * n);
  const result = { indices, scores, k: n };
  if (indices.length === 0) return result;
  try {
    const asked = await own(queries.data, "the first embeddings");
    const search = (data: Float32Array, rows: number, first: number) =>
      addon().topK(
        asked,
        queries.rows,
        data,
        rows,
        first,
        base.dim,
        n,
        options.device ?? "cpu",
        indices,
        scores,
      );
    if (types.isSharedArrayBuffer(base.data.buffer)) await search(base.data, base.rows, 0);
    else await eachBlock(base, search);
  } catch (error) {
    throw toTorchclipError(error);
  }
  return result;
}

/** Calls `work` for one block of rows after another, each a copy; while it runs the next block is copied. */
async function eachBlock(
  base: Embeddings,
  work: (data: Float32Array, rows: number, first: number) => Promise<void>,
): Promise<void> {
  const { dim, rows } = base;
  const most = Math.min(rows, Math.max(BLOCK_ROWS, Math.floor(BLOCK_BYTES / 4 / dim)));
  const buffers = [new Float32Array(most * dim), new Float32Array(rows > most ? most * dim : 0)];
  let running = Promise.resolve();
  try {
    for (let first = 0, turn = 0; first < rows; first += most, turn ^= 1) {
      const count = Math.min(most, rows - first);
      const block = await own(base.data, "the second embeddings", {
        start: first * dim,
        end: (first + count) * dim,
        into: buffers[turn],
      });
      await running;
      running = work(block, count, first);
      running.catch(() => undefined); // awaited below
    }
  } finally {
    await running; // native code reads the buffers until then
  }
}

/** Whether a value, which callers in plain JavaScript may give, is rows of vectors. */
export function isEmbeddings(value: unknown): value is Embeddings {
  const { data, rows, dim } = (value ?? {}) as Partial<Record<keyof Embeddings, unknown>>;
  if (!(data instanceof Float32Array) || typeof rows !== "number" || typeof dim !== "number") return false;
  return data.length === rows * dim;
}

function checkPair(a: Embeddings, b: Embeddings): void {
  for (const [name, given] of Object.entries({ first: a, second: b })) {
    if (isEmbeddings(given)) continue;
    const message = `the ${name} embeddings are not { data: Float32Array of rows × dim, rows, dim }`;
    throw new TorchclipError("E_ARGUMENT", message);
  }
  if (a.dim !== b.dim)
    throw new TorchclipError("E_ARGUMENT", `embeddings of different dimension: ${a.dim} and ${b.dim}`);
}

/** Divides each row by its L2 norm, in place. */
export function normalizeRows(e: Embeddings): Embeddings {
  for (let r = 0; r < e.rows; r++) {
    const row = e.data.subarray(r * e.dim, (r + 1) * e.dim);
    let sum = 0;
    for (const x of row) sum += x * x;
    const norm = Math.sqrt(sum);
    for (let i = 0; i < row.length; i++) row[i] /= norm;
  }
  return e;
}
