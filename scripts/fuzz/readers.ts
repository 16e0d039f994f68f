// The readers of files that come from others, by their names.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { loadDataset } from "../../lib/datasets/index.js";
import { imageSource } from "../../lib/embed/sources.js";
import { EmbeddingIndex, importModel } from "../../lib/index.js";
import { readConfig } from "../../lib/models/config.js";
import { readWeights, TorchArchive } from "../../lib/models/formats/index.js";
import { npyHeader } from "../../lib/util/npy.js";
import { below } from "../../lib/util/random.js";
import { legacyTorch, torchArchive } from "../../test/support/containers.js";
import { tinyModel } from "../../test/support/index.js";
import { safetensors, tinySafetensors } from "../../test/support/tiny.js";
import { json, messages, pickles, type FuzzedReader } from "./kinds.js";
import { mutateJson, mutateList, text, type Json } from "./mutators.js";
import { encodeSentencePiece, readTokenizer, sentencepiece, smallClip, tokenizers } from "./tokenizers.js";
import {
  archiveObject,
  onnx,
  records,
  small,
  stateDict,
  storageKeys,
  storages,
  withMetadata,
} from "./weights-seeds.js";

async function artifactConfig(): Promise<unknown> {
  return JSON.parse(
    (await (await TorchArchive.open(tinyModel)).read("extra/torchclip.json")).toString("utf8"),
  );
}

/** What a checkpoint's folder holds beside the weights; the weights stay as they are. */
async function besides(): Promise<unknown[]> {
  const image = { hidden_act: "gelu", num_attention_heads: 4, layer_norm_eps: 1e-5 };
  const preprocessor = {
    size: { shortest_edge: 224 },
    do_center_crop: true,
    resample: 3,
    image_mean: [0.5, 0.5, 0.5],
    image_std: [0.5, 0.5, 0.5],
  };
  const openClip = {
    model_cfg: {
      quick_gelu: true,
      vision_cfg: { head_width: 64, image_size: 224 },
      text_cfg: { heads: 2, context_length: 16 },
    },
    preprocess_cfg: {
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
      interpolation: "bicubic",
      resize_mode: "shortest",
    },
  };
  const own = JSON.parse(
    (await (await TorchArchive.open(tinyModel)).read("extra/tokenizer.json")).toString("utf8"),
  ) as Json;
  return [
    {
      config: { model_type: "clip", vision_config: image, text_config: image },
      preprocessor,
      tokenizer: own,
    },
    { config: openClip, tokenizer: own },
  ];
}

async function importBeside(file: string): Promise<void> {
  const folder = dirname(file);
  const weights = join(folder, "whole.safetensors");
  if (!existsSync(weights)) writeFileSync(weights, await tinySafetensors());
  const parts = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown> | null;
  const at = (name: string): string | undefined => {
    if (parts?.[name] === undefined) return undefined;
    writeFileSync(join(folder, `${name}.json`), JSON.stringify(parts[name]));
    return join(folder, `${name}.json`);
  };
  await importModel(
    { weights, config: at("config"), preprocessor: at("preprocessor"), tokenizer: at("tokenizer") },
    join(folder, "out.pt"),
  );
}

const SHARD = "shard.safetensors";

function readIndexed(file: string): Promise<unknown> {
  writeFileSync(join(dirname(file), SHARD), safetensors(small, Buffer.alloc(24)));
  return readWeights(file);
}

const LINES: Record<string, string[]> = {
  "list.csv": ["path,label,split", "a.png,cat,train", '"b,c.png",dog,test', "d.png,0,test"],
  "list.tsv": ["path\tlabel", "a.png\tcat", "b.png\tdog"],
  "list.jsonl": ['{"path":"a.png","label":"cat"}', '{"image":"b.png","label":1,"split":"test"}'],
};

function list(file: string): FuzzedReader<string[]> {
  return {
    file,
    seeds: () => Promise.resolve([LINES[file]]),
    mutate: (lines, random) => {
      const change = (line: string) => {
        if (file.endsWith(".jsonl") && random() < 0.7)
          return JSON.stringify(mutateJson(parsed(line), random));
        const at = below(random, line.length + 1);
        return line.slice(0, at) + text(random) + line.slice(at + below(random, 4));
      };
      return mutateList(lines, random, change, () => text(random));
    },
    encode: (lines) => Buffer.from(lines.join("\n")),
    read: async (path) => {
      const set = await loadDataset(path);
      for (const { name } of set) if (typeof name !== "string") throw new Error("a sample without a name");
      await imageSource(path);
    },
  };
}

function parsed(line: string): Json {
  try {
    return JSON.parse(line) as Json;
  } catch {
    return line;
  }
}

/** The header's text in parts, and the data. */
const npy: FuzzedReader<string[]> = {
  file: "index.npy",
  seeds: () =>
    Promise.resolve([
      npyHeader(3, 8)
        .toString("latin1", 10)
        .trim()
        .split(/(?=[ :,()'])/),
    ]),
  mutate: (parts, random) =>
    mutateList(
      parts,
      random,
      () => (random() < 0.5 ? String(below(random, 20)) : text(random)),
      () => String(below(random, 100)),
    ),
  encode: (parts) => {
    const words = parts.join("").slice(0, 60_000);
    // The data begin at a multiple of 64 bytes.
    const header = Buffer.from(`${words.padEnd(Math.ceil((words.length + 11) / 64) * 64 - 11)}\n`, "latin1");
    const start = Buffer.from([
      0x93,
      0x4e,
      0x55,
      0x4d,
      0x50,
      0x59,
      1,
      0,
      header.length & 255,
      header.length >> 8,
    ]);
    return Buffer.concat([start, header, Buffer.alloc(96, 63)]);
  },
  read: async (file) => {
    const index = await EmbeddingIndex.open(file);
    await index.search({ data: new Float32Array(index.dim).fill(1), rows: 1, dim: index.dim }, 1);
    if (index.rows) index.vector(index.rows - 1);
  },
};

/** All readers by their names. */
export const READERS = new Map<string, FuzzedReader<unknown>>(
  Object.entries({
    pickle: pickles("weights.bin", [stateDict, archiveObject], (bytes) => torchArchive(bytes, records)),
    legacy: pickles("weights.bin", [stateDict], (bytes) => legacyTorch(bytes, storageKeys, storages)),
    safetensors: json(
      "weights.safetensors",
      () => [small, withMetadata],
      readWeights,
      (header) => safetensors(header as object, Buffer.alloc(24)),
    ),
    index: json(
      "m.safetensors.index.json",
      () => [{ metadata: { total_size: 1 }, weight_map: { a: SHARD, b: SHARD } }],
      readIndexed,
    ),
    onnx: messages("model.onnx", [onnx], readWeights),
    sentencepiece: messages("spiece.model", [sentencepiece], encodeSentencePiece),
    tokenizer: {
      ...json("tokenizer.json", () => [...tokenizers, smallClip()], readTokenizer),
      floor: 4,
    },
    config: json(
      "torchclip.json",
      async () => [await artifactConfig()],
      (file) => Promise.resolve(readConfig(readFileSync(file, "utf8"))),
    ),
    import: { ...json("beside.json", besides, importBeside), floor: 6 },
    npy,
    csv: list("list.csv"),
    tsv: list("list.tsv"),
    jsonl: list("list.jsonl"),
  }),
);
