import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { root, temporaryFolder, tinyModel } from "../support/index.js";
import { printedBy, runScript } from "../support/process.js";
import { tinySafetensors, tinyTokenizer } from "../support/tiny.js";

const addonFile = process.env.TORCHCLIP_ADDON ?? join(root, "build/Release/torchclip.node");
/** The folder of the addon, with the backends that were built with it. */
const built = dirname(addonFile);

/** What a process prints that loads `tiny`, encodes an image and a text, and looks at its libraries. */
function mapped(options: object): { torch: boolean; runner: string } {
  const script = `
    import { readFileSync } from "node:fs";
    import { load } from ${JSON.stringify(join(root, "dist/index.js"))};
    const clip = await load(${JSON.stringify(tinyModel)}, ${JSON.stringify(options)});
    await clip.encodeImages([{ data: new Uint8Array(48), width: 4, height: 4, channels: 3 }]);
    await clip.encodeTexts(["a red square"]);
    const torch = /libtorch_cpu/.test(readFileSync("/proc/self/maps", "utf8"));
    process.stdout.write(JSON.stringify({ torch, runner: clip.info.imageRunner }));
    await clip.close();`;
  return JSON.parse(printedBy(runScript(script))) as { torch: boolean; runner: string };
}

describe("libtorch", () => {
  before(function () {
    if (!existsSync("/proc/self/maps")) this.skip();
  });

  it("is not opened where torchclip's own kernels run both towers", () => {
    const { torch, runner } = mapped({ device: "cpu" });
    assert.match(runner, /^fast/);
    assert.equal(torch, false);
  });

  it("is opened by the generic runner", () => {
    const { torch, runner } = mapped({ device: "cpu", runner: "generic" });
    assert.match(runner, /^generic/);
    assert.equal(torch, true);
  });
});

describe("an addon without libtorchclip_torch beside it", () => {
  const folder = temporaryFolder();
  // The addon finds the library in its own folder alone.
  const alone = join(folder, "torchclip.node");
  before(() => copyFileSync(addonFile, alone));

  /** Runs a module with this addon; what it gives to `out`. TORCHCLIP_LIBTORCH is not set otherwise. */
  function run(script: string, environment: Record<string, string> = {}): unknown {
    const lines = [
      `import { load } from ${JSON.stringify(join(root, "dist/index.js"))};`,
      `import { addon } from ${JSON.stringify(join(root, "dist/addon.js"))};`,
      `import { importModel } from ${JSON.stringify(join(root, "dist/models/import/import.js"))};`,
      "const out = (value) => process.stdout.write(JSON.stringify(value));",
      script,
    ];
    const env = { TORCHCLIP_ADDON: alone, TORCHCLIP_LIBTORCH: "", ...environment };
    const printed = printedBy(runScript(lines.join("\n"), [], { env }));
    return JSON.parse(printed);
  }
  const verifyTiny = `
    out(await addon().verifyArtifact(${JSON.stringify(tinyModel)}).then(
      () => "the same",
      (error) => error.code + " " + error.message,
    ));`;
  const embeddings = (model: string) => `
    const clip = await load(${JSON.stringify(model)}, { device: "cpu" });
    const images = await clip.encodeImages([{ data: new Uint8Array(48), width: 4, height: 4, channels: 3 }]);
    const texts = await clip.encodeTexts(["a red square"]);
    await clip.close();
    out([...images.data, ...texts.data]);`;

  it("imports a model, whose embeddings are the same", async () => {
    const source = { weights: join(folder, "model.safetensors"), tokenizer: join(folder, "tokenizer.json") };
    writeFileSync(source.weights, await tinySafetensors());
    writeFileSync(source.tokenizer, await tinyTokenizer());
    const model = join(folder, "model.pt");
    const make = `await importModel(${JSON.stringify(source)}, ${JSON.stringify(model)});`;
    assert.deepEqual(run(make + embeddings(model)), run(embeddings(tinyModel)));
  });

  it("says what is missing where libtorch is needed", () => {
    const message = run(verifyTiny);
    assert.match(
      String(message),
      /^E_ADDON comparing the code of an artifact needs libtorch, and libtorchclip_torch\.so is missing \(looked for in /,
    );
    assert.match(String(message), /npx torchclip setup torch; in a clone of the repository: npm run build$/);
  });

  it("finds the library in a folder that the program names, with the libtorch recorded there", () => {
    const places = `addon().setBackendPlaces([${JSON.stringify(built)}], "");`;
    assert.equal(run(places + verifyTiny), "the same");
  });

  it("opens the libtorch that the program names", () => {
    const places = `addon().setBackendPlaces([${JSON.stringify(built)}], "/no/such/libtorch");`;
    assert.match(String(run(places + verifyTiny)), /does not load: \/no\/such\/libtorch\/lib\/libc10/);
  });

  it("prefers what the environment names", () => {
    const places = `addon().setBackendPlaces([${JSON.stringify(built)}], "/no/such/libtorch");`;
    const libtorch = readFileSync(join(built, "libtorchclip_torch.libtorch.txt"), "utf8").trim();
    assert.equal(run(places + verifyTiny, { TORCHCLIP_LIBTORCH: libtorch }), "the same");
    assert.equal(run(verifyTiny, { TORCHCLIP_BACKENDS: built }), "the same");
  });
});

describe("the libraries of torchclip", () => {
  it("have no search path of their own", function () {
    if (process.platform !== "linux") this.skip();
    for (const name of ["libtorchclip_torch.so", "libtorchclip.so", "torchclip.node"]) {
      const dynamic = execFileSync("readelf", ["-d", join(built, name)], { encoding: "utf8" });
      assert.match(dynamic, /NEEDED/);
      assert.doesNotMatch(dynamic, /RUNPATH|RPATH/, name);
    }
  });

  it("the core needs neither libtorch nor OpenMP", function () {
    if (process.platform !== "linux") this.skip();
    for (const name of ["libtorchclip.so", "torchclip.node"]) {
      const dynamic = execFileSync("readelf", ["-d", join(built, name)], { encoding: "utf8" });
      assert.doesNotMatch(dynamic, /torch_cpu|c10|gomp/, name);
    }
  });
});
