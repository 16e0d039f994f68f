// An index that is used from everywhere at once, and a file that is shortened while it is mapped: in
// processes of their own, because what is tested for is a crash.
import assert from "node:assert/strict";
import { join } from "node:path";
import { root, temporaryFolder } from "../support/index.js";
import { printedBy, runScript } from "../support/process.js";

const folder = temporaryFolder();
const entry = JSON.stringify(join(root, "dist", "index.js"));

const PRELUDE = `
  import assert from "node:assert/strict";
  import { EmbeddingIndex, similarity } from ${entry};`;

const runs = (script: string): string =>
  printedBy(runScript(PRELUDE + script, ["--expose-gc"], { cwd: folder }));

describe("an index in use", function () {
  this.timeout(300_000);

  it("vector() while add() moves the rows to larger memory", () => {
    runs(`
      const dim = 256, end = Date.now() + 5000;
      const rows = (n, first) => {
        const value = (_, i) => (first + Math.floor(i / dim)) % 1000;
        return { data: Float32Array.from({ length: n * dim }, value), rows: n, dim };
      };
      while (Date.now() < end) {
        const index = EmbeddingIndex.create(dim);
        await index.add(rows(2000, 0));
        for (let k = 0; k < 6; k++) {
          let done = false;
          const adding = index.add(rows(Math.ceil(index.rows * 0.6), index.rows)).then(() => (done = true));
          while (!done) {
            for (let i = 0; i < 2000; i++) {
              const row = (i * 7) % 2000;
              assert.equal(index.vector(row)[i % dim], row % 1000);
            }
            await new Promise((r) => setImmediate(r));
          }
          await adding;
        }
        index.close();
      }`);
  });

  it("a search that runs holds up neither vector(), rows nor similarity()", () => {
    const out = runs(`
      const dim = 128, n = 60_000;
      const base = { data: Float32Array.from({ length: n * dim }, (_, i) => Math.sin(i * i)), rows: n, dim };
      const index = EmbeddingIndex.create(dim, { precision: "int8" });
      await index.add(base);
      const query = { data: base.data.slice(0, 1000 * dim), rows: 1000, dim };
      const few = { data: query.data.subarray(0, 2 * dim), rows: 2, dim };
      similarity(few, few);
      let done = false, longest = 0, calls = 0;
      const start = performance.now();
      const searching = index.search(query, 10).then(() => (done = true));
      await new Promise((r) => setImmediate(r));
      while (!done) {
        const before = performance.now();
        index.vector(5); index.rows; similarity(few, few);
        longest = Math.max(longest, performance.now() - before);
        calls++;
        await new Promise((r) => setImmediate(r));
      }
      await searching;
      console.log(JSON.stringify({ search: performance.now() - start, longest, calls }));`);
    const { search, longest, calls } = JSON.parse(out) as { search: number; longest: number; calls: number };
    assert.ok(calls > 3 && longest < search / 2, out);
  });

  it("a mapped file that is shortened: E_INDEX_CORRUPT for what reads it, and nothing else happens", function () {
    if (process.platform === "win32") this.skip(); // a mapped file cannot be shortened there
    runs(`
      import { copyFileSync, truncateSync } from "node:fs";
      const dim = 64, n = 20_000;
      const base = { data: Float32Array.from({ length: n * dim }, (_, i) => Math.sin(i)), rows: n, dim };
      const made = EmbeddingIndex.create(dim);
      await made.add(base);
      await made.save("whole.npy");
      const query = { data: base.data.slice(0, dim), rows: 1, dim };
      const expected = await made.search(query, 5);
      for (const length of [0, 100, 5000, n * dim * 4 - 4096, n * dim * 4 + 127]) {
        copyFileSync("whole.npy", "open.npy");
        const other = await EmbeddingIndex.open("whole.npy");
        const index = await EmbeddingIndex.open("open.npy");
        if (length % 2) assert.deepEqual(await index.search(query, 5), expected);
        truncateSync("open.npy", length);
        for (const call of [
          () => index.search(query, 5),
          () => index.vector(n - 1),
          () => index.save("copy.npy"),
          () => index.add(query),
          () => index.search(query, 5),
        ]) {
          const error = await Promise.resolve().then(call).then(() => undefined, (e) => e);
          assert.equal(error?.code, "E_INDEX_CORRUPT", String(error?.stack));
          assert.match(error.message, /open\\.npy/);
        }
        assert.deepEqual(await other.search(query, 5), expected);
        index.close();
        other.close();
      }`);
  });
});
