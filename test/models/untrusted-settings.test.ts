import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "../../lib/index.js";
import { readConfig, readArtifactConfig } from "../../lib/models/config.js";
import { readWeights } from "../../lib/models/formats/index.js";
import { TorchArchive } from "../../lib/models/formats/torch-zip.js";
import { huggingFaceHints, openClipHints } from "../../lib/models/import/checkpoint-config.js";
import { importModel } from "../../lib/models/import/import.js";
import { errorOf, fixture, rejectsWith, temporaryFolder, tinyModel } from "../support/index.js";
import { tinySafetensors } from "../support/tiny.js";

const folder = temporaryFolder();

describe("untrusted settings", () => {
  const artifact = async () =>
    JSON.parse(
      (await (await TorchArchive.open(tinyModel)).read("extra/torchclip.json")).toString(),
    ) as Record<string, unknown>;

  it("the bundled model's are read", async () => {
    assert.equal((await readArtifactConfig(tinyModel)).formatVersion, 2);
  });

  for (const text of ["", "null", "[]", "{}x", "1", '"x"']) {
    it(`torchclip.json ${JSON.stringify(text)}: E_MODEL_CORRUPT`, async () => {
      await rejectsWith("E_MODEL_CORRUPT", () => readConfig(text));
    });
  }

  it("a setting that is removed or of another type gives E_MODEL_CORRUPT or E_MODEL_UNSUPPORTED", async () => {
    const config = await artifact();
    const values = [null, undefined, -1, 1.5, 1e300, "x", [], {}, true];
    for (const path of [
      ["embedDim"],
      ["image"],
      ["image", "imageSize"],
      ["image", "layers"],
      ["text", "vocabSize"],
      ["text", "contextLength"],
      ["preprocessing"],
      ["preprocessing", "mean"],
      ["preprocessing", "std"],
      ["tokenizer"],
      ["tokenizer", "padId"],
      ["source"],
      ["loss"],
      ["name"],
    ]) {
      for (const value of values) {
        const changed = structuredClone(config);
        let at = changed;
        for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
        at[path.at(-1)!] = value;
        try {
          readConfig(JSON.stringify(changed));
        } catch (error) {
          assert.equal(
            (error as { code?: string }).code,
            "E_MODEL_CORRUPT",
            `${path.join(".")} = ${JSON.stringify(value)}: ${String(error)}`,
          );
          continue;
        }
        const fine = (path.at(-1) === "name" && value === "x") || path.at(-1) === "layers";
        assert.ok(fine, `${path.join(".")} = ${JSON.stringify(value)} was taken`);
      }
    }
  });

  it("an artifact whose settings or tokenizer are nothing: a TorchclipError, and the engine is closed", async () => {
    const whole = readFileSync(tinyModel);
    const archive = await TorchArchive.open(tinyModel);
    for (const [record, filler] of [
      ["extra/torchclip.json", "{}"],
      ["extra/torchclip.json", "null"],
      ["extra/tokenizer.json", "null"],
      ["extra/tokenizer.json", "[1]"],
    ]) {
      const bytes = Buffer.from(whole);
      const { offset, bytes: length } = (await archive.ranges([record])).get(record)!;
      bytes.fill(" ", offset, offset + length);
      bytes.write(filler, offset);
      const file = join(folder, "artifact.pt");
      writeFileSync(file, bytes);
      const error = await errorOf(async () => {
        const clip = await load(file);
        try {
          clip.tokenize(["a"]);
        } finally {
          await clip.close();
        }
      });
      assert.equal(error.name, "TorchclipError", String(error));
      assert.ok(["E_MODEL_CORRUPT", "E_MODEL_UNSUPPORTED"].includes(error.code!), String(error));
    }
  });

  it("names of Object's are no activation", () => {
    for (const name of ["constructor", "__proto__", "toString"]) {
      const unsupported = { code: "E_MODEL_UNSUPPORTED" };
      assert.throws(
        () =>
          huggingFaceHints(
            { vision_config: { hidden_act: name }, text_config: { hidden_act: name } },
            undefined,
            "c",
          ),
        unsupported,
      );
      assert.throws(() => openClipHints({ vision_cfg: {} }, { resize_mode: name }, "c"), unsupported);
    }
  });

  it("a config or tokenizer beside the weights that is no JSON object: E_MODEL_CORRUPT", async () => {
    const weights = join(folder, "beside.safetensors");
    writeFileSync(weights, await tinySafetensors());
    for (const text of ["", "null", "[]", "nope", `{"a":${"[".repeat(1000)}`]) {
      const beside = join(folder, "beside.json");
      writeFileSync(beside, text);
      const output = join(folder, "beside.pt");
      await rejectsWith("E_MODEL_CORRUPT", () => importModel({ weights, config: beside }, output), text);
      await rejectsWith("E_MODEL_CORRUPT", () => importModel({ weights, tokenizer: beside }, output), text);
    }
  });

  it("the fixtures of all formats are still read", async () => {
    for (const name of ["zip.bin", "legacy.bin", "columns.bin", "model.onnx"])
      assert.ok((await readWeights(fixture(`models/${name}`))).tensors.size > 10, name);
  });
});
