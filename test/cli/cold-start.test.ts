import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { fixture, root, temporaryFolder } from "../support/index.js";
import { MAIN, printedBy, runNode } from "../support/process.js";

const logger = pathToFileURL(join(root, "test/support/log-modules.mjs")).href;

/** What sharp is made of. */
const SHARP = /^(sharp|@img\/.*|detect-libc|semver)$/;

describe("a cold start", () => {
  const folder = temporaryFolder();

  /** The URLs of the modules that a process loads. */
  function modulesOf(...args: string[]): string[] {
    const log = join(folder, "modules.log");
    rmSync(log, { force: true });
    printedBy(runNode(["--import", logger, ...args], { cwd: root, env: { MODULE_LOG: log } }));
    return readFileSync(log, "utf8").split("\n").filter(Boolean);
  }

  /** The names of the packages of these modules, each once. */
  function packagesOf(modules: readonly string[]): string[] {
    const inPackages = modules.filter((url) => url.includes("/node_modules/"));
    const names = inPackages.map((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? url);
    return [...new Set(names)].sort();
  }

  const isAddon = (url: string) => url.endsWith("/torchclip.node");

  for (const args of [
    ["--version"],
    ["--help"],
    ["help", "classify"],
    ["eval", "--help"],
    ["models", "--help"],
    ["serve", "--help"],
  ]) {
    it(`of \`torchclip ${args.join(" ")}\` loads the parser of the command line alone`, () => {
      const modules = modulesOf(MAIN, ...args);
      assert.deepEqual(packagesOf(modules), ["commander"]);
      assert.ok(!modules.some(isAddon));
      const others = modules.filter((url) => /\/dist\/(clip|models|datasets|eval|report)\//.test(url));
      assert.deepEqual(others, []);
    });
  }

  it('of `import "torchclip"` loads no package and not the addon', () => {
    const modules = modulesOf("--eval", 'await import("torchclip")', "--input-type=module");
    assert.ok(modules.some((url) => url.endsWith("/dist/index.js")));
    assert.deepEqual(packagesOf(modules), []);
    assert.ok(!modules.some(isAddon));
  });

  it("of `torchclip classify` loads what decodes an image, and nothing of other commands", () => {
    const args = ["classify", fixture("images/rgb420.jpg"), "--labels", "a,b", "--model", "tiny"];
    const modules = modulesOf(MAIN, ...args);
    const packages = packagesOf(modules).filter((name) => !SHARP.test(name));
    assert.deepEqual(packages, ["commander"]);
    assert.ok(modules.some(isAddon));
    const others = modules.filter((url) => /\/dist\/(datasets\/registry|eval|report\/(?!text))/.test(url));
    assert.deepEqual(others, []);
  });
});
