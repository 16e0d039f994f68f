import assert from "node:assert/strict";
import type { Embeddings } from "../../lib/index.js";

/** The rows of embeddings as arrays of numbers. */
export function rowsOf({ data, rows, dim }: Embeddings): number[][] {
  return Array.from({ length: rows }, (_, row) => Array.from(data.subarray(row * dim, (row + 1) * dim)));
}

/** Fails where two lists of vectors differ by more than the rounding of float32 as text. */
export function assertVectors(actual: readonly Iterable<number>[], expected: readonly number[][]): void {
  assert.equal(actual.length, expected.length);
  for (const [row, vector] of expected.entries()) {
    const found = Array.from(actual[row]);
    assert.equal(found.length, vector.length, `the length of vector ${row}`);
    for (const [i, value] of vector.entries())
      assert.ok(Math.abs(found[i] - value) <= 1e-7, `value ${i} of vector ${row}: ${found[i]} for ${value}`);
  }
}
