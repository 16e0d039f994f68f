import assert from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "../../lib/clip/load.js";
import { importModel } from "../../lib/models/import/import.js";
import { largestDifference } from "../support/compare.js";
import { families, writeFamilyFolder } from "../support/families.js";
import { fixture, golden, rejectsWith, temporaryFolder, tinyModel } from "../support/index.js";
import { noise } from "../support/noise.js";
import { safetensors } from "../support/tiny.js";

interface Expected {
  images: number[];
  texts: number[];
  ids: number[][];
}

const { model, rows, adapters } = golden("adapters") as {
  model: string;
  rows: number;
  adapters: Record<string, Expected>;
};

describe("LoRA adapters of PEFT", () => {
  let folder: string;
  let artifact: string;
  before(async () => {
    folder = temporaryFolder();
    const family = families.cases.find(({ name }) => name === model)!;
    const weights = writeFamilyFolder(family, join(folder, "weights"), true);
    artifact = join(folder, "model.pt");
    const at = (name: string) => join(weights, name);
    await importModel(
      {
        weights: at("model.safetensors"),
        config: at("config.json"),
        preprocessor: at("preprocessor_config.json"),
        tokenizer: at("tokenizer.json"),
      },
      artifact,
    );
  });

  const open = (paths: string[]) => load(artifact, { adapters: paths, cacheDir: folder, device: "cpu" });

  for (const [name, expected] of Object.entries(adapters)) {
    it(`"${name}" gives PEFT's embeddings to 1e-5`, async () => {
      await using clip = await open([fixture(`adapters/${name}`)]);
      const { imageSize: size } = clip.info;
      const data = Uint8Array.from({ length: rows * size * size * 3 }, (_, i) => noise(12000, i) & 255);
      const images = await clip.encodePixels({ data, rows, height: size, width: size });
      assert.ok(largestDifference(images.data, expected.images) <= 1e-5);
      const ids = Int32Array.from(expected.ids.flat());
      const tokens = { data: ids, rows: expected.ids.length, length: expected.ids[0].length, truncated: [] };
      const texts = await clip.encodeTokens(tokens);
      assert.ok(largestDifference(texts.data, expected.texts) <= 1e-5);
      assert.match(clip.info.config.name, new RegExp(`\\+ ${name}$`));
    });
  }

  it("several are added, the weight file may be named, and no list leaves the model as it is", async () => {
    const encode = async (paths: string[]) => {
      await using clip = await open(paths);
      return (await clip.encodeTexts(["a cat"])).data;
    };
    const [one, other] = [fixture("adapters/attention"), fixture("adapters/everything")];
    const plain = await encode([]);
    const both = await encode([one, join(other, "adapter_model.safetensors")]);
    assert.ok(largestDifference(both, await encode([one])) > 1e-3);
    assert.ok(largestDifference(both, await encode([other])) > 1e-3);
    assert.ok(largestDifference(both, plain) > 1e-3);
  });

  it("one that does not fit the model is refused with its first key", async () => {
    const options = { adapters: [fixture("adapters/attention")], cacheDir: folder };
    const { message } = await rejectsWith("E_ARGUMENT", () => load(tinyModel, options));
    assert.match(
      message,
      /does not fit tiny: base_model\.model\.text_model\.encoder\.layers\.0\.self_attn\.\w+\.lora_A/,
    );
  });

  /** A copy of an adapter with another config. */
  function changed(change: object): string {
    const copy = join(temporaryFolder(), "copy");
    cpSync(fixture("adapters/attention"), copy, { recursive: true });
    const file = join(copy, "adapter_config.json");
    const config = JSON.parse(readFileSync(file, "utf8")) as object;
    writeFileSync(file, JSON.stringify({ ...config, ...change }));
    return copy;
  }

  for (const change of [
    { use_dora: true },
    { bias: "all" },
    { modules_to_save: ["visual_projection"] },
    { peft_type: "IA3" },
    { init_lora_weights: "pissa_niter_4" },
  ]) {
    it(`${JSON.stringify(change)} is refused`, async () => {
      await rejectsWith("E_MODEL_UNSUPPORTED", () => open([changed(change)]));
    });
  }

  it("a rank that is not the config's is refused", async () => {
    const { message } = await rejectsWith("E_ARGUMENT", () => open([changed({ r: 8 })]));
    assert.match(message, /has rank 2, adapter_config\.json says 8/);
  });

  it("a key that is of no adapter, and one without its other half, are refused", async () => {
    const write = (name: string) => {
      const copy = changed({});
      const header = { [name]: { dtype: "F32", shape: [2, 64], data_offsets: [0, 512] } };
      writeFileSync(join(copy, "adapter_model.safetensors"), safetensors(header, Buffer.alloc(512)));
      return copy;
    };
    const module = "base_model.model.vision_model.encoder.layers.0.self_attn.q_proj";
    await rejectsWith("E_MODEL_UNSUPPORTED", () => open([write(`${module}.lora_magnitude_vector`)]));
    const { message } = await rejectsWith("E_MODEL_CORRUPT", () => open([write(`${module}.lora_A.weight`)]));
    assert.match(message, /no lora_B/);
  });

  it("a folder without an adapter, and what is no list of paths, are refused", async () => {
    await rejectsWith("E_MODEL_NOT_FOUND", () => open([folder]));
    await rejectsWith("E_ARGUMENT", () => load(artifact, { adapters: "adapters" as never }));
  });
});
