/** Rows of numbers: float32 [rows, dim], row-major. Embeddings are such. */
export interface Rows {
  data: Float32Array;
  rows: number;
  dim: number;
}

/** A view of one row. */
export function rowAt({ data, dim }: Rows, row: number): Float32Array {
  return data.subarray(row * dim, (row + 1) * dim);
}

/** The rows as other packages and JSON take them: an array of numbers for each. */
export function rowsAsNumbers(all: Rows): number[][] {
  return Array.from({ length: all.rows }, (_, row) => Array.from(rowAt(all, row)));
}

/** A view of some rows. */
export function rowsOf({ data, dim }: Rows, first: number, count: number): Rows {
  return { data: data.subarray(first * dim, (first + count) * dim), rows: count, dim };
}

/** A copy of the rows with these numbers. */
export function gatherRows(all: Rows, numbers: Iterable<number> & { length: number }): Rows {
  const { dim } = all;
  const gathered = new Float32Array(numbers.length * dim);
  let at = 0;
  for (const row of numbers) {
    gathered.set(rowAt(all, row), at);
    at += dim;
  }
  return { data: gathered, rows: numbers.length, dim };
}
