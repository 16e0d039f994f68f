import assert from "node:assert/strict";
import { join } from "node:path";
import { EmbeddingIndex, normalizeRows, type Embeddings } from "../../lib/index.js";
import { openStored } from "../../lib/search/stored.js";
import { rejectsWith, temporaryFolder } from "../support/index.js";
import { noise } from "../support/noise.js";

const DIM = 24;

function vectors(rows: number, seed: number): Embeddings {
  const value = (_: unknown, i: number) => noise(seed, i) / 2 ** 31 - 1;
  return normalizeRows({ data: Float32Array.from({ length: rows * DIM }, value), rows, dim: DIM });
}

/** Whether a GPU can hold an index here. */
async function hasGpu(): Promise<boolean> {
  using index = EmbeddingIndex.create(DIM, { device: "cuda" });
  return await index.upload().then(
    () => true,
    () => false,
  );
}

describe("an index on a device", () => {
  const file = join(temporaryFolder(), "rows.npy");
  const base = vectors(3000, 1);

  before(async () => {
    using index = EmbeddingIndex.create(DIM);
    await index.add(base);
    await index.save(file);
  });

  it("is on the CPU unless another device is named", async () => {
    using made = EmbeddingIndex.create(DIM);
    using opened = await EmbeddingIndex.open(file, { device: "cpu" });
    for (const index of [made, opened]) {
      assert.deepEqual([index.device, index.gpuBytes], ["cpu", 0]);
      await index.upload();
      assert.equal(index.gpuBytes, 0);
    }
  });

  it("names that are no device, and precisions that it does not hold, are E_ARGUMENT", async () => {
    for (const device of ["gpu", "cuda:", "cuda:-1", "cuda:all", "auto", "", 0 as unknown as string]) {
      await rejectsWith("E_ARGUMENT", () => EmbeddingIndex.create(DIM, { device }), `device ${device}`);
      await rejectsWith("E_ARGUMENT", () => EmbeddingIndex.open(file, { device }), `device ${device}`);
    }
    for (const precision of ["bf16", "int8"] as const) {
      const options = { device: "cuda", precision };
      await rejectsWith("E_ARGUMENT", () => EmbeddingIndex.create(DIM, options));
      await rejectsWith("E_ARGUMENT", () => EmbeddingIndex.open(file, options));
    }
  });

  it("a GPU that is not there is E_CUDA_UNAVAILABLE, from open and from every call, never the CPU", async () => {
    const device = "cuda:99";
    const error = await rejectsWith("E_CUDA_UNAVAILABLE", () => EmbeddingIndex.open(file, { device }));
    assert.match(error.message, /cuda:99 is not available: \S/);
    await rejectsWith("E_CUDA_UNAVAILABLE", () => openStored(file, { device }));
    using index = EmbeddingIndex.create(DIM, { device });
    for (let i = 0; i < 2; i++) {
      await rejectsWith("E_CUDA_UNAVAILABLE", () => index.add(base));
      await rejectsWith("E_CUDA_UNAVAILABLE", () => index.search(base, 1));
      await rejectsWith("E_CUDA_UNAVAILABLE", () => index.upload());
    }
  });

  it("closed before its rows are there: E_CLOSED", async () => {
    const index = EmbeddingIndex.create(DIM, { device: "cuda:99" });
    index.close();
    await rejectsWith("E_CLOSED", () => index.search(base, 1));
  });

  it("a GPU finds what the CPU finds, also in rows that are added later", async function () {
    if (!(await hasGpu())) return this.skip();
    using onGpu = await EmbeddingIndex.open(file, { device: "cuda" });
    using onCpu = await EmbeddingIndex.open(file);
    assert.ok(onGpu.gpuBytes >= base.data.byteLength);
    const queries = vectors(20, 2);
    const allowed = new Uint8Array(1000).map((_, i) => noise(3, i) & 255);
    for (const added of [0, 500]) {
      for (const index of [onGpu, onCpu]) await index.add(vectors(added, 4));
      for (const options of [{}, { allowed }]) {
        const found = await onGpu.search(queries, 7, options);
        const expected = await onCpu.search(queries, 7, options);
        assert.deepEqual(found.indices, expected.indices);
        expected.scores.forEach((score, i) => assert.ok(Math.abs(score - found.scores[i]) < 1e-6));
      }
    }
    onGpu.close();
    assert.equal(onGpu.gpuBytes, 0);
  });
});
