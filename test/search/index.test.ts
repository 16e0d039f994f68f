import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EmbeddingIndex, normalizeRows, type Embeddings } from "../../lib/index.js";
import { rejectsWith, temporaryFolder, type Thrown } from "../support/index.js";
import { noise } from "../support/noise.js";

function vectors(rows: number, dim: number, seed: number): Embeddings {
  return normalizeRows({
    data: Float32Array.from({ length: rows * dim }, (_, i) => noise(seed, i) / 2 ** 31 - 1),
    rows,
    dim,
  });
}

/** In fp64, ties by row number. */
function bruteForce(
  queries: Embeddings,
  base: Embeddings,
  k: number,
  allowed: (row: number) => boolean = () => true,
) {
  return Array.from({ length: queries.rows }, (_, q) =>
    Array.from({ length: base.rows }, (_, row) => {
      let score = 0;
      for (let i = 0; i < base.dim; i++)
        score += queries.data[q * base.dim + i] * base.data[row * base.dim + i];
      return { row, score };
    })
      .filter((h) => allowed(h.row))
      .sort((a, b) => b.score - a.score || a.row - b.row)
      .slice(0, k),
  );
}

describe("embedding index", () => {
  it("the int8 prefilter finds the whole scan's rows and bits: few queries, once repeated, and many", async () => {
    const [rows, dim] = [20_000, 48];
    const base = vectors(rows, dim, 3);
    // Equal rows, rows near each other, lengths from 0.01 to 100: all that could fool a bound.
    for (let r = 0; r < 3000; r++)
      base.data.copyWithin((rows - 1 - r) * dim, (r % 40) * dim, ((r % 40) + 1) * dim);
    for (let r = 5000; r < 9000; r++)
      for (let i = 0; i < dim; i++)
        base.data[r * dim + i] = base.data[dim + i] + 1e-4 * (noise(9, r * dim + i) / 2 ** 31 - 1);
    for (let r = 9000; r < 12000; r++)
      for (let i = 0; i < dim; i++) base.data[r * dim + i] *= 10 ** ((r % 5) - 2);
    const allowed = new Uint8Array(rows / 8).map((_, i) => noise(4, i) & 255);
    for (const [queries, k, filter] of [
      [1, 10, undefined],
      [8, 100, undefined],
      [3, 10, allowed],
    ] as const) {
      const q = vectors(queries, dim, 5);
      q.data.set(base.data.subarray(dim, 2 * dim)); // many rows are nearly this one
      const index = EmbeddingIndex.create(dim);
      await index.add({ ...base, data: base.data.subarray(0, 18_000 * dim), rows: 18_000 });
      const options = filter ? { allowed: filter } : {};
      const whole = await index.search(q, k, options);
      const bytes = index.bytes;
      const prefiltered = await index.search(q, k, options);
      assert.ok(index.bytes > bytes * 1.2, "there is an int8 copy");
      assert.deepEqual(prefiltered, whole);
      await index.add({ ...base, data: base.data.subarray(18_000 * dim), rows: 2000 });
      const grown = await index.search(q, k, options);
      const fresh = EmbeddingIndex.create(dim);
      await fresh.add(base);
      assert.deepEqual(grown, await fresh.search(q, k, options));
    }
    // Many queries at once make the sketch themselves: what each one finds alone.
    const many = vectors(300, dim, 6);
    many.data.set(base.data.subarray(dim, 2 * dim), 5 * dim);
    const index = EmbeddingIndex.create(dim);
    await index.add(base);
    const before = index.bytes;
    const found = await index.search(many, 7);
    assert.ok(index.bytes > before * 1.2, "there is an int8 copy");
    for (const r of [0, 5, 31, 32, 299]) {
      const alone = await index.search({ data: many.data.slice(r * dim, (r + 1) * dim), rows: 1, dim }, 7);
      assert.deepEqual(alone.indices, found.indices.slice(7 * r, 7 * r + 7));
      assert.deepEqual(alone.scores, found.scores.slice(7 * r, 7 * r + 7));
    }
    const infinite = EmbeddingIndex.create(dim);
    await infinite.add(base);
    await infinite.add({ data: new Float32Array(dim).fill(Infinity), rows: 1, dim });
    const q = { data: new Float32Array(dim).fill(1), rows: 1, dim };
    assert.deepEqual(await infinite.search(q, 5), await infinite.search(q, 5));
  });

  it("equals a brute-force search in fp64, for few and many queries, odd sizes and dimensions", async () => {
    for (const [rows, dim, queries, k] of [
      [1000, 512, 1, 10],
      [1000, 512, 8, 10],
      [1003, 100, 9, 7],
      [5, 3, 2, 9],
      [2000, 64, 300, 25],
      [449, 33, 33, 449],
    ]) {
      const base = vectors(rows, dim, 1);
      const q = vectors(queries, dim, 2);
      const index = EmbeddingIndex.create(dim);
      await index.add({ ...base, data: base.data.subarray(0, 3 * dim), rows: 3 });
      await index.add({ ...base, data: base.data.subarray(3 * dim), rows: rows - 3 });
      const found = await index.search(q, k);
      const expected = bruteForce(q, base, k);
      assert.equal(found.k, Math.min(k, rows));
      for (let i = 0; i < queries; i++) {
        for (let j = 0; j < found.k; j++) {
          const at = i * found.k + j;
          assert.ok(
            Math.abs(found.scores[at] - expected[i][j].score) < 2e-6,
            `${rows} × ${dim}: score ${j} of query ${i}`,
          );
          // Rows may change places only where their scores are equal up to rounding.
          const own = expected[i].find((h) => h.row === found.indices[at]);
          assert.ok(
            own && Math.abs(own.score - expected[i][j].score) < 2e-6,
            `${rows} × ${dim}: row ${j} of query ${i}`,
          );
        }
      }
    }
  });

  it("fp32: recall@10 is 1.0, for few and many queries, with and without the sketch", async () => {
    const base = vectors(20_000, 64, 11);
    const q = vectors(40, 64, 12);
    const expected = bruteForce(q, base, 10);
    const index = EmbeddingIndex.create(64);
    await index.add(base);
    for (const queries of [1, 1, 8, 40]) {
      const found = await index.search(
        { data: q.data.subarray(0, queries * 64), rows: queries, dim: 64 },
        10,
      );
      for (let i = 0; i < queries; i++) {
        const rows = new Set(found.indices.subarray(i * 10, i * 10 + 10));
        // A row that is missing must tie with the last one up to float32's rounding.
        const missed = expected[i].filter((h) => !rows.has(h.row) && h.score > expected[i][9].score + 1e-6);
        assert.deepEqual(missed, [], `query ${i} of ${queries}`);
        assert.equal(rows.size, 10);
      }
    }
  });

  it("equal scores by row number, also over many equal rows", async () => {
    for (const precision of ["fp32", "bf16", "int8"] as const) {
      const index = EmbeddingIndex.create(4, { precision });
      const row = [0.5, 0.5, 0.5, 0.5];
      await index.add({
        data: Float32Array.from(Array.from({ length: 3000 }, () => row).flat()),
        rows: 3000,
        dim: 4,
      });
      for (const queries of [1, 20]) {
        const found = await index.search(
          {
            data: Float32Array.from(Array.from({ length: queries }, () => row).flat()),
            rows: queries,
            dim: 4,
          },
          5,
        );
        assert.deepEqual(
          Array.from(found.indices),
          Array.from({ length: queries }, () => [0, 1, 2, 3, 4]).flat(),
        );
      }
    }
  });

  it("bf16 and int8: recall@10 at least 0.97 and 0.9 on random vectors, the hardest case", async () => {
    const base = vectors(4000, 256, 3);
    const queries = vectors(40, 256, 4);
    const expected = bruteForce(queries, base, 10);
    for (const [precision, least] of [
      ["bf16", 0.97],
      ["int8", 0.9],
    ] as const) {
      const index = EmbeddingIndex.create(256, { precision });
      await index.add(base);
      const found = await index.search(queries, 10);
      let hits = 0;
      expected.forEach((list, q) =>
        list.forEach((h) => (hits += found.indices.subarray(q * 10, q * 10 + 10).includes(h.row) ? 1 : 0)),
      );
      assert.ok(hits / 400 >= least, `${precision}: ${hits / 400}`);
      assert.ok(index.bytes < base.data.byteLength, `index.bytes: ${index.bytes}`);
    }
  });

  it("a filter leaves rows out; too few are told by row -1 and NaN; NaN rows are never found", async () => {
    const base = vectors(1000, 32, 5);
    base.data.fill(NaN, 0, 32);
    const index = EmbeddingIndex.create(32);
    await index.add(base);
    const allowed = new Uint8Array(125);
    for (const row of [0, 10, 20, 990]) allowed[row >> 3] |= 1 << (row & 7);
    for (const queries of [1, 40]) {
      const q = vectors(queries, 32, 6);
      const found = await index.search(q, 5, { allowed });
      const expected = bruteForce(q, base, 5, (row) => [10, 20, 990].includes(row));
      for (let i = 0; i < queries; i++) {
        assert.deepEqual(Array.from(found.indices.subarray(i * 5, i * 5 + 5)), [
          ...expected[i].map((h) => h.row),
          -1,
          -1,
        ]);
        assert.ok(Number.isNaN(found.scores[i * 5 + 4]));
      }
    }
  });

  it("saved, mapped, read in another precision; damaged files are refused", async () => {
    const folder = temporaryFolder();
    const file = join(folder, "a.npy");
    const base = vectors(500, 48, 7);
    const index = EmbeddingIndex.create(48, { precision: "int8" });
    await index.add(base);
    await index.save(file);
    const q = vectors(3, 48, 8);
    const before = await index.search(q, 10);
    assert.deepEqual(
      (await (await EmbeddingIndex.open(file, { precision: "int8" })).search(q, 10)).indices,
      before.indices,
    );
    const mapped = await EmbeddingIndex.open(file);
    assert.deepEqual([mapped.rows, mapped.dim, mapped.bytes], [500, 48, 0]);
    assert.deepEqual(mapped.vector(7), index.vector(7));
    // Appended to: the rows come into memory, and are found beside the new ones.
    await mapped.add({ ...q, data: q.data.map((v) => 2 * v) });
    assert.deepEqual([mapped.rows, (await mapped.search(q, 1)).indices[0]], [503, 500]);
    assert.ok(mapped.bytes > 0, `mapped.bytes: ${mapped.bytes}`);
    const bytes = readFileSync(file);
    for (const [name, damaged] of [
      ["short", bytes.subarray(0, 5000)],
      ["magic", Buffer.concat([Buffer.from("x"), bytes.subarray(1)])],
      ["type", Buffer.from(bytes.toString("latin1").replace("<f4", "<f8"), "latin1")],
      ["shape", Buffer.from(bytes.toString("latin1").replace("(500, 48)", "(900, 48)"), "latin1")],
      ["axes", Buffer.from(bytes.toString("latin1").replace("(500, 48), }   ", "(50, 10, 48), }"), "latin1")],
      ["order", Buffer.from(bytes.toString("latin1").replace("False", "True "), "latin1")],
      ["empty", Buffer.alloc(0)],
    ] as const) {
      writeFileSync(join(folder, name), damaged);
      const error = await rejectsWith("E_INDEX_CORRUPT", () => EmbeddingIndex.open(join(folder, name)), name);
      assert.match(error.message, new RegExp(name));
    }
    await rejectsWith("E_INDEX_NOT_FOUND", () => EmbeddingIndex.open(join(folder, "none.npy")));
    await rejectsWith("E_INDEX_CORRUPT", () => EmbeddingIndex.open(folder));
    await rejectsWith("E_ARGUMENT", () => EmbeddingIndex.open(`${file}\0x`));
    await rejectsWith("E_INDEX_NOT_FOUND", () =>
      EmbeddingIndex.open(join(folder, "none.npy"), { precision: "int8" }),
    );
  });

  it("refuses other dimensions, k of 0, short filters", async () => {
    const index = EmbeddingIndex.create(4);
    await index.add(vectors(9, 4, 9));
    for (const call of [
      () => index.add(vectors(1, 5, 1)),
      () => index.search(vectors(1, 5, 1), 1),
      () => index.search(vectors(1, 4, 1), 0),
      () => index.search(vectors(1, 4, 1), 1, { allowed: new Uint8Array(1) }),
      () => Promise.resolve(EmbeddingIndex.create(0)),
      () => Promise.resolve(index.vector(9)),
    ])
      await rejectsWith("E_ARGUMENT", async () => call());
  });

  it("an empty index is saved and opened again, also with other precisions", async () => {
    const file = join(temporaryFolder(), "empty.npy");
    await EmbeddingIndex.create(8).save(file);
    for (const precision of ["fp32", "int8"] as const) {
      const index = await EmbeddingIndex.open(file, { precision });
      assert.deepEqual([index.rows, index.dim, (await index.search(vectors(2, 8, 1), 3)).k], [0, 8, 0]);
      await index.add(vectors(2, 8, 1));
      assert.equal(index.rows, 2);
    }
  });

  it("a row that holds a NaN is never found, a query that holds one finds nothing, in any precision", async () => {
    const base = vectors(4, 8, 2);
    base.data[10] = NaN;
    for (const precision of ["fp32", "int8"] as const) {
      const index = EmbeddingIndex.create(8, { precision });
      await index.add(base);
      for (const rows of [1, 40]) {
        const queries = vectors(rows, 8, 3);
        const found = await index.search(queries, 4);
        assert.deepEqual([...found.indices.subarray(0, 4)].sort(), [-1, 0, 2, 3]);
        queries.data[1] = NaN;
        const beside = await index.search(queries, 4);
        assert.deepEqual([...beside.indices.subarray(0, 4)], [-1, -1, -1, -1]);
        assert.deepEqual(beside.indices.subarray(4), found.indices.subarray(4));
      }
    }
  });

  it("a filter that leaves one row in a thousand finds what a search of those rows finds", async () => {
    const [rows, dim] = [30_000, 48];
    const base = vectors(rows, dim, 4);
    const allowed = new Uint8Array(rows / 8);
    const kept = Array.from({ length: 30 }, (_, i) => i * 1000 + 7);
    for (const row of kept) allowed[row >> 3] |= 1 << (row & 7);
    for (const precision of ["fp32", "int8"] as const) {
      const [index, few] = [
        EmbeddingIndex.create(dim, { precision }),
        EmbeddingIndex.create(dim, { precision }),
      ];
      await index.add(base);
      for (const row of kept)
        await few.add({ data: base.data.slice(row * dim, (row + 1) * dim), rows: 1, dim });
      for (const queries of [1, 20, 300]) {
        const q = vectors(queries, dim, 5);
        const found = await index.search(q, 5, { allowed });
        const expected = await few.search(q, 5);
        assert.deepEqual(
          found.indices,
          expected.indices.map((i) => kept[i]),
        );
        assert.deepEqual(found.scores, expected.scores);
      }
    }
  });

  it("closed: what runs ends, what waits and what comes later is E_CLOSED", async () => {
    const index = EmbeddingIndex.create(16);
    const base = vectors(5000, 16, 6);
    await index.add(base);
    const [running, waiting, saving] = [
      index.search(base, 3),
      index.add(base),
      index.save(join(temporaryFolder(), "a.npy")),
    ];
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
    index.close();
    index[Symbol.dispose]();
    const outcome = await running.then(
      () => "done",
      (error: unknown) => (error as Thrown).code,
    );
    assert.ok(outcome === "done" || outcome === "E_CLOSED", `outcome: ${outcome}`);
    for (const call of [
      () => waiting,
      () => saving,
      () => index.search(base, 1),
      () => index.add(base),
      () => index.vector(0),
      () => index.save("x"),
    ])
      await rejectsWith("E_CLOSED", async () => call());
    assert.deepEqual([index.rows, index.bytes, index.dim], [0, 0, 16]);
  });
});
