import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { checkLayers } from "../../scripts/check-layers.mjs";
import { withTable } from "../../scripts/layers/document.mjs";
import type { StatedException, StatedLayer } from "../../scripts/layers/types.js";
import { root, temporaryFolder } from "../support/index.js";

type Tree = Record<string, string>;

const LAYERS: StatedLayer[] = [
  { name: "native/base", holds: "the ground" },
  { name: "native/model", holds: "models", uses: ["native/base"], external: ["libtorch"] },
  { name: "lib/settings.ts", holds: "the environment", external: ["the environment"] },
  { name: "lib/addon.ts", holds: "the addon", uses: ["lib/settings.ts"], external: ["the .node file"] },
  { name: "lib/eval", holds: "metrics", uses: ["lib/settings.ts"], types: ["lib/addon.ts"] },
  { name: "lib/cli", holds: "commands", uses: ["lib/*"] },
];

/** A tree in which nothing is broken. */
const TREE: Tree = {
  "native/base/error.h": "#include <string>\n// getenv is named in a comment\n",
  "native/model/run.cpp": '#include "base/error.h"\n#include <torch/script.h>\nauto text = "getenv";\n',
  "lib/settings.ts": 'import { env } from "node:process";\nexport const cache = env.CACHE;\n',
  "lib/addon.ts": 'import "./settings.js";\nexport type A = object;\nexport const file = "a.node";\n',
  "lib/eval/metrics.ts": 'import type { A } from "../addon.js";\nexport const help = "process.env"; // env\n',
  "lib/cli/main.ts": 'import { file } from "../addon.js";\nimport { help } from "../eval/metrics.js";\n',
};

describe("layers", () => {
  const parent = temporaryFolder();
  let trees = 0;

  /** The problems of the sound tree with these files changed. */
  async function problemsOf(changed: Tree = {}, exceptions: StatedException[] = [], layers = LAYERS) {
    const folder = join(parent, String(trees++));
    for (const [file, text] of Object.entries({ ...TREE, ...changed })) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), text);
    }
    const libraries = { libtorch: ["torch/"] };
    const places = { sources: ["lib", "native"], skipped: [], scanned: ["lib"], includeFolders: ["native"] };
    return (await checkLayers(folder, { ...places, libraries, layers, exceptions })).problems;
  }
  const why = "named in a test";

  it("are kept in a tree that follows the table", async () => {
    assert.deepEqual(await problemsOf(), []);
  });

  it("name both files of a break, in TypeScript and in C++", async () => {
    const problems = await problemsOf({
      "lib/eval/metrics.ts": 'import { file } from "../addon.js";\nexport const help = file;\n',
      "native/base/error.h": '#include "model/run.h"\n',
      "native/model/run.h": "",
    });
    assert.deepEqual(problems, [
      "lib/eval/metrics.ts → lib/addon.ts: lib/eval may import types of it alone",
      "native/base/error.h → native/model/run.h: native/base may not use it",
    ]);
  });

  it("name a library and the addon's file where they are not allowed, and a missing header", async () => {
    const problems = await problemsOf({
      "lib/eval/metrics.ts": "export const help = (path: string) => process.dlopen(module, path);\n",
      "native/base/error.h": '#include <torch/script.h>\n#include "gone.h"\n/*\n#include "no.h"\n*/\n',
    });
    assert.deepEqual(problems, [
      'native/base/error.h includes "gone.h", which no include folder holds',
      "native/base/error.h uses libtorch; native/base may not",
      "lib/eval/metrics.ts uses the .node file; lib/eval may not",
    ]);
  });

  it("find a circle of imports, of types alone too, and of includes", async () => {
    const problems = await problemsOf({
      "lib/eval/metrics.ts": 'export { help } from "./table.js";\nexport type Row = object;\n',
      "lib/eval/table.ts": 'import type { Row } from "./metrics.js";\nexport const help: Row[] = [];\n',
      "native/base/error.h": '#include "json.h"\n',
      "native/base/json.h": '#include "base/error.h"\n',
    });
    assert.deepEqual(problems, [
      "a circle: lib/eval/metrics.ts → lib/eval/table.ts → lib/eval/metrics.ts",
      "a circle: native/base/error.h → native/base/json.h → native/base/error.h",
    ]);
  });

  for (const [name, text] of [
    ["process.env", "export const help = process.env.HOME;"],
    ['process["env"]', 'export const help = process["env"];'],
    ["an import of env", 'import { env as all } from "node:process";\nexport const help = all;'],
    ["another name of the module", 'import os from "node:process";\nexport const help = os.env;'],
    ["destructuring", "export const { env: help } = process;"],
  ]) {
    it(`find a read of the environment: ${name}`, async () => {
      const problems = await problemsOf({ "lib/eval/metrics.ts": `${text}\n` });
      assert.deepEqual(problems, ["lib/eval/metrics.ts uses the environment; lib/eval may not"]);
    });
  }

  it("find a read of the environment in C++", async () => {
    const text = 'int n = 1\'000; char* a = std::getenv("A");\n';
    const problems = await problemsOf({ "native/base/error.h": text });
    assert.deepEqual(problems, ["native/base/error.h uses the environment; native/base may not"]);
  });

  it("forgive what an exception names, and nothing else", async () => {
    const changed = {
      "lib/eval/metrics.ts": 'import "../cli/main.js";\nexport const help = process.env;\n',
      "lib/eval/table.ts": 'import "../cli/main.js";\n',
    };
    const exceptions = [
      { from: "lib/eval/metrics.ts", to: "lib/cli/main.ts", why },
      { from: "lib/eval/metrics.ts", to: "the environment", why },
    ];
    const left = ["lib/eval/table.ts → lib/cli/main.ts: lib/eval may not use it"];
    assert.deepEqual(await problemsOf(changed, exceptions), left);
  });

  it("name an exception whose use is gone, or breaks nothing, or that stands twice", async () => {
    const gone = { from: ["lib/eval/metrics.ts", "lib/eval/gone.ts"], to: "lib/cli/main.ts", why };
    const allowed = { from: "lib/cli/main.ts", to: "lib/addon.ts", why };
    const needed = { from: "lib/eval/metrics.ts", to: "the environment", why };
    const changed = { "lib/eval/metrics.ts": "export const help = process.env;\n" };
    assert.deepEqual(await problemsOf(changed, [gone, allowed, needed, needed]), [
      "the exception lib/eval/metrics.ts → lib/cli/main.ts is no longer needed; remove it",
      "the exception lib/eval/gone.ts → lib/cli/main.ts is no longer needed; remove it",
      "the exception lib/cli/main.ts → lib/addon.ts is no longer needed; remove it",
      "the exception lib/eval/metrics.ts → the environment is no longer needed; remove it",
    ]);
  });

  it("hold every file, and name a folder that has gone", async () => {
    const layers = [...LAYERS, { name: "lib/gone", holds: "nothing" }];
    assert.deepEqual(await problemsOf({ "lib/new/a.ts": "" }, [], layers), [
      "lib/new/a.ts: no layer of the table holds it; add its folder",
      "lib/gone: no file is in lib/gone; remove it from the table",
    ]);
  });

  it("are a ladder: a layer may use only what stands above it", async () => {
    const upward = { name: "lib/first", holds: "the first", uses: ["lib/cli"] };
    const message = /lib\/first may not use lib\/cli, which is no layer above it/;
    await assert.rejects(problemsOf({ "lib/first/a.ts": "" }, [], [upward, ...LAYERS]), message);
  });

  it("stand in CONTRIBUTING.md between markers", () => {
    const text = readFileSync(join(root, "CONTRIBUTING.md"), "utf8");
    const layer = { name: "lib/eval", files: ["lib/eval"], holds: "metrics", external: ["libtorch"] };
    const stated = { uses: ["lib/util"], types: ["lib/clip.ts"] };
    const written = withTable(text, { layers: [{ ...layer, stated }] });
    assert.match(written, /\| `lib\/eval` \| metrics \| `util`; types of `clip.ts`; libtorch \|/);
    assert.ok(written.startsWith(text.slice(0, text.indexOf("\n| files"))));
    assert.ok(written.endsWith(text.slice(text.indexOf("## Goldens"))));
    assert.equal(withTable(written, { layers: [{ ...layer, stated }] }), written);
    assert.throws(() => withTable("no markers", { layers: [] }), /CONTRIBUTING\.md lacks/);
  });
});
