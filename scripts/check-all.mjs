// `npm run check:all`: the checks that take too long for each commit, one after another. It goes on after a
// failure and ends with status 1 where a stage has failed. The package and the addon must be built.
//   node scripts/check-all.mjs [--only NAME[,NAME]] [--seconds 600] [--libtorch FOLDER]... [--list]
// --only: these stages, or all stages whose names begin with NAME and a hyphen.
// --seconds: of each fuzz target.
// --libtorch: an unpacked libtorch for the stage libtorch-versions; may stand several times.
// The output of a stage goes to build/check-all/NAME.log. Its row in docs/check-all.md is replaced; the rows
// of other stages stay as their last run left them.
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { resultsFile } from "./check-all/results.mjs";
import { selected, stages } from "./check-all/stages.mjs";
import { git } from "./git.mjs";
import { root } from "./setup.mjs";

/** @import { Stage } from "./check-all/stages.mjs" */

const LOGS = join(root, "build/check-all");
const SHOWN_LINES = 20;

/** The commit that is checked out, and whether files differ from it. */
function commitOf() {
  const changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!docs/check-all.md") !== "";
  return `${git("rev-parse", "--short", "HEAD")}${changed ? " with changes" : ""}`;
}

/**
 * How a stage is run by hand.
 * @param {Stage} stage
 */
function commandLine({ command, env = {} }) {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return [...variables, ...command].join(" ");
}

/**
 * Runs a stage with its output in a file; why it failed, if it did.
 * @param {Stage} stage
 */
function failureOf({ name, command: [program, ...args], env, missing }) {
  if (missing !== undefined) return missing;
  const log = join(LOGS, `${name}.log`);
  const output = openSync(log, "w");
  const { status, signal, error } = spawnSync(program, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  if (status === 0) return undefined;
  const lines = readFileSync(log, "utf8").trimEnd().split("\n").slice(-SHOWN_LINES);
  process.stdout.write(`${lines.join("\n")}\n`);
  return error?.message ?? (signal === null ? `status ${status}` : `ended by ${signal}`);
}

/**
 * Runs a stage, prints its result and writes its row; whether it succeeded.
 * @param {Stage} stage
 */
function run(stage) {
  process.stdout.write(`${stage.name} …\n`);
  const start = performance.now();
  const failure = failureOf(stage);
  const seconds = Math.round((performance.now() - start) / 1000);
  const result = failure === undefined ? "ok" : `FAILED: ${failure}`;
  process.stdout.write(`${stage.name}: ${result} (${seconds} s)\n`);
  resultsFile.put({ stage, result, seconds, commit: commitOf() });
  return failure === undefined;
}

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    seconds: { type: "string", default: "600" },
    libtorch: { type: "string", multiple: true, default: [] },
    list: { type: "boolean", default: false },
  },
});
const { stages: wanted, unknown } = selected(stages(values), values.only?.split(","));
if (unknown.length > 0) {
  process.stderr.write(`There is no stage ${unknown.join(", ")}; --list shows all.\n`);
  process.exitCode = 2;
} else if (values.list) {
  for (const stage of wanted) process.stdout.write(`${stage.name}: ${commandLine(stage)}\n`);
} else {
  mkdirSync(LOGS, { recursive: true });
  const results = wanted.map(run);
  const failed = results.filter((succeeded) => !succeeded).length;
  process.stdout.write(`${results.length - failed} stages passed, ${failed} failed\n`);
  process.exitCode = failed > 0 ? 1 : 0;
}
