// `npm test`: sets up what is missing, then CTest and mocha; the last line is the sum, "N passed, N failed".
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root, setup } from "./setup.mjs";

const run = (command, args) =>
  new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    child.on("error", (error) => resolve({ code: 1, output: String(error) }));
    child.on("close", (code) => resolve({ code, output }));
  });
const count = (text, pattern) => Number(pattern.exec(text)?.[1] ?? 0);

try {
  await setup();
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.stdout.write("0 passed, 1 failed\n");
  process.exit(1);
}

const ctest = await run("ctest", ["--test-dir", "build", "--output-on-failure"]);
const total = count(ctest.output, /tests passed, \d+ tests failed out of (\d+)/) || count(ctest.output, /tests failed out of (\d+)/);
const nativeFailed = count(ctest.output, /(\d+) tests failed out of/);
// Options and files of mocha may be given; without a file all suites run.
const given = process.argv.slice(2);
const suites = given.some((word) => word.endsWith(".ts")) ? given : ["test/**/*.test.ts", ...given];
const mocha = await run(process.execPath, [join(root, "node_modules/mocha/bin/mocha.js"), ...suites]);
let passed = total - nativeFailed + count(mocha.output, /(\d+) passing/);
let failed = nativeFailed + count(mocha.output, /(\d+) failing/);
// A runner that broke down without counting a failure has failed all the same.
if ((ctest.code !== 0 || mocha.code !== 0 || total === 0) && failed === 0) failed = 1;
const pending = count(mocha.output, /(\d+) pending/);
process.stdout.write(`${passed} passed, ${failed} failed${pending ? `, ${pending} skipped` : ""}\n`);
process.exit(failed ? 1 : 0);
