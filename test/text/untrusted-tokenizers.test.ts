import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkTokenizer } from "../../lib/text/check-tokenizer.js";
import { clipTokenizerJson } from "../../lib/text/clip-vocabulary.js";
import { readSentencePiece } from "../../lib/text/sentencepiece.js";
import { tokenize } from "../../lib/text/tokenize.js";
import { makeTokenizer, parseTokenizer } from "../../lib/text/tokenizer.js";
import { TimeLimitError, withTimeLimit } from "../../lib/util/time-limit.js";
import { field } from "../support/containers.js";
import { rejectsWith, temporaryFolder } from "../support/index.js";

type Json = Record<string, unknown>;

/** A WordPiece tokenizer with changes. */
function wordPiece(changes: Json = {}): Json {
  return {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "Whitespace" },
    post_processor: null,
    decoder: null,
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      vocab: { "[UNK]": 0, a: 1, "##a": 2, b: 3 },
    },
    ...changes,
  };
}

const CONFIG = { kind: "huggingface", clean: "none", padId: 0, endId: null } as const;
const make = (json: Json) => makeTokenizer(parseTokenizer(JSON.stringify(json)), CONFIG);

describe("a tokenizer's expressions", () => {
  it("the honest ones work, under the limit", () => {
    const split = { type: "Split", pattern: { Regex: "\\s+" }, behavior: "Removed", invert: false };
    assert.deepEqual(make(wordPiece({ pre_tokenizer: split })).encode("aa b"), [1, 2, 3]);
  });

  it("one that never ends: E_MODEL_UNSAFE with the text's index, within seconds", async () => {
    const split = { type: "Split", pattern: { Regex: "(a+)+c" }, behavior: "Removed", invert: false };
    const tokenizer = make(wordPiece({ pre_tokenizer: split }));
    const start = performance.now();
    const error = await rejectsWith("E_MODEL_UNSAFE", () => tokenize(tokenizer, ["b", "a".repeat(60)], 8));
    assert.equal(error.index, 1);
    assert.match(error.message, /may never end/);
    assert.ok(performance.now() - start < 10_000, `${performance.now() - start} ms`);
    assert.deepEqual(tokenizer.encode("b"), [3], "the tokenizer goes on");
  });

  it("the same in a normaliser that runs over the added tokens while it is built", async () => {
    const replace = { type: "Replace", pattern: { Regex: "(a+)+c" }, content: "" };
    const added = [{ id: 4, content: "a".repeat(60), normalized: true, special: false }];
    const start = performance.now();
    await rejectsWith("E_MODEL_UNSAFE", () => make(wordPiece({ normalizer: replace, added_tokens: added })));
    assert.ok(performance.now() - start < 60_000, `${performance.now() - start} ms`);
  });

  it("the time limit gives results and errors through, and can be used again after it struck", () => {
    assert.equal(
      withTimeLimit(() => 7, 1000),
      7,
    );
    assert.throws(
      () =>
        withTimeLimit(() => {
          throw new RangeError("mine");
        }, 1000),
      RangeError,
    );
    assert.throws(
      () =>
        withTimeLimit(() => {
          for (;;);
        }, 50),
      TimeLimitError,
    );
    assert.equal(
      withTimeLimit(() => 8, 1000),
      8,
    );
  });
});

describe("a tokenizer's rules", () => {
  const replace = (pattern: Json, content: string) => ({ type: "Replace", pattern, content });
  const times = (count: number, step: Json) => ({
    type: "Sequence",
    normalizers: Array.from({ length: count }, () => step),
  });
  const cases: [string, Json][] = [
    ["ten Replace × 10", { normalizer: times(10, replace({ String: "a" }, "a".repeat(10))) }],
    ["seven Replace with an expression", { normalizer: times(7, replace({ Regex: "a" }, "aa")) }],
    ["Replace of nothing", { normalizer: replace({ String: "" }, "x") }],
    ["Replace without a pattern", { normalizer: { type: "Replace", content: "x" } }],
    ["Replace by a list", { normalizer: { ...replace({ String: "a" }, ""), content: ["x"] } }],
    ["an expression of 3,000 letters", { normalizer: replace({ Regex: "a".repeat(3000) }, "") }],
    [
      "an expression of 100 groups",
      { pre_tokenizer: { type: "Split", pattern: { Regex: "(a)".repeat(100) }, behavior: "Removed" } },
    ],
    [
      "an expression that is none",
      { pre_tokenizer: { type: "Split", pattern: { Regex: "[" }, behavior: "Removed" } },
    ],
    ["a long prefix", { normalizer: { type: "Prepend", prepend: "a".repeat(1000) } }],
    ["a long space", { pre_tokenizer: { type: "Metaspace", replacement: "a".repeat(1000) } }],
    [
      "ten ByteLevel",
      {
        pre_tokenizer: {
          type: "Sequence",
          pretokenizers: Array.from({ length: 10 }, () => ({ type: "ByteLevel" })),
        },
      },
    ],
    ["FixedLength 0, which never ends", { pre_tokenizer: { type: "FixedLength", length: 0 } }],
    ["1,000 steps", { normalizer: times(1000, { type: "NFC" }) }],
    [
      "sequences nested deep",
      {
        normalizer: Array.from({ length: 90 }).reduce<Json>(
          (inner) => ({ type: "Sequence", normalizers: [inner] }),
          { type: "NFC" },
        ),
      },
    ],
    ["a normaliser that is a string", { normalizer: "NFC" }],
    ["a step of no type", { normalizer: {} }],
    ["a step of unknown type", { normalizer: { type: "toString" } }],
    [
      "a template of the text twice",
      {
        post_processor: {
          type: "TemplateProcessing",
          single: [{ Sequence: { id: "A" } }, { Sequence: { id: "A" } }],
        },
      },
    ],
    ["a template of null", { post_processor: { type: "TemplateProcessing", single: [null] } }],
    ["a template without single", { post_processor: { type: "TemplateProcessing" } }],
    ["RobertaProcessing without its tokens", { post_processor: { type: "RobertaProcessing" } }],
    ["an added token that is null", { added_tokens: [null] }],
    ["an added token without id", { added_tokens: [{ content: "x" }] }],
    ["an added token of 10,000 letters", { added_tokens: [{ id: 5, content: "x".repeat(10_000) }] }],
    [
      "added tokens of 3,000,000 letters",
      {
        added_tokens: Array.from({ length: 15_000 }, (_, i) => ({
          id: i,
          content: String(i).padEnd(200, "x"),
        })),
      },
    ],
    ["no model", { model: null }],
    ["a vocabulary that is null", { model: { type: "WordPiece", vocab: null } }],
    ["an id that is a string", { model: { type: "WordPiece", vocab: { a: "1" } } }],
    ["a negative id", { model: { type: "WordPiece", vocab: { a: -1 } } }],
    ["an id beyond numbers", { model: { type: "WordPiece", vocab: { a: 1e300 } } }],
    ["words of any length", { model: { type: "WordPiece", vocab: { a: 1 }, max_input_chars_per_word: 1e9 } }],
    ["merges that are null", { model: { type: "BPE", vocab: { a: 1 }, merges: null } }],
    ["a merge of three", { model: { type: "BPE", vocab: { a: 1 }, merges: [["a", "b", "c"]] } }],
    ["a merge that is a number", { model: { type: "BPE", vocab: { a: 1 }, merges: [1] } }],
    ["pieces that are null", { model: { type: "Unigram", vocab: [null] } }],
    ["no pieces", { model: { type: "Unigram", vocab: [] } }],
    ["a score that is a string", { model: { type: "Unigram", vocab: [["a", "1"]] } }],
    ["a piece of 10,000 letters", { model: { type: "Unigram", vocab: [["a".repeat(10_000), 1]] } }],
    [
      "pieces of 5,000,000 letters",
      {
        model: {
          type: "Unigram",
          vocab: Array.from({ length: 50_000 }, (_, i) => [String(i).padStart(100, "x"), 1]),
        },
      },
    ],
  ];
  for (const [what, changes] of cases) {
    it(`${what}: E_MODEL_CORRUPT`, async () => {
      const start = process.cpuUsage().user;
      const error = await rejectsWith("E_MODEL_CORRUPT", () => make(wordPiece(changes)));
      assert.equal(error.name, "TorchclipError", String(error));
      assert.ok(error.message.length < 1000, `error.message.length: ${error.message.length}`);
      assert.ok(process.cpuUsage().user - start < 3e6);
    });
  }

  for (const text of ["", "null", "[]", "nope", '"x"', "{}"]) {
    it(`the text ${JSON.stringify(text)}: E_MODEL_CORRUPT`, async () => {
      await rejectsWith("E_MODEL_CORRUPT", () => parseTokenizer(text));
    });
  }

  it("CLIP's own is taken; without its end token it is E_MODEL_CORRUPT", async () => {
    const json = clipTokenizerJson();
    assert.equal(checkTokenizer(json), json);
    const bare = { ...json, model: { ...json.model, vocab: { a: 0 } } };
    await rejectsWith("E_MODEL_CORRUPT", () => makeTokenizer(bare, { ...CONFIG, kind: "clip" }));
  });

  it("a token without an id is an error, not a zero", async () => {
    const post = {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "[none]", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    };
    const model = { type: "BPE", vocab: { a: 1 }, merges: [] };
    await rejectsWith("E_MODEL_CORRUPT", () => make(wordPiece({ model, post_processor: post })).encode("a"));
  });
});

describe("an untrusted SentencePiece model", () => {
  const folder = temporaryFolder();
  const piece = (text: string, score: Buffer = Buffer.concat([Buffer.from([0x15]), Buffer.alloc(4)])) =>
    field(1, Buffer.concat([field(1, text), score]));
  const cases: [string, Buffer][] = [
    ["nothing", Buffer.alloc(0)],
    ["a piece of 10,000 letters", piece("a".repeat(10_000))],
    ["a score of two bytes", piece("a", field(2, Buffer.alloc(2)))],
    ["a score that is no number", piece("a", Buffer.from("150000c07f", "hex"))],
    ["5,000,000 empty pieces", Buffer.alloc(10_000_000, Buffer.from([0x0a, 0]))],
    ["a character map of 20 MB", Buffer.concat([piece("a"), field(3, field(2, Buffer.alloc(20 << 20)))])],
  ];
  for (const [what, bytes] of cases) {
    it(`${what}: E_MODEL_CORRUPT`, async function () {
      this.timeout(60_000);
      const file = join(folder, "spiece.model");
      writeFileSync(file, bytes);
      await rejectsWith("E_MODEL_CORRUPT", () => readSentencePiece(file));
    });
  }
});

describe("a very long word", () => {
  it("128,000 letters take seconds of the processor and not minutes, and give the tokens of their parts", () => {
    const tokenizer = makeTokenizer(clipTokenizerJson(), {
      kind: "clip",
      clean: "openai",
      padId: 0,
      endId: 49407,
    });
    let state = 12345;
    let word = "";
    for (let i = 0; i < 128_000; i++) {
      state = (state * 1103515245 + 12345) & 0x7fffffff;
      word += String.fromCharCode(97 + ((state >> 8) % 26));
    }
    tokenizer.encode("warm");
    const start = process.cpuUsage().user;
    const ids = tokenizer.encode(word);
    const milliseconds = (process.cpuUsage().user - start) / 1000;
    assert.ok(milliseconds < 5000, `${milliseconds} ms`);
    // No merge of the reference reaches over 64 letters of this word: its first part alone gives the same
    // first tokens.
    assert.deepEqual(ids.slice(0, 20), tokenizer.encode(word.slice(0, 200)).slice(0, 20));
  });
});
