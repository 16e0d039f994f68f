// Cold starts: the time from the start of a process to its end, and its largest resident set, as medians of
// fresh processes in turn. The files are in the page cache: the first round is left out.
//   node bench/cold-start.mjs [--runs 10] [--root FOLDER]      FOLDER: a built checkout; default: this one
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { inTurn, machine, median } from "./rounds.mjs";

const here = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: { runs: { type: "string", default: "10" }, root: { type: "string", default: here } },
});

const main = join(values.root, "dist/cli/main.js");
const image = join(here, "test/fixtures/images/rgb420.jpg");
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

const measurements = Object.fromEntries(Object.entries(CASES).map(([name, args]) => [name, () => run(args)]));
const results = await inTurn(measurements, Number(values.runs));
console.log("| cold start | time | resident |\n|---|---:|---:|");
for (const [name, runs] of Object.entries(results)) {
  const milliseconds = median(runs.map((one) => one.milliseconds));
  const mebibytes = median(runs.map((one) => one.mebibytes));
  console.log(`| \`${name}\` | ${(milliseconds / 1000).toFixed(3)} s | ${mebibytes.toFixed(0)} MiB |`);
}
console.log(machine());
