import assert from "node:assert/strict";
import { similarity, topK } from "../lib/index.js";
import { assertNear } from "./support/compare.js";
import { rejectsWith } from "./support/index.js";

describe("similarity and top-k", () => {
  const random = (rows: number, dim: number, seed: number) => {
    const data = Float32Array.from({ length: rows * dim }, (_, i) => Math.sin(i * 12.9898 + seed) * 0.1);
    return { data, rows, dim };
  };

  it("equal a brute-force check in float64", async () => {
    const a = random(5, 32, 1);
    const b = random(300, 32, 2);
    const s = similarity(a, b);
    const exact = (q: number, r: number) =>
      Array.from({ length: 32 }, (_, i) => a.data[q * 32 + i] * b.data[r * 32 + i]).reduce(
        (x, y) => x + y,
        0,
      );
    for (let q = 0; q < 5; q++) for (let r = 0; r < 300; r++) assertNear(s[q * 300 + r], exact(q, r), 1e-6);
    const top = await topK(a, b, 7);
    for (let q = 0; q < 5; q++) {
      const order = Array.from({ length: 300 }, (_, r) => r).sort(
        (x, y) => s[q * 300 + y] - s[q * 300 + x] || x - y,
      );
      assert.deepEqual([...top.indices.subarray(q * 7, q * 7 + 7)], order.slice(0, 7));
    }
  });

  it("ties go by row; k is lowered to the rows there are", async () => {
    const q = { data: new Float32Array([1, 0]), rows: 1, dim: 2 };
    const b = { data: new Float32Array([0, 1, 1, 0, 1, 0]), rows: 3, dim: 2 };
    const top = await topK(q, b, 10);
    assert.deepEqual([...top.indices], [1, 2, 0]);
  });

  it("different dimensions or k 0: E_ARGUMENT", async () => {
    await rejectsWith("E_ARGUMENT", () => similarity(random(1, 2, 0), random(1, 3, 0)));
    await rejectsWith("E_ARGUMENT", () => topK(random(1, 2, 0), random(1, 2, 0), 0));
  });
});
