import { addon } from "./addon.js";
import { TorchclipError } from "./errors.js";

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
 * Cosine of every row of `a` with every row of `b` (both normalised): Float32Array [a.rows × b.rows]. Runs on the
 * calling thread; for many rows against a few best, `topK` leaves the event loop free.
 */
export function similarity(a: Embeddings, b: Embeddings, options: SimilarityOptions = {}): Float32Array {
  checkPair(a, b);
  const out = new Float32Array(a.rows * b.rows);
  if (out.length) addon().similarity(a.data, a.rows, b.data, b.rows, a.dim, options.device ?? "cpu", out);
  return out;
}

export interface TopK {
  /** int32 [queries.rows × k]: row numbers of `base`, best first, equal scores by row number. */
  indices: Int32Array;
  /** float32 [queries.rows × k]: their cosines. */
  scores: Float32Array;
  k: number;
}

/** The k rows of `base` nearest to each query, exact. `k` is lowered to base.rows where that is less. */
export async function topK(queries: Embeddings, base: Embeddings, k: number, options: SimilarityOptions = {}): Promise<TopK> {
  checkPair(queries, base);
  if (!Number.isInteger(k) || k < 1) throw new TorchclipError("E_ARGUMENT", `k must be a whole number of at least 1, not ${k}`);
  const n = Math.min(k, base.rows);
  const indices = new Int32Array(queries.rows * n);
  const scores = new Float32Array(queries.rows * n);
  if (indices.length) {
    await addon().topK(queries.data, queries.rows, base.data, base.rows, base.dim, n, options.device ?? "cpu", indices, scores);
  }
  return { indices, scores, k: n };
}

function checkPair(a: Embeddings, b: Embeddings): void {
  for (const [name, e] of [
    ["first", a],
    ["second", b],
  ] as const) {
    if (!(e?.data instanceof Float32Array) || e.data.length !== e.rows * e.dim) {
      throw new TorchclipError("E_ARGUMENT", `the ${name} embeddings are not { data: Float32Array of rows × dim, rows, dim }`);
    }
  }
  if (a.dim !== b.dim) throw new TorchclipError("E_ARGUMENT", `embeddings of different dimension: ${a.dim} and ${b.dim}`);
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

/** softmax of `scale` × the values, in float64. */
export function softmax(values: ArrayLike<number>, scale = 1): Float64Array {
  const out = Float64Array.from(values, (v) => v * scale);
  let max = -Infinity;
  for (const v of out) if (v > max) max = v; // a spread of so many values would overflow the stack
  let sum = 0;
  for (let i = 0; i < out.length; i++) sum += out[i] = Math.exp(out[i] - max);
  for (let i = 0; i < out.length; i++) out[i] /= sum;
  return out;
}
