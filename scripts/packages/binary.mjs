// Checks binaries of packages: the versions of the system's symbols that they need, the libraries, and their size.
//   node scripts/packages/binary.mjs FILE...
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { root } from "../setup.mjs";

/**
 * What a binary may need of a system.
 * @typedef {{ libraries: RegExp, newest: Partial<Record<string, string>> }} Floor `newest`: versions of symbols
 */

/** libgcc_s has had its symbols since GCC 4.5. libstdc++ is not there: each system has another one. */
const SYSTEM = /** @type {Floor} */ ({
  libraries: /^(lib(c|m|dl|pthread|gcc_s)|ld-linux-(x86-64|aarch64))\.so\.\d+$/,
  newest: { GLIBC: "2.28", GCC: "4.5.0" },
});

/**
 * A backend exchanges objects of the standard library with libtorch, so both use the system's libstdc++, from
 * GCC 8 on: distributions with glibc 2.28 have that or a later one.
 */
const WITH_LIBTORCH = /** @type {Floor} */ ({
  libraries: new RegExp(`${SYSTEM.libraries.source}|^lib(c10|torch_cpu)\\.so$|^libstdc\\+\\+\\.so\\.6$`),
  newest: { ...SYSTEM.newest, GLIBCXX: "3.4.25", CXXABI: "1.3.11" },
});

/** @param {string} file */
export const floorOf = (file) => (basename(file).startsWith("libtorchclip_torch.") ? WITH_LIBTORCH : SYSTEM);

const MOST_BYTES = 8e6;
const MOST_COMPRESSED = 3e6;

/**
 * What is wrong with a binary, by what `readelf -dW` and `readelf --dyn-syms -W` print of it.
 * @param {string} dynamic
 * @param {string} symbols
 * @param {Floor} floor
 * @returns {string[]}
 */
export function problemsOf(dynamic, symbols, floor = SYSTEM) {
  const libraries = [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]$/gm)].map((match) => match[1]);
  const problems = libraries
    .filter((library) => !floor.libraries.test(library))
    .map((library) => `it needs ${library}`);
  if (libraries.length === 0) problems.push("readelf shows no library that it needs");
  const runPath = /\((?:RUNPATH|RPATH)\).*\[(.*)\]$/m.exec(dynamic)?.[1];
  if (runPath !== undefined && runPath !== "$ORIGIN") problems.push(`it looks for libraries in ${runPath}`);
  for (const [, name, version] of symbols.matchAll(/ UND ([^\s@]+)@([A-Z]+_[\d.]+)/g)) {
    if (isNewer(version, floor)) problems.push(`it needs ${name} of ${version}`);
  }
  return problems;
}

/**
 * @param {string} version "GLIBC_2.34"
 * @param {Floor} floor
 */
function isNewer(version, floor) {
  const [library, number] = version.split("_");
  const newest = floor.newest[library];
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
  const problems = problemsOf(readelf("-d"), readelf("--dyn-syms"), floorOf(file));
  const content = readFileSync(file);
  const bytes = content.length;
  const compressed = gzipSync(content, { level: 9 }).length;
  if (bytes > MOST_BYTES) problems.push(`it has ${bytes} bytes, more than ${MOST_BYTES}`);
  if (compressed > MOST_COMPRESSED) problems.push(`it has ${compressed} bytes compressed`);
  for (const folder of [root, `${homedir()}/`]) {
    if (content.includes(folder)) problems.push(`it holds the path ${folder}, which another machine has not`);
  }
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
