// `npm test`: sets up what is missing, then CTest and mocha, and mocha again for what depends on the kernels
// with fewer instructions; the last line is the sum, "N passed, N failed".
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root, setup } from "./setup.mjs";

// What runs with every value of TORCHCLIP_ISA beside the machine's own kernels. (CTest does so by itself.)
const INSTRUCTION_SETS = ["avx2", "none"];
const KERNEL_SUITES = [
  "test/clip.test.ts",
  "test/embeddings.test.ts",
  "test/fast.test.ts",
  "test/models/families.test.ts",
  "test/models/goldens.test.ts",
  "test/search/index.test.ts",
];

/** @typedef {{ code: number | null, output: string }} Ended a process that ended, and what it printed */

/**
 * Runs a command and shows what it prints.
 * @param {string} command
 * @param {string[]} args
 * @param {Record<string, string>} env
 * @returns {Promise<Ended>}
 */
function run(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (/** @type {string} */ chunk) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    child.on("error", (error) => {
      resolve({ code: 1, output: String(error) });
    });
    child.on("close", (code) => {
      resolve({ code, output });
    });
  });
}

/**
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 */
const runMocha = (args, env) =>
  run(process.execPath, [join(root, "node_modules/mocha/bin/mocha.js"), ...args], env);

/**
 * The suites, and those of the kernels with fewer instructions.
 * @param {string[]} asked options and files for mocha; without a file all suites run
 */
async function runSuites(asked) {
  const suites = asked.some((word) => word.endsWith(".ts")) ? asked : ["test/**/*.test.ts", ...asked];
  const runs = [await runMocha(suites)];
  if (asked.length > 0 || process.env.TORCHCLIP_ISA !== undefined) return runs;
  for (const isa of INSTRUCTION_SETS) {
    const start = performance.now();
    // CUDA does not depend on the CPU's kernels.
    runs.push(await runMocha(["--grep", "CUDA", "--invert", ...KERNEL_SUITES], { TORCHCLIP_ISA: isa }));
    process.stdout.write(`with TORCHCLIP_ISA=${isa}: ${((performance.now() - start) / 1000).toFixed(0)} s\n`);
  }
  return runs;
}

/** @type {(text: string, pattern: RegExp) => number} */
const count = (text, pattern) => Number(pattern.exec(text)?.[1] ?? 0);

/**
 * Prints the sum; whether all passed.
 * @param {Ended} ctest
 * @param {Ended[]} runs
 */
function report(ctest, runs) {
  const total =
    count(ctest.output, /tests passed, \d+ tests failed out of (\d+)/) ||
    count(ctest.output, /tests failed out of (\d+)/);
  if (total === 0)
    process.stderr.write(
      "There are no native tests: install doctest (see CONTRIBUTING.md) and build again.\n",
    );
  const nativeFailed = count(ctest.output, /(\d+) tests failed out of/);
  /** @param {RegExp} pattern */
  const sum = (pattern) => runs.reduce((all, { output }) => all + count(output, pattern), 0);
  const passed = total - nativeFailed + sum(/(\d+) passing/);
  let failed = nativeFailed + sum(/(\d+) failing/);
  // A runner that broke down without counting a failure has failed all the same.
  if ([ctest, ...runs].some(({ code }) => code !== 0) || total === 0) failed ||= 1;
  const pending = sum(/(\d+) pending/);
  process.stdout.write(`${passed} passed, ${failed} failed${pending ? `, ${pending} skipped` : ""}\n`);
  return failed === 0;
}

try {
  await setup();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.stdout.write("0 passed, 1 failed\n");
  process.exit(1);
}
const ctest = await run("ctest", ["--test-dir", "build", "--output-on-failure", "--no-tests=error"]);
const runs = await runSuites(process.argv.slice(2));
process.exit(report(ctest, runs) ? 0 : 1);
