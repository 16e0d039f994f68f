// `fitProlip` (float64) against the same fit by torch with autograd (float32, as the authors' code runs it):
//   node bench/prolip.mjs [--python PYTHON with torch] [--rounds 3] [--threads 2] [--steps 300]
//                         [--sizes 1600x768x512x100]      rows x pooled x embedding x classes
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { normalizeRows } from "torchclip";
import { fitProlip, ImageProjection } from "torchclip/learn";
import { pythonPeer } from "./python-peer.mjs";
import { machine, median, random, showRatio, spread } from "./rounds.mjs";

const { values } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    rounds: { type: "string", default: "3" },
    threads: { type: "string", default: "2" },
    steps: { type: "string", default: "300" },
    sizes: { type: "string", default: "1600x768x512x100" },
  },
});
const threads = Number(values.threads);
const steps = Number(values.steps);
const logitScale = 100;

/**
 * Pooled features around a centre of each class, texts, and a projection of the size that CLIP's have.
 * @param {number} rows
 * @param {number} pooledDim
 * @param {number} dim
 * @param {number} classes
 */
function sample(rows, pooledDim, dim, classes) {
  const next = random(5);
  const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  const labels = Int32Array.from({ length: rows }, (_, i) => i % classes);
  const centres = Float32Array.from({ length: classes * pooledDim }, normal);
  const data = Float32Array.from({ length: rows * pooledDim }, (_, i) => {
    const feature = i % pooledDim;
    return centres[labels[(i - feature) / pooledDim] * pooledDim + feature] + normal();
  });
  const texts = normalizeRows({
    data: Float32Array.from({ length: classes * dim }, normal),
    rows: classes,
    dim,
  });
  const matrix = Float64Array.from({ length: dim * pooledDim }, () =>
    Math.fround(normal() / Math.sqrt(pooledDim)),
  );
  const projection = new ImageProjection({ dim, pooledDim, matrix, bias: new Float64Array(dim) });
  return { features: { data, rows, dim: pooledDim }, labels, texts, projection };
}

/**
 * @param {string} size
 * @param {string} folder
 */
async function compare(size, folder) {
  const [rows, pooledDim, dim, classes] = size.split("x").map(Number);
  const { features, labels, texts, projection } = sample(rows, pooledDim, dim, classes);
  const file = (/** @type {string} */ name) => join(folder, name);
  writeFileSync(file("features"), features.data);
  writeFileSync(file("labels"), labels);
  writeFileSync(file("texts"), texts.data);
  writeFileSync(file("matrix"), Float32Array.from(projection.matrix));
  const sizes = [pooledDim, dim, classes, threads, logitScale].map(String);
  const peer = await pythonPeer(values.python, "prolip.py", [folder, ...sizes]);
  /** @type {Record<"ours" | "theirs", number[]>} */
  const seconds = { ours: [], theirs: [] };
  let difference = 0;
  for (let round = 0; round < Number(values.rounds); round++) {
    const options = {
      classes: Array.from({ length: classes }, (_, i) => String(i)),
      logitScale,
      steps,
      threads,
    };
    const started = performance.now();
    const { matrix } = await fitProlip(features, labels, texts, projection, options);
    seconds.ours.push((performance.now() - started) / 1000);
    seconds.theirs.push(Number(await peer.ask(String(steps))));
    const theirs = new Float32Array(new Uint8Array(readFileSync(file("result"))).buffer);
    difference = theirs.reduce((most, x, i) => Math.max(most, Math.abs(x - matrix[i])), 0);
  }
  peer.close();
  const moved = `largest difference of the matrices ${difference.toExponential(1)}`;
  console.log(`${size}, ${steps} steps, ${threads} threads; ${moved}`);
  console.log(`  torchclip  ${median(seconds.ours).toFixed(2).padStart(7)} s (float64)`);
  console.log(`  torch      ${median(seconds.theirs).toFixed(2).padStart(7)} s (float32)`);
  console.log(`  ${showRatio(spread(seconds.ours.map((ours, i) => seconds.theirs[i] / ours)))}`);
}

const folder = mkdtempSync(join(tmpdir(), "torchclip-bench-"));
try {
  for (const size of values.sizes.split(",")) await compare(size, folder);
} finally {
  rmSync(folder, { recursive: true });
}
console.log(machine());
process.exit(0);
