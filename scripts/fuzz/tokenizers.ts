// Seeds of the readers of tokenizers, and those readers.
import { readFileSync } from "node:fs";
import { clipTokenizerJson } from "../../lib/text/clip-vocabulary.js";
import { readSentencePiece } from "../../lib/text/sentencepiece.js";
import { isClipBpe, makeTokenizer, parseTokenizer } from "../../lib/text/tokenizer.js";
import { message } from "./mutators.js";

const TEXTS = ["a photo of a cat", "", "a".repeat(200), "ab  \t é😀 ﷺ"];

/** A character map of one entry, "A" to "a": see lib/text/charsmap.ts. */
function characterMap(): Buffer {
  const [label, leaf] = [0x41, 0x40];
  const trie = new Uint32Array(label + 1);
  trie[label] = label | (1 << 8) | ((label ^ leaf) << 10); // has a leaf, which lies one unit away
  trie[leaf] = 0x80000000; // the replacement begins at byte 0
  return Buffer.concat([
    Buffer.from(Uint32Array.of(trie.byteLength).buffer),
    Buffer.from(trie.buffer),
    Buffer.from("a\0"),
  ]);
}

const piece = (piece: string, type: bigint) => message(1, [message(1, piece), message(3, type)]);
export const sentencepiece = [
  piece("<unk>", 2n),
  piece("</s>", 3n),
  piece("▁a", 1n),
  piece("a", 1n),
  piece("b", 1n),
  piece("<0x41>", 6n),
  message(2, [message(3, 1n)]),
  message(3, [message(3, 1n), message(4, 1n), message(2, characterMap())]),
];

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
export const tokenizers = [
  {
    ...around,
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: false },
    model: {
      type: "Unigram",
      unk_id: 1,
      vocab: [
        ["</s>", 0],
        ["<unk>", -9],
        ["▁a", -1],
        ["a", -2],
        ["▁", -3],
      ],
    },
  },
  {
    ...around,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: "\\s+|\\w+" }, behavior: "Removed", invert: true },
        { type: "ByteLevel", add_prefix_space: true },
        { type: "FixedLength", length: 4 },
        { type: "Digits", individual_digits: true },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "</s>",
      vocab: { "</s>": 0, a: 1, b: 2, ab: 3 },
      merges: ["a b", "ab a"],
      byte_fallback: true,
    },
  },
  {
    ...around,
    normalizer: { type: "BertNormalizer", lowercase: true, clean_text: true, handle_chinese_chars: true },
    pre_tokenizer: { type: "BertPreTokenizer" },
    model: {
      type: "WordPiece",
      unk_token: "</s>",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: { "</s>": 0, a: 1, "##a": 2 },
    },
  },
];

/** CLIP's own tokenizer, with a vocabulary of a few words. */
export function smallClip(): unknown {
  const whole = clipTokenizerJson();
  const vocab = { a: 0, "a</w>": 1, "ab</w>": 2, "<|startoftext|>": 3, "<|endoftext|>": 4 };
  return { ...whole, model: { ...whole.model, vocab, merges: ["a b</w>", "a a</w>"] } };
}

export function readTokenizer(file: string): Promise<void> {
  const tokenizer = parseTokenizer(readFileSync(file, "utf8"));
  const kinds = isClipBpe(tokenizer) ? (["huggingface", "clip"] as const) : (["huggingface"] as const);
  for (const kind of kinds) {
    const made = makeTokenizer(tokenizer, { kind, clean: "none", padId: 0, endId: null });
    for (const example of TEXTS) made.encode(example);
  }
  return Promise.resolve();
}

export async function encodeSentencePiece(file: string): Promise<Int32Array | number[]> {
  const options = { kind: "huggingface", clean: "none", padId: 0, endId: 1 } as const;
  return makeTokenizer(await readSentencePiece(file), options).encode(TEXTS[0]);
}
