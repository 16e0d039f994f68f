import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "../../lib/index.js";
import { readArtifactConfig } from "../../lib/models/config.js";
import { checkFields, type ConfigKind } from "../../lib/models/import/fields.js";
import { huggingFaceHints, openClipHints } from "../../lib/models/import/checkpoint-config.js";
import { imageProcessorHints } from "../../lib/models/import/image-processor.js";
import { importModel } from "../../lib/models/import/import.js";
import { findSource } from "../../lib/models/import/source.js";
import {
  families,
  familyImages,
  familyTokens,
  writeFamilyFolder,
  type FamilyCase,
} from "../support/families.js";
import { largestDifference } from "../support/compare.js";
import { golden, rejectsWith, temporaryFolder } from "../support/index.js";

type Json = Record<string, unknown>;
const TOLERANCE = 1e-5;

interface Configs {
  scalings: { processor: Json; values: number[][] }[];
  models: FamilyCase[];
}

const configs = golden("configs") as Configs;
const CONTENTS = { model_type: "clip", text_config: {}, vision_config: {} };

describe("models whose configs are not the usual ones (scripts/goldens/configs.py)", () => {
  const folder = temporaryFolder();
  configs.models.forEach((c, i) => {
    it(`${c.name}: embeddings ≤ 1e-5, by both runners`, async () => {
      const at = writeFamilyFolder(c, join(folder, `${i}`), true, c.name.includes("fp16"));
      for (const runner of ["auto", "generic"] as const) {
        const clip = await load(at, { cacheDir: folder, device: "cpu", runner });
        try {
          const image = largestDifference((await clip.encodeImages(familyImages)).data, c.image.flat());
          assert.ok(image <= TOLERANCE, `${runner}: images differ by ${image}`);
          const text = largestDifference((await clip.encodeTokens(familyTokens(c))).data, c.text.flat());
          assert.ok(text <= TOLERANCE, `${runner}: texts differ by ${text}`);
        } finally {
          await clip.close();
        }
      }
    });
  });

  it("an added token is one token, and the end token is not the highest id", async () => {
    const at = join(folder, String(configs.models.findIndex((c) => c.name.includes("added"))));
    const clip = await load(at, { cacheDir: folder, device: "cpu" });
    const { data } = clip.tokenize(["<my-toy>"]);
    assert.deepEqual([...data.subarray(0, 4)], [570, 572, 571, 0]);
    assert.equal(clip.info.config.tokenizer.endId, 571);
    await clip.close();
  });

  it("a config whose image size does not fit the weights: E_MODEL_UNSUPPORTED", async () => {
    const [c] = configs.models;
    const config = structuredClone(c.files["config.json"]) as { vision_config: Json };
    config.vision_config.image_size = 48;
    const at = writeFamilyFolder({ ...c, files: { "config.json": config } }, join(folder, "resized"), true);
    const error = await rejectsWith("E_MODEL_UNSUPPORTED", () => load(at, { cacheDir: folder }));
    assert.match(error.message, /48 pixels/);
  });
});

describe("image processors of transformers", () => {
  const read = (config: Json, siglip = false, size?: number) =>
    imageProcessorHints(config, siglip, size, "preprocessor_config.json");

  it("rescaling and normalising give the reference's numbers: ≤ 1e-5 relative", () => {
    for (const { processor, values } of configs.scalings) {
      const { mean, std } = read(processor, false, 8);
      [0, 100, 255].forEach((level, i) =>
        values[i].forEach((expected, channel) => {
          const mine = (level / 255 - mean[channel]) / std[channel];
          assert.ok(
            Math.abs(mine - expected) <= 1e-5 * Math.max(1, Math.abs(expected)),
            `${JSON.stringify(processor)} ${level}: ${mine}, not ${expected}`,
          );
        }),
      );
    }
  });

  it("their defaults: CLIP's, SigLIP's, ViT's", () => {
    assert.deepEqual(
      { ...read({}), mean: 0, std: 0 },
      { resize: "shortest", resized: 224, crop: "floor", interpolation: "bicubic", fill: 0, mean: 0, std: 0 },
    );
    assert.equal(read({}, true).resize, "squash");
    assert.deepEqual(read({}, true).mean, [0.5, 0.5, 0.5]);
    assert.equal(read({ image_processor_type: "ViTImageProcessorFast" }).interpolation, "bilinear");
    assert.equal(
      read({ image_processor_type: "SiglipImageProcessor", do_center_crop: true }).resize,
      "squash",
    );
  });

  const refused: [string, Json, string, number?][] = [
    ["the nearest filter", { resample: 0 }, "resample"],
    ["no resizing", { do_resize: false }, "do_resize"],
    ["no crop of a resized shorter side", { do_center_crop: false }, "do_center_crop"],
    ["a crop that is larger than the image", { size: { shortest_edge: 200 }, crop_size: 224 }, "crop_size"],
    ["a crop that is not square", { crop_size: { height: 224, width: 112 } }, "crop_size"],
    ["another size than the model's", { crop_size: 224 }, "crop_size", 336],
    ["a longest edge", { size: { longest_edge: 224 } }, "size"],
    ["padding", { do_pad: true }, "do_pad"],
    ["a class that is not known", { image_processor_type: "Siglip2ImageProcessor" }, "image_processor_type"],
    ["a field that is not known", { do_sharpen: true }, "do_sharpen"],
    ["a mean of two numbers", { image_mean: [0, 1] }, "image_mean"],
    ["a deviation of 0", { image_std: 0 }, "image_std"],
  ];
  for (const [what, config, field, size] of refused) {
    it(`${what}: E_MODEL_UNSUPPORTED that names "${field}"`, async () => {
      const error = await rejectsWith("E_MODEL_UNSUPPORTED", () => read(config, false, size));
      assert.ok(error.message.startsWith(`preprocessor_config.json: "${field}" is `), error.message);
    });
  }
});

describe("processor_config.json, beside preprocessor_config.json or alone (transformers 5)", () => {
  const folder = temporaryFolder();
  const clip = families.cases.find((c) => c.name === "transformers CLIP")!;
  const usual = clip.files["preprocessor_config.json"] as Json;
  const other: Json = { ...usual, image_mean: [0.1, 0.2, 0.3], image_std: [0.4, 0.5, 0.6], resample: 2 };
  let count = 0;

  /** The preprocessing in the artifact of a folder with these files. */
  async function imported(files: Record<string, Json>) {
    const at = join(folder, String(count++));
    const source = await findSource(
      writeFamilyFolder({ ...clip, files: { "config.json": clip.files["config.json"], ...files } }, at, true),
    );
    const artifact = join(folder, `${count}.pt`);
    await importModel(source, artifact);
    return (await readArtifactConfig(artifact)).preprocessing;
  }

  it("its image_processor is read where it is alone, as preprocessor_config.json is", async () => {
    const expected = await imported({ "preprocessor_config.json": other });
    assert.deepEqual(
      [expected.mean, expected.std, expected.interpolation],
      [other.image_mean, other.image_std, "bilinear"],
    );
    assert.deepEqual(
      await imported({
        "processor_config.json": { image_processor: other, processor_class: "CLIPProcessor" },
      }),
      expected,
    );
  });

  it("its image_processor counts where both files have one, as in transformers", async () => {
    const both = await imported({
      "preprocessor_config.json": usual,
      "processor_config.json": { image_processor: other },
    });
    assert.deepEqual(both, await imported({ "preprocessor_config.json": other }));
  });

  it("without an image_processor in it, preprocessor_config.json counts", async () => {
    const legacy = await imported({
      "preprocessor_config.json": other,
      "processor_config.json": { processor_class: "CLIPProcessor" },
    });
    assert.deepEqual(legacy, await imported({ "preprocessor_config.json": other }));
  });

  it("a field of it that is not known: E_MODEL_UNSUPPORTED, with the file's name", async () => {
    const error = await rejectsWith("E_MODEL_UNSUPPORTED", () =>
      imported({ "processor_config.json": { image_processor: other, crop_twice: true } }),
    );
    assert.match(error.message, /processor_config\.json: "crop_twice" is /);
  });
});

describe("config fields that change the model", () => {
  const huggingFace = (change: Json) =>
    huggingFaceHints({ ...CONTENTS, ...change }, undefined, "config.json");
  const openClip = (change: { vision_cfg?: Json; text_cfg?: Json; preprocess?: Json } & Json) => {
    const { preprocess = {}, ...model } = change;
    return openClipHints(
      { embed_dim: 8, vision_cfg: {}, text_cfg: {}, ...model },
      preprocess,
      "open_clip_config.json",
    );
  };
  const refused: [string, () => unknown][] = [
    ["hidden_act", () => huggingFace({ text_config: { hidden_act: "relu" } })],
    ["hidden_act", () => huggingFace({ vision_config: { hidden_act: "silu" } })],
    ["image_size", () => huggingFace({ vision_config: { image_size: [64, 32] } })],
    ["num_channels", () => huggingFace({ vision_config: { num_channels: 4 } })],
    [
      "vision_use_head",
      () => huggingFace({ model_type: "siglip", vision_config: { vision_use_head: false } }),
    ],
    ["num_patches", () => huggingFace({ vision_config: { num_patches: 256 } })],
    ["model_type", () => huggingFace({ model_type: "siglip2" })],
    ["model_type", () => huggingFace({ model_type: "chinese_clip" })],
    ["use_rope", () => huggingFace({ text_config_dict: { use_rope: true } })],
    ["new_feature", () => huggingFace({ new_feature: true })],
    ["vision_cfg.image_size", () => openClip({ vision_cfg: { image_size: [64, 32] } })],
    ["vision_cfg.pool_type", () => openClip({ vision_cfg: { pool_type: "none" } })],
    ["qk_norm", () => openClip({ vision_cfg: { qk_norm: true } })],
    ["timm_model_name", () => openClip({ vision_cfg: { timm_model_name: "vitamin_large_224" } })],
    [
      "timm_pool",
      () => openClip({ vision_cfg: { timm_model_name: "vit_base_patch16_clip_224", timm_pool: "avg" } }),
    ],
    ["text_arch", () => openClip({ text_cfg: { text_arch: "modern" } })],
    ["text_cfg.pool_type", () => openClip({ text_cfg: { pool_type: "map" } })],
    ["text_cfg.hf_model_name", () => openClip({ text_cfg: { hf_model_name: "google/mt5-base" } })],
    [
      "hf_pooler_type",
      () => openClip({ text_cfg: { hf_model_name: "roberta-base", hf_pooler_type: "cls_pooler" } }),
    ],
    [
      "text_cfg.tokenizer_kwargs.reduction_mask",
      () => openClip({ text_cfg: { tokenizer_kwargs: { reduction_mask: "simple" } } }),
    ],
    ["act_kwargs", () => openClip({ text_cfg: { act_kwargs: { negative_slope: 1 } } })],
    ["interpolation", () => openClip({ preprocess: { interpolation: "nearest" } })],
    ["mode", () => openClip({ preprocess: { mode: "L" } })],
    ["audio_cfg", () => openClip({ audio_cfg: {} })],
  ];
  refused.forEach(([field, work]) => {
    it(`${field}: E_MODEL_UNSUPPORTED`, async () => {
      const error = await rejectsWith("E_MODEL_UNSUPPORTED", work);
      assert.match(
        error.message,
        new RegExp(`^(open_clip_)?config\\.json: "${field.replaceAll(".", "\\.")}" is `),
      );
    });
  });

  const published = golden("config-fields") as Record<ConfigKind, Record<string, unknown[]>>;
  for (const [kind, fields] of Object.entries(published) as [ConfigKind, Record<string, unknown[]>][]) {
    it(`${kind}: the ${Object.keys(fields).length} fields of the named models' families are known`, () => {
      for (const [name, values] of Object.entries(fields))
        for (const value of values.length ? values : ["long"]) checkFields(kind, { [name]: value }, kind);
    });
  }

  it("values that say nothing new, and null, are accepted", () => {
    const hints = huggingFace({
      text_config: { hidden_act: "gelu_fast", pruned_heads: {}, unknown: null },
      vision_config: { image_size: 336, num_channels: 3 },
    });
    assert.equal(hints.text.activation, "gelu_tanh");
    assert.equal(hints.image.imageSize, 336);
    assert.equal(
      openClip({
        vision_cfg: { image_size: [64, 64], qk_norm: false },
        preprocess: { interpolation: "random" },
      }).preprocessing.interpolation,
      "bicubic",
    );
  });

  it("eos_token_id 2 of CLIP stands for the highest id, of MetaCLIP 2 for itself", () => {
    assert.equal(huggingFace({ text_config: { eos_token_id: 2 } }).text.pool, undefined);
    assert.deepEqual([huggingFace({}).text.pool, huggingFace({}).text.endId], ["eos", 49407]);
    const meta = huggingFace({ model_type: "metaclip_2", text_config: { eos_token_id: 2 } }).text;
    assert.deepEqual([meta.pool, meta.endId], ["eos", 2]);
  });
});

describe("the tokenizer's own config", () => {
  const folder = temporaryFolder();
  const siglip = families.cases.find((c) => c.name === "transformers SigLIP")!;
  let count = 0;

  /**
   * The tokenizer's settings in the artifact of a SigLIP with this config beside it; its own says no padding
   * token.
   */
  async function imported(
    tokenizer: Json | undefined,
    tokenizerJson?: object,
  ): Promise<{ padId: number; clean: string }> {
    const at = join(folder, String(count++));
    const config = structuredClone(siglip.files["config.json"]) as { text_config: Json };
    delete config.text_config.pad_token_id;
    writeFamilyFolder({ ...siglip, files: { ...siglip.files, "config.json": config } }, at, true);
    if (tokenizer) writeFileSync(join(at, "tokenizer_config.json"), JSON.stringify(tokenizer));
    if (tokenizerJson) writeFileSync(join(at, "tokenizer.json"), JSON.stringify(tokenizerJson));
    const source = {
      weights: join(at, "model.safetensors"),
      config: join(at, "config.json"),
      preprocessor: join(at, "preprocessor_config.json"),
    };
    const own = {
      tokenizer: join(at, tokenizerJson ? "tokenizer.json" : "spiece.model"),
      tokenizerConfig: tokenizer && join(at, "tokenizer_config.json"),
    };
    mkdirSync(join(at, "out"));
    const artifact = join(at, "out", "model.pt");
    await importModel({ ...source, ...own }, artifact);
    return (await readArtifactConfig(artifact)).tokenizer;
  }

  /** Gemma's kind of vocabulary: <pad>, <eos>, byte-pair merges, no punctuation taken away. */
  const gemma = () => ({
    version: "1.0",
    added_tokens: ["<pad>", "<eos>", "<unk>"].map((content, id) => ({
      id,
      content,
      special: true,
      normalized: false,
      lstrip: false,
      rstrip: false,
      single_word: false,
    })),
    normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: "<eos>", type_id: 0 } }],
      pair: [],
      special_tokens: { "<eos>": { id: "<eos>", ids: [1], tokens: ["<eos>"] } },
    },
    decoder: null,
    model: {
      type: "BPE",
      unk_token: "<unk>",
      vocab: { "<pad>": 0, "<eos>": 1, "<unk>": 2, a: 3, "!": 4 },
      merges: [],
    },
  });

  it("SigLIP is padded with the end token, also where nothing says so, though its vocabulary has <pad>", async () => {
    assert.equal((await imported(undefined)).padId, 1);
    assert.equal((await imported({ pad_token: "</s>", tokenizer_class: "SiglipTokenizer" })).padId, 1);
    assert.equal((await imported({ pad_token: { content: "<pad>" } })).padId, 0);
  });

  it("SigLIP 2 of fixed size: Gemma's tokenizer, padded with <pad>, in lower case, punctuation kept", async () => {
    const { padId, clean } = await imported({ tokenizer_class: "GemmaTokenizer" }, gemma());
    assert.deepEqual([padId, clean], [0, "lower"]);
    assert.equal((await imported(undefined, gemma())).clean, "lower");
  });

  it("SigLIP 2 of fixed size: ids of tokenizers for lower-case texts, padded (scripts/goldens/gemma.py)", async () => {
    const expected = golden("gemma") as {
      tokenizer: { model: { vocab: object } };
      texts: string[];
      ids: number[][];
    };
    const at = join(folder, String(count++));
    const words = Object.keys(expected.tokenizer.model.vocab).length;
    const config = structuredClone(siglip.files["config.json"]) as { text_config: Json };
    config.text_config.vocab_size = words;
    const shapes = siglip.shapes.map(([name, shape]): [string, number[]] => [
      name,
      name.includes("token_embedding") ? [words, shape[1]] : shape,
    ]);
    const files = {
      ...siglip.files,
      "config.json": config,
      "tokenizer_config.json": { tokenizer_class: "GemmaTokenizer", pad_token: "<pad>" },
    };
    writeFamilyFolder({ ...siglip, files, shapes }, at, true);
    writeFileSync(join(at, "tokenizer.json"), JSON.stringify(expected.tokenizer));
    const clip = await load(at, { cacheDir: folder, device: "cpu" });
    const { data, length } = clip.tokenize(expected.texts);
    await clip.close();
    const rows = expected.texts.map((_, row) => [...data.subarray(row * length, (row + 1) * length)]);
    assert.deepEqual(rows, expected.ids);
  });

  const refused: [string, Json][] = [
    ["padding_side", { padding_side: "left" }],
    ["add_eos_token", { add_eos_token: false, eos_token: "<eos>" }],
    ["additional_special_tokens", { additional_special_tokens: ["<new>"] }],
    ["do_lower_case", { do_lower_case: false, tokenizer_class: "SiglipTokenizer" }],
    ["fold_accents", { fold_accents: true }],
  ];
  for (const [field, config] of refused) {
    it(`${field}: E_MODEL_UNSUPPORTED`, async () => {
      const error = await rejectsWith("E_MODEL_UNSUPPORTED", () => imported(config, gemma()));
      assert.match(error.message, new RegExp(`"${field}" is `));
    });
  }
});
