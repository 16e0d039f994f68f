// Exact top-k against faiss-cpu: 100,000 × 512, k = 10, interleaved rounds.
//   node bench/top-k.mjs [--python PYTHON with faiss-cpu and numpy] [--rounds 9]
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { EmbeddingIndex, normalizeRows } from "torchclip";
import { machine, random } from "./rounds.mjs";

const { values } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    rounds: { type: "string", default: "9" },
    rows: { type: "string", default: "100000" },
  },
});
const [rows, dim, k, most] = [Number(values.rows), 512, 10, 1024];
const next = random(5);
const vectors = (n) =>
  normalizeRows({ data: Float32Array.from({ length: n * dim }, () => next() + next() - 1), rows: n, dim });
const base = vectors(rows);
const queries = vectors(most);
const folder = mkdtempSync(join(tmpdir(), "torchclip-bench-"));
writeFileSync(join(folder, "base"), base.data);
writeFileSync(join(folder, "queries"), queries.data);
const faiss = spawn(values.python, [
  join(dirname(fileURLToPath(import.meta.url)), "flat_index.py"),
  join(folder, "base"),
  join(folder, "queries"),
  String(dim),
]);
faiss.stderr.pipe(process.stderr);
const lines = createInterface(faiss.stdout)[Symbol.asyncIterator]();
await lines.next();
const theirs = async (n, repeats) => {
  faiss.stdin.write(`${n} ${repeats}\n`);
  return (await lines.next()).value.split(" ").map(Number);
};
const median = (v) => v.sort((a, b) => a - b)[v.length >> 1];

const precisions = ["fp32", "bf16", "int8"];
const indexes = {};
for (const precision of precisions) {
  try {
    indexes[precision] = EmbeddingIndex.create(dim, { precision });
    await indexes[precision].add(base);
  } catch (error) {
    delete indexes[precision];
    console.error(`${precision}: skipped, ${error.message}`);
  }
}
for (const n of [1, 8, 64, 1024]) {
  const repeats = n <= 8 ? 10 : n <= 64 ? 3 : 1;
  const part = { data: queries.data.subarray(0, n * dim), rows: n, dim };
  const times = Object.fromEntries(Object.keys(indexes).map((p) => [p, []]));
  const ratios = Object.fromEntries(Object.keys(indexes).map((p) => [p, []]));
  const other = [];
  const found = {};
  for (let round = -1; round < Number(values.rounds); round++) {
    const [ms, first] = await theirs(n, repeats);
    if (round >= 0) other.push(ms);
    for (const [precision, index] of Object.entries(indexes)) {
      await new Promise((resolve) => setTimeout(resolve, 20)); // the other's threads go to sleep
      const start = performance.now();
      for (let i = 0; i < repeats; i++) found[precision] = await index.search(part, k);
      if (round >= 0) {
        times[precision].push((performance.now() - start) / repeats);
        ratios[precision].push(ms / times[precision].at(-1));
      }
    }
    if (found.fp32.indices[0] !== first) throw new Error("the first hits differ");
  }
  for (const precision of Object.keys(indexes)) {
    let hits = 0;
    for (let q = 0; q < n; q++) {
      const exact = new Set(found.fp32.indices.subarray(q * k, (q + 1) * k));
      for (const row of found[precision].indices.subarray(q * k, (q + 1) * k)) hits += exact.has(row) ? 1 : 0;
    }
    const r = ratios[precision].sort((a, b) => a - b);
    console.log(
      `${String(n).padStart(5)} queries  ${precision}  ${median(times[precision]).toFixed(1)} ms, faiss fp32 ${median(other).toFixed(1)} ms: ${r[r.length >> 1].toFixed(2)} × (${r[0].toFixed(2)} to ${r.at(-1).toFixed(2)}); recall@${k} ${(hits / n / k).toFixed(4)}`,
    );
  }
}
console.log(machine());
faiss.kill();
rmSync(folder, { recursive: true });
process.exit(0);
