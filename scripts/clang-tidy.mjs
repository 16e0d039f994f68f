// Runs clang-tidy with the checks of .clang-tidy on native files that differ from a base commit, and on those that include
// a header that differs.
//   node scripts/clang-tidy.mjs [BASE]     default: where this branch left main, or the commit before
//   node scripts/clang-tidy.mjs --all      all files
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { git } from "./git.mjs";
import { BUILD_FOLDER, configure, runAll } from "./native/commands.mjs";
import { root } from "./setup.mjs";

const CHECKED = /^native\/(core|torch|addon|cuda)\//;

function defaultBase() {
  const head = git("rev-parse", "HEAD");
  const fork = git("merge-base", "HEAD", "main");
  return fork === head ? "HEAD~1" : fork;
}

/**
 * Of `files`, those that differ from `base` or include a header that does.
 * @param {readonly import("./native/commands.mjs").Compilation[]} files
 * @param {string} base
 */
function changed(files, base) {
  const names = new Set(git("diff", "--name-only", base).split("\n"));
  const headers = [...names].filter((name) => CHECKED.test(name) && name.endsWith(".h"));
  const includes = headers.map((name) => `"${name.replace(CHECKED, "")}"`);
  return files.filter(({ file }) => {
    if (names.has(file)) return true;
    const text = readFileSync(file, "utf8");
    return includes.some((include) => text.includes(`#include ${include}`));
  });
}

process.chdir(root);
const start = performance.now();
const [, , argument = ""] = process.argv;
const all = configure().filter(({ file }) => CHECKED.test(file));
const files = argument === "--all" ? all : changed(all, argument || defaultBase());
const build = relative(root, BUILD_FOLDER);
const failed = await runAll(
  files.map(({ file }) => ({ command: `clang-tidy -p ${build} --quiet ${file}`, directory: root })),
);
const seconds = ((performance.now() - start) / 1000).toFixed(0);
process.stdout.write(`clang-tidy: ${files.length} files in ${seconds} s, ${failed} with findings\n`);
process.exit(failed ? 1 : 0);
