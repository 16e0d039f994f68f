// Cold starts: the time from the start of a process to its end, and its largest resident set, as medians of
// fresh processes in turn. The files are in the page cache: the first round is left out.
//   node bench/cold-start.mjs [--runs 10] [--root FOLDER] [--model FILE]
// FOLDER: a built checkout; default: this one. With --model, an artifact such as that of ViT-B/32, it also loads its
// towers and searches an index of 100,000 random rows by a text.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { inTurn, machine, median, random } from "./rounds.mjs";

const here = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "10" },
    root: { type: "string", default: here },
    model: { type: "string" },
  },
});

const main = join(values.root, "dist/cli/main.js");
const image = join(here, "test/fixtures/images/rgb420.jpg");
/** @type {Record<string, string[]>} */
const CASES = {
  "node alone": ["-e", "0"],
  'import("torchclip")': ["-e", 'import("torchclip")'],
  "torchclip --version": [main, "--version"],
  "torchclip --help": [main, "--help"],
  "torchclip classify --help": [main, "classify", "--help"],
  "torchclip classify": [main, "classify", image, "--labels", "a,b", "--model", "tiny"],
};

/** Loaded by each process: it writes its largest resident set, in KiB, to file descriptor 3 at its end. */
const REPORTER = `data:text/javascript,
import { writeSync } from "node:fs";
process.on("exit", () => writeSync(3, String(process.resourceUsage().maxRSS)));`;

/**
 * One process: its milliseconds and MiB.
 * @param {readonly string[]} args
 */
async function run(args) {
  const start = performance.now();
  const child = spawn(process.execPath, ["--import", REPORTER, ...args], {
    cwd: values.root,
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  let written = "";
  child.stdio[3]?.on("data", (part) => (written += String(part)));
  /** @type {number | null} */
  const code = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => {
      resolve(status);
    });
  });
  if (code !== 0) throw new Error(`node ${args.join(" ")} ended with status ${code}`);
  return { milliseconds: performance.now() - start, mebibytes: Number(written) / 1024 };
}

const INDEX_ROWS = 100_000;

/**
 * Loads of a model's towers, and a search by a text.
 * @param {string} model
 * @param {string} folder for the index
 */
async function casesOf(model, folder) {
  const { EmbeddingIndex, load } = await import("torchclip");
  const clip = await load(model, { towers: "text" });
  const dim = clip.info.embedDim;
  await clip.close();
  const next = random(3);
  const data = Float32Array.from({ length: INDEX_ROWS * dim }, () => next() - 0.5);
  const index = EmbeddingIndex.create(dim);
  await index.add({ data, rows: INDEX_ROWS, dim });
  const file = join(folder, "index.npy");
  await index.save(file);
  index.close();
  /** @type {Record<string, string[]>} */
  const cases = { "torchclip search": [main, "search", file, "a photo of a cat", "--model", model] };
  for (const towers of ["both", "image", "text"]) {
    const code = `const { load } = await import("torchclip"); await load(process.argv[1], { towers: "${towers}" });`;
    cases[`load(model, { towers: "${towers}" })`] = ["--input-type=module", "-e", code, model];
  }
  return cases;
}

const folder = mkdtempSync(join(tmpdir(), "torchclip-cold-"));
process.on("exit", () => {
  rmSync(folder, { recursive: true });
});
if (values.model) Object.assign(CASES, await casesOf(values.model, folder));
const measurements = Object.fromEntries(Object.entries(CASES).map(([name, args]) => [name, () => run(args)]));
const results = await inTurn(measurements, Number(values.runs));
console.log("| cold start | time | resident |\n|---|---:|---:|");
for (const [name, runs] of Object.entries(results)) {
  const milliseconds = median(runs.map((one) => one.milliseconds));
  const mebibytes = median(runs.map((one) => one.mebibytes));
  console.log(`| \`${name}\` | ${(milliseconds / 1000).toFixed(3)} s | ${mebibytes.toFixed(0)} MiB |`);
}
console.log(machine());
