// Checks binaries of packages: the versions of the system's symbols that they need, the libraries, and their size.
//   node scripts/packages/binary.mjs FILE...
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { root } from "../setup.mjs";

/** Newest versions that a binary may need. libgcc_s has had these since GCC 4.5. */
const NEWEST = /** @type {Partial<Record<string, string>>} */ ({ GLIBC: "2.28", GCC: "4.5.0" });
/** libstdc++ is not among them: each system has another one. */
const SYSTEM_LIBRARIES = /^(lib(c|m|dl|pthread|gcc_s)|ld-linux-(x86-64|aarch64))\.so\.\d+$/;
const MOST_BYTES = 8e6;
const MOST_COMPRESSED = 3e6;

/**
 * What is wrong with a binary, by what `readelf -dW` and `readelf --dyn-syms -W` print of it.
 * @param {string} dynamic
 * @param {string} symbols
 * @returns {string[]}
 */
export function problemsOf(dynamic, symbols) {
  const libraries = [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]$/gm)].map((match) => match[1]);
  const problems = libraries
    .filter((library) => !SYSTEM_LIBRARIES.test(library))
    .map((library) => `it needs ${library}`);
  if (libraries.length === 0) problems.push("readelf shows no library that it needs");
  const runPath = /\((?:RUNPATH|RPATH)\).*\[(.*)\]$/m.exec(dynamic)?.[1];
  if (runPath !== undefined && runPath !== "$ORIGIN") problems.push(`it looks for libraries in ${runPath}`);
  for (const [, name, version] of symbols.matchAll(/ UND ([^\s@]+)@([A-Z]+_[\d.]+)/g)) {
    if (isNewer(version)) problems.push(`it needs ${name} of ${version}`);
  }
  return problems;
}

/** @param {string} version "GLIBC_2.34" */
function isNewer(version) {
  const [library, number] = version.split("_");
  const newest = NEWEST[library];
  if (newest === undefined) return true;
  return compare(number, newest) > 0;
}

/**
 * @param {string} a
 * @param {string} b
 */
function compare(a, b) {
  const [left, right] = [a, b].map((text) => text.split(".").map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** @param {string} file */
function check(file) {
  const readelf = (/** @type {string} */ option) =>
    execFileSync("readelf", ["-W", option, file], { encoding: "utf8" });
  const problems = problemsOf(readelf("-d"), readelf("--dyn-syms"));
  const content = readFileSync(file);
  const bytes = statSync(file).size;
  const compressed = gzipSync(content, { level: 9 }).length;
  if (bytes > MOST_BYTES) problems.push(`it has ${bytes} bytes, more than ${MOST_BYTES}`);
  if (compressed > MOST_COMPRESSED) problems.push(`it has ${compressed} bytes compressed`);
  if (content.includes(root)) problems.push(`it holds the path ${root}, which another machine has not`);
  const size = `${(bytes / 1e6).toFixed(2)} MB, ${(compressed / 1e6).toFixed(2)} MB compressed`;
  process.stdout.write(`${basename(file)}: ${size}: ${problems.length ? "FAILED" : "ok"}\n`);
  for (const problem of problems) process.stdout.write(`  ${problem}\n`);
  return problems.length === 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = process.argv.slice(2);
  if (files.length === 0) throw new Error("usage: binary.mjs FILE...");
  process.exitCode = files.map(check).every(Boolean) ? 0 : 1;
}
