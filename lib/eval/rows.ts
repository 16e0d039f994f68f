import type { Embeddings } from "../embeddings.js";

/** A view of some rows. */
export function rowsOf({ data, dim }: Embeddings, first: number, count: number): Embeddings {
  return { data: data.subarray(first * dim, (first + count) * dim), rows: count, dim };
}

/** A copy of the rows with these numbers. */
export function gatherRows({ data, dim }: Embeddings, numbers: ArrayLike<number>): Embeddings {
  const gathered = new Float32Array(numbers.length * dim);
  for (let i = 0; i < numbers.length; i++)
    gathered.set(data.subarray(numbers[i] * dim, (numbers[i] + 1) * dim), i * dim);
  return { data: gathered, rows: numbers.length, dim };
}
