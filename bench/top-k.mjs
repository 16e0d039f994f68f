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

/** @typedef {import("torchclip").TopK} TopK */

const { values } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    rounds: { type: "string", default: "9" },
    rows: { type: "string", default: "100000" },
  },
});
const DIM = 512;
const K = 10;
const QUERIES = [1, 8, 64, 1024];
const next = random(5);

/** @param {number} rows */
const vectors = (rows) =>
  normalizeRows({
    data: Float32Array.from({ length: rows * DIM }, () => next() + next() - 1),
    rows,
    dim: DIM,
  });

const base = vectors(Number(values.rows));
const queries = vectors(Math.max(...QUERIES));
const folder = mkdtempSync(join(tmpdir(), "torchclip-bench-"));
const [baseFile, queriesFile] = ["base", "queries"].map((name) => join(folder, name));
writeFileSync(baseFile, base.data);
writeFileSync(queriesFile, queries.data);
const faiss = await pythonPeer(values.python, "flat_index.py", [baseFile, queriesFile, String(DIM)]);

/** An index of the base for each precision that this machine can search in. */
async function indexesOfBase() {
  /** @type {Map<string, EmbeddingIndex>} */
  const indexes = new Map();
  for (const precision of /** @type {const} */ (["fp32", "bf16", "int8"])) {
    try {
      const index = EmbeddingIndex.create(DIM, { precision });
      await index.add(base);
      indexes.set(precision, index);
    } catch (error) {
      console.error(`${precision}: skipped, ${String(error)}`);
    }
  }
  return indexes;
}

const indexes = await indexesOfBase();

/** @param {number} queries */
function repeatsOf(queries) {
  if (queries <= 8) return 10;
  return queries <= 64 ? 3 : 1;
}

/**
 * The share of the exact hits that are among those found.
 * @param {TopK} found
 * @param {TopK} exact
 * @param {number} rows
 */
function recall(found, exact, rows) {
  let hits = 0;
  for (let q = 0; q < rows; q++) {
    const wanted = new Set(exact.indices.subarray(q * K, (q + 1) * K));
    for (const row of found.indices.subarray(q * K, (q + 1) * K)) hits += wanted.has(row) ? 1 : 0;
  }
  return hits / rows / K;
}

/**
 * Milliseconds of a search of each contender, and what ours found.
 * @param {number} rows of queries
 */
async function compare(rows) {
  const repeats = repeatsOf(rows);
  const part = { data: queries.data.subarray(0, rows * DIM), rows, dim: DIM };
  /** @type {Map<string, TopK>} */
  const found = new Map();
  let first = -1;
  /** @type {Record<string, import("./rounds.mjs").Measure>} */
  const milliseconds = {
    faiss: async () => {
      const [ms, row] = (await faiss.ask(`${rows} ${repeats}`)).split(" ").map(Number);
      first = row;
      return ms;
    },
  };
  for (const [precision, index] of indexes) {
    milliseconds[precision] = async () => {
      await sleep(20); // the other's threads go to sleep
      const start = performance.now();
      let hits = await index.search(part, K);
      for (let i = 1; i < repeats; i++) hits = await index.search(part, K);
      const ms = (performance.now() - start) / repeats;
      if (precision === "fp32" && hits.indices[0] !== first) throw new Error("the first hits differ");
      found.set(precision, hits);
      return ms;
    };
  }
  return { found, times: await interleaved(milliseconds, Number(values.rounds)) };
}

for (const rows of QUERIES) {
  const { found, times } = await compare(rows);
  const exact = found.get("fp32");
  for (const [precision, hits] of found) {
    const shown = exact ? recall(hits, exact, rows).toFixed(4) : "unknown";
    console.log(
      `${String(rows).padStart(5)} queries  ${precision}  ${times.median(precision).toFixed(1)} ms, ` +
        `faiss fp32 ${times.median("faiss").toFixed(1)} ms: ${showRatio(times.ratio("faiss", precision))}; ` +
        `recall@${K} ${shown}`,
    );
  }
}
console.log(machine());
faiss.close();
rmSync(folder, { recursive: true });
process.exit(0);
