import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { loadDataset } from "../../lib/datasets/index.js";
import { imageSource } from "../../lib/embed/sources.js";
import { EmbeddingIndex, importModel } from "../../lib/index.js";
import { readConfig } from "../../lib/models/config.js";
import { readWeights, TorchArchive } from "../../lib/models/formats/index.js";
import { clipTokenizerJson } from "../../lib/text/clip-vocabulary.js";
import { readSentencePiece } from "../../lib/text/sentencepiece.js";
import { isClipBpe, makeTokenizer, parseTokenizer } from "../../lib/text/tokenizer.js";
import { npyHeader } from "../../lib/util/npy.js";
import { below, type Random } from "../../lib/util/random.js";
import { legacyTorch, pickle, pickledText, torchArchive } from "../../test/support/containers.js";
import { tinyModel } from "../../test/support/index.js";
import { safetensors, tinySafetensors } from "../../test/support/tiny.js";
import {
  encodeMessage,
  mutateJson,
  mutateList,
  mutateMessage,
  mutateOperations,
  pickleOperations,
  text,
  type Json,
  type Message,
} from "./mutators.js";

/**
 * A reader under test: structures, how they change, the file that they become, and the reader of that file.
 */
export interface FuzzedReader<T> {
  /** Name of the file. */
  file: string;
  seeds(): Promise<T[]>;
  mutate(structure: T, random: Random): T;
  encode(structure: T): Buffer;
  /** What the program does with such a file. */
  read(file: string): Promise<unknown>;
  /** Seconds of the processor that any file may take; the tokenizers' own limit is 2 s. */
  floor?: number;
}

const TEXTS = ["a photo of a cat", "", "a".repeat(200), "ab  \t é😀 ﷺ"];

function json(
  file: string,
  seeds: () => Promise<unknown[]>,
  read: (file: string) => Promise<unknown>,
  encode?: (value: Json) => Buffer,
): FuzzedReader<Json> {
  return {
    file,
    seeds: async () => (await seeds()) as Json[],
    mutate: mutateJson,
    encode: encode ?? ((value) => Buffer.from(JSON.stringify(value))),
    read,
  };
}

const small = {
  a: { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] },
  b: { dtype: "F16", shape: [4], data_offsets: [16, 24] },
};
const withMetadata = { __metadata__: { format: "pt", config: '{"activation":"gelu"}' }, ...small };

function storage(key: string): Buffer {
  return pickle(
    "(",
    pickledText("storage"),
    "ctorch\nFloatStorage\n",
    pickledText(key),
    pickledText("cpu"),
    "K\x04tQ",
  );
}
const tensor = (key: string) =>
  pickle(
    "ctorch._utils\n_rebuild_tensor_v2\n(",
    storage(key),
    "K\x00K\x02K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtR",
  );
const stateDict = pickle(
  "\x80\x02}q\x00(",
  pickledText("a"),
  tensor("0"),
  pickledText("b"),
  "}(",
  pickledText("c"),
  tensor("1"),
  "K\x00Nuu.",
);
const archiveObject = pickle(
  "\x80\x02c__torch__.M\nN\n)\x81}(",
  pickledText("a"),
  tensor("0"),
  pickledText("b"),
  tensor("1"),
  "ub.",
);
const FLOATS = Buffer.alloc(16, 1);
const records = ["0", "1"].map((key) => ({ name: `archive/data/${key}`, bytes: FLOATS }));
const storages = Buffer.concat([
  Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]),
  FLOATS,
  Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]),
  FLOATS,
]);
const storageKeys = pickle("\x80\x02](", pickledText("0"), pickledText("1"), "e.");

function pickles(
  file: string,
  seeds: () => Promise<Buffer[]>,
  encode: (pickle: Buffer) => Buffer,
): FuzzedReader<Buffer[]> {
  return {
    file,
    seeds: async () => (await seeds()).map(pickleOperations),
    mutate: mutateOperations,
    encode: (operations) => encode(Buffer.concat(operations)),
    read: readWeights,
  };
}

const message = (number: number, value: bigint | string | Buffer | Message[]): Message => ({
  number,
  value: typeof value === "string" ? Buffer.from(value) : value,
});
const messages = (
  file: string,
  seeds: Message[][],
  read: (file: string) => Promise<unknown>,
): FuzzedReader<Message[]> => ({
  file,
  seeds: () => Promise.resolve(seeds),
  mutate: mutateMessage,
  encode: encodeMessage,
  read,
});

const initializer = (name: string, ...more: Message[]) =>
  message(5, [
    message(1, 2n),
    message(1, 2n),
    message(2, 1n),
    message(8, name),
    ...(more.length ? more : [message(9, FLOATS)]),
  ]);
const entry = (key: string, value: string) => message(13, [message(1, key), message(2, value)]);
const onnx = [
  message(1, 8n),
  message(7, [
    message(1, [
      message(1, "x"),
      message(1, "onnx::MatMul_1"),
      message(3, "/text_model/layers.0/fc1/MatMul"),
      message(4, "MatMul"),
    ]),
    initializer("text_model.a"),
    initializer("onnx::MatMul_1"),
    initializer(
      "text_model.b",
      entry("location", "model.onnx"),
      entry("offset", "0"),
      entry("length", "16"),
      message(14, 1n),
    ),
  ]),
];

const piece = (piece: string, type: bigint) => message(1, [message(1, piece), message(3, type)]);
const sentencepiece = [
  piece("<unk>", 2n), piece("</s>", 3n), piece("▁a", 1n), piece("a", 1n), piece("b", 1n), piece("<0x41>", 6n),
  message(2, [message(3, 1n)]), message(3, [message(3, 1n), message(4, 1n), message(2, Buffer.from("map"))]),
]; // prettier-ignore

const template = {
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id: "</s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  pair: [],
  special_tokens: {},
};
const added = [
  {
    id: 0,
    content: "</s>",
    single_word: false,
    lstrip: false,
    rstrip: true,
    normalized: false,
    special: true,
  },
  { id: 5, content: "<x>", normalized: true, special: false },
];
const rules = [
  { type: "Replace", pattern: { Regex: " {2,}" }, content: " " },
  { type: "Replace", pattern: { String: "b" }, content: "bb" },
  { type: "NFKC" },
  { type: "Lowercase" },
];
const around = {
  added_tokens: added,
  normalizer: { type: "Sequence", normalizers: rules },
  post_processor: template,
  decoder: null,
};
const tokenizers = [
  { ...around, pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: false }, model: { type: "Unigram", unk_id: 1, vocab: [["</s>", 0], ["<unk>", -9], ["▁a", -1], ["a", -2], ["▁", -3]] } },
  { ...around, pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Split", pattern: { Regex: "\\s+|\\w+" }, behavior: "Removed", invert: true }, { type: "ByteLevel", add_prefix_space: true }, { type: "FixedLength", length: 4 }, { type: "Digits", individual_digits: true }] }, model: { type: "BPE", unk_token: "</s>", vocab: { "</s>": 0, a: 1, b: 2, ab: 3 }, merges: ["a b", "ab a"], byte_fallback: true } },
  { ...around, normalizer: { type: "BertNormalizer", lowercase: true, clean_text: true, handle_chinese_chars: true }, pre_tokenizer: { type: "BertPreTokenizer" }, model: { type: "WordPiece", unk_token: "</s>", continuing_subword_prefix: "##", max_input_chars_per_word: 100, vocab: { "</s>": 0, a: 1, "##a": 2 } } },
]; // prettier-ignore

/** CLIP's own tokenizer, with a vocabulary of a few words. */
function smallClip(): unknown {
  const whole = clipTokenizerJson();
  const vocab = { a: 0, "a</w>": 1, "ab</w>": 2, "<|startoftext|>": 3, "<|endoftext|>": 4 };
  return { ...whole, model: { ...whole.model, vocab, merges: ["a b</w>", "a a</w>"] } };
}

// eslint-disable-next-line @typescript-eslint/require-await -- as the other readers
async function readTokenizer(file: string): Promise<void> {
  const tokenizer = parseTokenizer(readFileSync(file, "utf8"));
  for (const kind of isClipBpe(tokenizer) ? (["huggingface", "clip"] as const) : (["huggingface"] as const)) {
    const made = makeTokenizer(tokenizer, { kind, clean: "none", padId: 0, endId: null });
    for (const example of TEXTS) made.encode(example);
  }
}

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
      vision_cfg: { head_width: 16, image_size: 32 },
      text_cfg: { heads: 2, context_length: 16 },
    },
    preprocess_cfg: preprocessor,
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
  mutate: (parts, random) => mutateList(parts, random, () => (random() < 0.5 ? String(below(random, 20)) : text(random)), () => `${below(random, 100)}`), // prettier-ignore
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
    pickle: pickles("weights.bin", () => Promise.resolve([stateDict, archiveObject]), (bytes) => torchArchive(bytes, records)), // prettier-ignore
    legacy: pickles("weights.bin", () => Promise.resolve([stateDict]), (bytes) => legacyTorch(bytes, storageKeys, storages)), // prettier-ignore
    safetensors: json("weights.safetensors", () => Promise.resolve([small, withMetadata]), readWeights, (header) => safetensors(header as object, Buffer.alloc(24))), // prettier-ignore
    index: json("m.safetensors.index.json", () => Promise.resolve([{ metadata: { total_size: 1 }, weight_map: { a: SHARD, b: SHARD } }]), readIndexed), // prettier-ignore
    onnx: messages("model.onnx", [onnx], readWeights),
    sentencepiece: messages("spiece.model", [sentencepiece], async (file) => makeTokenizer(await readSentencePiece(file), { kind: "huggingface", clean: "none", padId: 0, endId: 1 }).encode(TEXTS[0])), // prettier-ignore
    tokenizer: {
      ...json("tokenizer.json", () => Promise.resolve([...tokenizers, smallClip()]), readTokenizer),
      floor: 4,
    },
    config: json("torchclip.json", async () => [await artifactConfig()], (file) => Promise.resolve(readConfig(readFileSync(file, "utf8")))), // prettier-ignore
    import: { ...json("beside.json", besides, importBeside), floor: 6 },
    npy,
    csv: list("list.csv"),
    tsv: list("list.tsv"),
    jsonl: list("list.jsonl"),
  }),
);
