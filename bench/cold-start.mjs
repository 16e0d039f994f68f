// Cold starts: the time from the start of a process to its end, and its largest resident set, as medians of
// fresh processes in turn. The files are in the page cache: the first round is left out.
//   node bench/cold-start.mjs [--runs 10] [--root FOLDER] [--model FILE] [--peers FOLDER --exports FOLDER]
// --root: a built checkout; default: this one. With --model, an artifact such as that of ViT-B/32, it also loads its
// towers and searches an index of 100,000 random rows by a text. --peers: a folder in which @huggingface/transformers
// and fastembed were installed; --exports: the same model as bench/models.py writes it, with a tokenizer.json. The
// three then import their packages, and ours and transformers load the model's text or image tower in fp32 and embed
// one text or image. (fastembed has text models alone, and downloads them: it is only imported.)
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
    peers: { type: "string" },
    exports: { type: "string" },
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

/**
 * Loaded by each process: it writes its largest resident set, in KiB, to file descriptor 3 at its end. (maxRSS of
 * getrusage would count the pages of the process that started it.)
 */
const REPORTER = `data:text/javascript,
import { readFileSync, writeSync } from "node:fs";
const peak = () => /VmHWM:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1];
process.on("exit", () => writeSync(3, peak()));`;

/**
 * One process: its milliseconds and MiB.
 * @param {readonly string[]} args
 * @param {string} cwd
 */
async function run(args, cwd) {
  const start = performance.now();
  const child = spawn(process.execPath, ["--import", REPORTER, ...args], {
    cwd,
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

/** What transformers loads a tower by; `process.argv` holds the folder of the exports and an image. */
const TRANSFORMERS = `
const { dirname, basename } = await import("node:path");
const t = await import("@huggingface/transformers");
t.env.allowRemoteModels = false;
t.env.localModelPath = dirname(process.argv[1]);
const name = basename(process.argv[1]);`;
const TRANSFORMERS_TEXT = `${TRANSFORMERS}
const tokenizer = await t.AutoTokenizer.from_pretrained(name);
const model = await t.CLIPTextModelWithProjection.from_pretrained(name, { dtype: "fp32" });
await model(tokenizer(["a photo of a cat"], { padding: true, truncation: true }));`;
const TRANSFORMERS_IMAGE = `${TRANSFORMERS}
const processor = await t.AutoProcessor.from_pretrained(name);
const model = await t.CLIPVisionModelWithProjection.from_pretrained(name, { dtype: "fp32" });
await model(await processor(await t.RawImage.read(process.argv[2])));`;
/** The same by ours; `process.argv` holds the model and an image. @type {(tower: "text" | "image") => string} */
const ours = (tower) => `
const { load } = await import("torchclip");
const clip = await load(process.argv[1], { towers: "${tower}" });
await ${tower === "text" ? 'clip.encodeTexts(["a photo of a cat"])' : "clip.encodeImages([process.argv[2]])"};
await clip.close();`;

/** Modules that are run in the folder of the peers, and ours beside them. @returns {[string, string, string[]][]} */
function peerCases() {
  const { root, model = "tiny", peers = "", exports = "" } = values;
  return [
    ["fastembed: import", peers, [`import("fastembed")`]],
    ["@huggingface/transformers: import", peers, [`import("@huggingface/transformers")`]],
    ["torchclip: text tower and a text", root, [ours("text"), model]],
    ["@huggingface/transformers: text tower and a text", peers, [TRANSFORMERS_TEXT, exports]],
    ["torchclip: image tower and an image", root, [ours("image"), model, image]],
    ["@huggingface/transformers: image tower and an image", peers, [TRANSFORMERS_IMAGE, exports, image]],
  ];
}

const folder = mkdtempSync(join(tmpdir(), "torchclip-cold-"));
process.on("exit", () => {
  rmSync(folder, { recursive: true });
});
if (values.model) Object.assign(CASES, await casesOf(values.model, folder));
const measurements = Object.fromEntries(
  Object.entries(CASES).map(([name, args]) => [name, () => run(args, values.root)]),
);
for (const [name, cwd, [code, ...args]] of values.peers === undefined ? [] : peerCases())
  measurements[name] = () => run(["--input-type=module", "-e", code, ...args], cwd);
const results = await inTurn(measurements, Number(values.runs));
console.log("| cold start | time | resident |\n|---|---:|---:|");
for (const [name, runs] of Object.entries(results)) {
  const milliseconds = median(runs.map((one) => one.milliseconds));
  const mebibytes = median(runs.map((one) => one.mebibytes));
  console.log(`| \`${name}\` | ${(milliseconds / 1000).toFixed(3)} s | ${mebibytes.toFixed(0)} MiB |`);
}
console.log(machine());
