// See scripts/package-test.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeRedCircle } from "../../red-circle.mjs";
import { root } from "../../setup.mjs";
import { mountProc, newWork, prepareDebian, unmountProc } from "./chroot.mjs";
import { publish, startRegistry } from "./registry.mjs";
import { cSteps, debianSteps, emulatedSteps } from "./steps.mjs";
import { installTools } from "./tools.mjs";

/** @typedef {{ name: string, work: () => string | Promise<string> }} Step `work` returns a remark or "" */

const words = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "torchclip-package-test-"));
const photo = join(folder, "photo.png");
let failed = 0;

/**
 * Runs one step and prints its seconds; a failure shows its output, and the others still run.
 * @param {Step} step
 */
async function run({ name, work }) {
  const start = performance.now();
  const seconds = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  try {
    const remark = await work();
    process.stdout.write(`${name}: ok (${seconds()})${remark ? `: ${remark}` : ""}\n`);
    return true;
  } catch (error) {
    failed += 1;
    const {
      message,
      stdout = "",
      stderr = "",
    } = /** @type {Error & { stdout?: string | Buffer, stderr?: string | Buffer }} */ (error);
    process.stdout.write(`${name}: failed (${seconds()})\n${message}\n${String(stdout)}${String(stderr)}\n`);
    return false;
  }
}

const packages = join(root, "build-package/packages");
const prepared = await run({
  name: "tools",
  work: () => {
    installTools();
    return "";
  },
});
if (!prepared) process.exit(1);
const registry = await startRegistry();
try {
  await writeRedCircle(photo);
  /** @type {Step[]} */
  const first = [
    { name: "publish to a registry on this machine", work: () => (publish(packages, registry.url), "") },
    {
      name: "a Debian without compiler, CMake and Python",
      work: () => {
        prepareDebian();
        mountProc();
        newWork({
          "photo.png": photo,
          dependent: join(root, "test/dependent"),
          "server.mjs": join(root, "examples/server.mjs"),
        });
        return "";
      },
    },
  ];
  let ready = true;
  for (const step of first) ready = (await run(step)) && ready;
  const steps = [
    ...debianSteps(registry),
    ...cSteps(packages, folder),
    ...emulatedSteps(registry.url, folder, photo),
  ];
  const wanted = steps.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
  if (ready) for (const step of wanted) await run(step);
} finally {
  unmountProc();
  registry.close();
  rmSync(folder, { recursive: true, force: true });
}
process.stdout.write(failed === 0 ? "package test: ok\n" : `package test: ${failed} failed\n`);
process.exit(failed === 0 ? 0 : 1);
