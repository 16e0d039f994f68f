// `npm run check`: types, lint and format of TypeScript and C++, lint of Python and shell scripts, the
// layers, and the package's entry points as publint and @arethetypeswrong see them (dist/ must be built).
// With --fix (`npm run format`) it corrects what it can. A tool that is not installed fails its step.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./setup.mjs";

/** @typedef {{ name: string, command: string[] }} Step */

const SCRIPTED = ["lib", "test", "scripts", "bench", "examples", "eslint.config.mjs"];

/** @type {(tool: string, ...args: string[]) => string[]} */
const tool = (path, ...args) => [process.execPath, join(root, "node_modules", path), ...args];

/**
 * The files below a folder of the project.
 * @param {string} folder
 */
const filesOf = (folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

/** Files of scripts/ that begin as a program of bash or sh, and the one that CI runs. */
function shellScripts() {
  const named = filesOf("scripts").filter((file) => !/\.(mjs|ts|py|json)$/.test(file));
  const isShell = /^#!.*\b(ba)?sh\b/;
  return [join(root, ".ci/run"), ...named].filter((file) => isShell.test(readFileSync(file, "utf8")));
}

/**
 * @param {boolean} fix
 * @returns {Step[]}
 */
function typeScriptSteps(fix) {
  const types = (/** @type {string} */ project) => tool("typescript/bin/tsc", "--noEmit", "-p", project);
  const prettier = [fix ? "--write" : "--check", "--log-level", "warn", ...SCRIPTED];
  return [
    { name: "types", command: types("test/tsconfig.json") },
    { name: "types of scripts and benches", command: types("scripts/tsconfig.json") },
    { name: "types of what reads untrusted files", command: types("lib/tsconfig.untrusted.json") },
    { name: "lint", command: tool("eslint/bin/eslint.js", ...(fix ? ["--fix"] : []), ...SCRIPTED) },
    { name: "format of TypeScript", command: tool("prettier/bin/prettier.cjs", ...prettier) },
    { name: "layers", command: [process.execPath, "scripts/check-layers.mjs", ...(fix ? ["--write"] : [])] },
  ];
}

/**
 * @param {boolean} fix
 * @returns {Step[]}
 */
function otherLanguageSteps(fix) {
  const ruff = ["ruff", "check", "--quiet", ...(fix ? ["--fix"] : []), "bench", "scripts"];
  const clangFormat = ["clang-format", ...(fix ? ["-i"] : ["--dry-run", "-Werror"])];
  const sources = filesOf("native").filter((file) => /\.(cpp|h|hpp|cu|c)$/.test(file));
  return [
    { name: "lint of Python (ruff)", command: ruff },
    {
      name: "lint of shell scripts (shellcheck)",
      command: ["shellcheck", "--severity=warning", ...shellScripts()],
    },
    { name: "format of C++", command: [...clangFormat, ...sources] },
  ];
}

/** @type {Step[]} */
const entryPointSteps = [
  { name: "entry points (publint)", command: tool("publint/src/cli.js", "--strict") },
  {
    name: "entry points (attw)",
    command: tool(
      "@arethetypeswrong/cli/dist/index.js",
      ...["--pack", ".", "--profile", "node16", "--format", "ascii", "--quiet"],
    ),
  },
];

/**
 * Runs a step and prints its result; whether it succeeded.
 * @param {Step} step
 */
function run({ name, command: [program, ...args] }) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: "inherit" });
  const missing = error && "code" in error && error.code === "ENOENT";
  const why = missing ? `, ${program} is not installed` : "";
  process.stdout.write(`${name}: ${status === 0 ? "ok" : `FAILED${why}`}\n`);
  return status === 0;
}

const fix = process.argv.includes("--fix");
const steps = [...typeScriptSteps(fix), ...otherLanguageSteps(fix), ...(fix ? [] : entryPointSteps)];
const results = steps.map(run);
process.exit(results.every(Boolean) ? 0 : 1);
