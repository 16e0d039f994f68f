// `fitLinearProbe` against scikit-learn's LogisticRegression (L-BFGS, float64), both to max |gradient| <= 1e-8:
//   node bench/probe.mjs [--python PYTHON with scikit-learn] [--rounds 3] [--threads 2]
//                        [--sizes 6920x512x2,50000x768x100]
//       [--lambda 1]
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { normalizeRows } from "torchclip";
import { fitLinearProbe } from "torchclip/learn";
import { pythonPeer } from "./python-peer.mjs";
import { machine, median, random, showRatio, spread } from "./rounds.mjs";

const { values } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    rounds: { type: "string", default: "3" },
    threads: { type: "string", default: "2" },
    sizes: { type: "string", default: "6920x512x2,50000x768x100" },
    lambda: { type: "string", default: "1" },
  },
});
const TOLERANCE = 1e-8;
const threads = Number(values.threads);
const lambda = Number(values.lambda);

/**
 * Rows of length 1 as embeddings of images are: a direction that all share, one of the class, and noise.
 * @param {number} rows
 * @param {number} dim
 * @param {number} classes
 */
function sample(rows, dim, classes) {
  const next = random(3);
  const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  const direction = () => Float64Array.from({ length: dim }, normal);
  const shared = direction();
  const centres = Array.from({ length: classes }, direction);
  const labels = Int32Array.from({ length: rows }, (_, i) => i % classes);
  const data = new Float32Array(rows * dim);
  for (let i = 0; i < data.length; i++) {
    const feature = i % dim;
    const own = centres[labels[(i - feature) / dim]][feature];
    data[i] = shared[feature] + 0.2 * own + 0.8 * normal();
  }
  return { features: normalizeRows({ data, rows, dim }), labels };
}

/** @typedef {{ seconds: number, objective: number, gradient: number, iterations: number }} Fitted */

/**
 * @param {string} size
 * @param {string} folder
 */
async function compare(size, folder) {
  const [rows, dim, classes] = size.split("x").map(Number);
  const { features, labels } = sample(rows, dim, classes);
  const [featureFile, labelFile] = ["features", "labels"].map((name) => join(folder, name));
  writeFileSync(featureFile, features.data);
  writeFileSync(labelFile, labels);
  const peer = await pythonPeer(values.python, "logistic_regression.py", [
    featureFile,
    labelFile,
    String(dim),
    String(threads),
  ]);
  /** @type {Record<"ours" | "theirs", Fitted[]>} */
  const fits = { ours: [], theirs: [] };
  for (let round = 0; round < Number(values.rounds); round++) {
    const options = { classes, lambda, threads, tolerance: TOLERANCE };
    const { fit } = await fitLinearProbe(features, labels, options);
    fits.ours.push(fit);
    const answer = (await peer.ask(`${1 / lambda} ${TOLERANCE}`)).split(" ").map(Number);
    const [seconds, objective, gradient, iterations] = answer;
    fits.theirs.push({ seconds, objective, gradient, iterations });
  }
  peer.close();
  const ratios = fits.ours.map(({ seconds }, i) => fits.theirs[i].seconds / seconds);
  console.log(`${size}, lambda ${lambda}, ${threads} threads`);
  console.log(`  torchclip     ${shown(fits.ours)}`);
  console.log(`  scikit-learn  ${shown(fits.theirs)}`);
  console.log(`  ${showRatio(spread(ratios))}`);
}

/** @param {readonly Fitted[]} fits */
function shown(fits) {
  const [{ objective, gradient, iterations }] = fits;
  const seconds = median(fits.map((fit) => fit.seconds)).toFixed(2);
  return (
    `${seconds.padStart(7)} s, ${iterations} iterations, objective / rows ${objective.toFixed(12)}, ` +
    `max |gradient| ${gradient.toExponential(1)}`
  );
}

const folder = mkdtempSync(join(tmpdir(), "torchclip-bench-"));
try {
  for (const size of values.sizes.split(",")) await compare(size, folder);
} finally {
  rmSync(folder, { recursive: true });
}
console.log(machine());
process.exit(0);
