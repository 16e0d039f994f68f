import assert from "node:assert/strict";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "../../lib/index.js";
import { importModel } from "../../lib/models/import/import.js";
import { assertClose, assertNear } from "../support/compare.js";
import { families } from "../support/families.js";
import {
  assertMissing,
  errorOf,
  fixture,
  golden,
  rejectsWith,
  root,
  temporaryFolder,
} from "../support/index.js";
import { printedBy, runSources } from "../support/process.js";
import { noiseImage } from "../support/noise.js";

interface Foreign {
  ids: number[][];
  image: number[][];
  text: number[][];
}

describe("third-party TorchScript exports (scripts/goldens/foreign.py)", () => {
  const folder = temporaryFolder();
  const g = golden("foreign") as Foreign;
  const tokenizer = families.tokenizers.find((t) => t && typeof t === "object");

  function source(kind: string): string {
    const at = join(folder, kind);
    mkdirSync(at, { recursive: true });
    cpSync(fixture(`models/foreign-${kind}.pt`), join(at, "model.pt"));
    writeFileSync(join(at, "tokenizer.json"), JSON.stringify(tokenizer));
    return at;
  }

  for (const kind of ["scripted", "traced"]) {
    it(`${kind}: its own code runs, embeddings ≤ 1e-6`, async () => {
      const clip = await load(source(kind), { cacheDir: folder, device: "cpu", trustCode: true });
      try {
        assert.deepEqual(
          [clip.info.imageSize, clip.info.contextLength, clip.info.embedDim, clip.info.vocabSize],
          [32, 12, 8, 572],
        );
        assert.match(clip.info.imageRunner, /^generic fp32/);
        assertNear(clip.info.logitScale, 100, 1e-3);
        const images = await clip.encodeImages([1, 2].map((seed) => noiseImage(seed, 32, 32, 3)));
        assertClose(images.data, g.image.flat(), 1e-6);
        const tokens = { data: Int32Array.from(g.ids.flat()), rows: 2, length: 12, truncated: [] };
        assertClose((await clip.encodeTokens(tokens)).data, g.text.flat(), 1e-6);
        assert.equal((await clip.encodeTexts(["a photo of a cat"])).dim, 8);
      } finally {
        await clip.close();
      }
    });
  }

  it("without trustCode none is loaded or imported, and nothing is written", async () => {
    for (const name of ["scripted", "traced", "reader"]) {
      const output = join(folder, `${name}.pt`);
      const from = {
        weights: fixture(`models/foreign-${name}.pt`),
        tokenizer: join(source("scripted"), "tokenizer.json"),
      };
      const error = await rejectsWith("E_MODEL_UNSAFE", () =>
        importModel(from, output, { imageSize: 32, contextLength: 12 }),
      );
      assert.match(error.message, /trustCode: true.*--trust-code/);
      assertMissing(output);
    }
    await rejectsWith("E_MODEL_UNSAFE", () =>
      load(source("scripted"), { cacheDir: join(folder, "fresh"), device: "cpu" }),
    );
  });

  it("an artifact of such an export, made before, needs trustCode as well", async () => {
    const output = join(folder, "wrapped.pt");
    await importModel(
      {
        weights: fixture("models/foreign-scripted.pt"),
        tokenizer: join(source("scripted"), "tokenizer.json"),
      },
      output,
      { trustCode: true },
    );
    const error = await rejectsWith("E_MODEL_UNSAFE", () => load(output, { device: "cpu" }));
    assert.match(error.message, /--trust-code/);
    const clip = await load(output, { device: "cpu", trustCode: true });
    assert.equal((await clip.encodeTexts(["a"])).dim, 8);
    await clip.close();
  });

  it("a method that never returns: close() is E_TIMEOUT after 2 s, and process.exit() ends the process with its code", async function () {
    this.timeout(300_000);
    const output = join(folder, "endless.pt");
    const from = {
      weights: fixture("models/foreign-endless.pt"),
      tokenizer: join(source("scripted"), "tokenizer.json"),
    };
    await importModel(from, output, { imageSize: 32, contextLength: 12, trustCode: true });
    const program = `
      import { load } from ${JSON.stringify(join(root, "lib/index.ts"))};
      const clip = await load(${JSON.stringify(output)}, { device: "cpu", trustCode: true });
      const pixels = { data: new Uint8Array(32 * 32 * 3).fill(9), rows: 1, height: 32, width: 32 };
      clip.encodePixels(pixels).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 3000));
      const start = performance.now();
      const seconds = () => Math.round((performance.now() - start) / 1000);
      await clip.close().catch((error) => process.stdout.write(error.code + " " + seconds()));
      process.exit(7);`;
    assert.equal(printedBy(runSources(program), 7), "E_TIMEOUT 2");
  });

  it("trustCode with a name or a hub id: E_ARGUMENT, and nothing is fetched", async () => {
    for (const name of ["tiny", "ViT-B/32", "org/model"]) {
      const error = await errorOf(() => load(name, { trustCode: true, offline: true }));
      assert.deepEqual([error.code, error.subject], ["E_ARGUMENT", "trustCode"]);
    }
  });

  it("sizes that its weights do not tell are asked for; wrong ones fail on zeros", async () => {
    const at = source("scripted");
    const from = { weights: fixture("models/foreign-reader.pt"), tokenizer: join(at, "tokenizer.json") };
    const error = await rejectsWith("E_MODEL_UNSUPPORTED", () =>
      importModel(from, join(folder, "x.pt"), { trustCode: true }),
    );
    assert.match(error.message, /image size; say imageSize/);
    const wrong = await rejectsWith("E_MODEL_CORRUPT", () =>
      importModel({ weights: join(at, "model.pt"), tokenizer: from.tokenizer }, join(folder, "y.pt"), {
        imageSize: 48,
        trustCode: true,
      }),
    );
    assert.match(wrong.message, /encode_image fails on zeros of \[1, 3, 48, 48\]/);
    assertMissing(join(folder, "y.pt"));
  });
});
