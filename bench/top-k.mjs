// Exact top-k against faiss-cpu: 100,000 × 512, k = 10, interleaved rounds.
//   node bench/top-k.mjs [--python PYTHON with faiss-cpu and numpy] [--rounds 9]
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { EmbeddingIndex, normalizeRows } from "torchclip";
import { pythonPeer } from "./python-peer.mjs";
import { interleaved, machine, random, showRatio } from "./rounds.mjs";

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
const faiss = await pythonPeer(values.python, "flat_index.py", [
  join(folder, "base"),
  join(folder, "queries"),
  String(dim),
]);

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
  const found = {};
  let first;
  const milliseconds = {
    faiss: async () => {
      const [ms, row] = (await faiss.ask(`${n} ${repeats}`)).split(" ").map(Number);
      first = row;
      return ms;
    },
  };
  for (const [precision, index] of Object.entries(indexes)) {
    milliseconds[precision] = async () => {
      await sleep(20); // the other's threads go to sleep
      const start = performance.now();
      for (let i = 0; i < repeats; i++) found[precision] = await index.search(part, k);
      const ms = (performance.now() - start) / repeats;
      if (precision === "fp32" && found.fp32.indices[0] !== first) throw new Error("the first hits differ");
      return ms;
    };
  }
  const times = await interleaved(milliseconds, Number(values.rounds));
  for (const precision of Object.keys(indexes)) {
    let hits = 0;
    for (let q = 0; q < n; q++) {
      const exact = new Set(found.fp32.indices.subarray(q * k, (q + 1) * k));
      for (const row of found[precision].indices.subarray(q * k, (q + 1) * k)) hits += exact.has(row) ? 1 : 0;
    }
    console.log(
      `${String(n).padStart(5)} queries  ${precision}  ${times.median(precision).toFixed(1)} ms, ` +
        `faiss fp32 ${times.median("faiss").toFixed(1)} ms: ${showRatio(times.ratio("faiss", precision))}; ` +
        `recall@${k} ${(hits / n / k).toFixed(4)}`,
    );
  }
}
console.log(machine());
faiss.close();
rmSync(folder, { recursive: true });
process.exit(0);
