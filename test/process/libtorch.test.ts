import assert from "node:assert/strict";
import { copyFileSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, temporaryFolder, tinyModel } from "../support/index.js";
import { printedBy, runScript } from "../support/process.js";
import { tinySafetensors, tinyTokenizer } from "../support/tiny.js";

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
  before(() =>
    copyFileSync(process.env.TORCHCLIP_ADDON ?? join(root, "build/Release/torchclip.node"), alone),
  );

  /** Runs a module with this addon; what it gives to `out`. */
  function run(script: string): unknown {
    const lines = [
      `import { load } from ${JSON.stringify(join(root, "dist/index.js"))};`,
      `import { addon } from ${JSON.stringify(join(root, "dist/addon.js"))};`,
      `import { importModel } from ${JSON.stringify(join(root, "dist/models/import/import.js"))};`,
      "const out = (value) => process.stdout.write(JSON.stringify(value));",
      script,
    ];
    const printed = printedBy(runScript(lines.join("\n"), [], { env: { TORCHCLIP_ADDON: alone } }));
    return JSON.parse(printed);
  }
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
    const message = run(
      `out(await addon().verifyArtifact(${JSON.stringify(tinyModel)}).catch((error) => error.message));`,
    );
    assert.match(String(message), /this needs libtorch, and libtorchclip_torch\.so does not load/);
  });
});
