/** What the product of an adapter is multiplied by (rsLoRA: arXiv:2312.03732). */
export const adapterScale = (alpha: number, rank: number, rankStabilized: boolean): number =>
  alpha / (rankStabilized ? Math.sqrt(rank) : rank);

/** A product of two matrices of low rank that is added to a matrix. */
export interface LowRankChange {
  /** float32 [rank, inner]. */
  a: Float32Array;
  /** float32 [out, rank]. */
  b: Float32Array;
  rank: number;
  /** The product is multiplied by it. */
  scale: number;
  /** The row of the matrix where it begins; with `transpose` the column. */
  row: number;
  /** Its transpose is added. */
  transpose: boolean;
}

/**
 * Adds scale × B A to a matrix, float32 [rows, columns], in place. A row of the product is summed up in
 * float64.
 */
export function addLowRank(
  values: Float32Array,
  columns: number,
  { a, b, rank, scale, row, transpose }: LowRankChange,
): void {
  const inner = a.length / rank;
  const out = b.length / rank;
  const sums = new Float64Array(inner);
  for (let i = 0; i < out; i++) {
    sums.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scale * (b[i * rank + r] ?? 0);
      for (let k = 0; k < inner; k++) sums[k] = (sums[k] ?? 0) + factor * (a[r * inner + k] ?? 0);
    }
    for (let k = 0; k < inner; k++) {
      const at = transpose ? k * columns + row + i : (row + i) * columns + k;
      values[at] = (values[at] ?? 0) + (sums[k] ?? 0);
    }
  }
}
