import assert from "node:assert/strict";
import { clipTokenizerJson } from "../../lib/text/clip-vocabulary.js";
import { tokenize } from "../../lib/text/tokenize.js";
import { makeTokenizer } from "../../lib/text/tokenizer.js";
import { golden } from "../support/index.js";

describe("CLIP's tokenizer", () => {
  const { texts, ids } = golden("tokens") as { texts: string[]; ids: number[][] };
  const tokenizer = makeTokenizer(clipTokenizerJson(), {
    kind: "clip",
    clean: "openai",
    padId: 0,
    endId: 49407,
  });

  it(`gives open_clip's ids for ${texts.length} texts: emoji, CJK, marks, entities, mis-decoded text, random Unicode`, () => {
    const different = texts.flatMap((text, i) => {
      const mine = [...tokenize(tokenizer, [text], 77, { truncate: "end" }).data].filter((id) => id !== 0);
      return mine.join() === ids[i].join() ? [] : [{ text, mine, theirs: ids[i] }];
    });
    assert.deepEqual(different.slice(0, 3), []);
  });
});

describe("a tokenizer of transformers, as open_clip uses it", () => {
  const tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "photo", "Photo", "##s"];
  const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const json = {
    version: "1.0",
    added_tokens: tokens.slice(0, 4).map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [special("[CLS]"), { Sequence: { id: "A", type_id: 0 } }, special("[SEP]")],
      pair: [],
      special_tokens: Object.fromEntries(
        ["[CLS]", "[SEP]"].map((t) => [t, { id: t, ids: [tokens.indexOf(t)], tokens: [t] }]),
      ),
    },
    decoder: null,
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens.map((t, i) => [t, i])),
    },
  };
  const ids = (text: string, config: object, length: number) => {
    const tokenizer = makeTokenizer(json as never, {
      kind: "huggingface",
      clean: "whitespace",
      padId: 0,
      endId: 3,
      ...config,
    });
    return [...tokenize(tokenizer, [text], length, { truncate: "end" }).data];
  };

  it("keeps the case, repairs and unescapes the text, ends with its own token", () => {
    assert.deepEqual(ids(" a  Photo ﻿photos", {}, 8), [2, 4, 6, 5, 7, 3, 0, 0]);
    assert.deepEqual(ids("&#97; Photo", {}, 5), [2, 4, 6, 3, 0]);
    assert.deepEqual(ids("a photo photo photo", {}, 4), [2, 4, 5, 3]);
  });

  it("CLIPA: the end token is padding, in a text that was cut too", () => {
    assert.deepEqual(ids("a photo", { stripEnd: true }, 6), [2, 4, 5, 0, 0, 0]);
    assert.deepEqual(ids("a photo photo photo", { stripEnd: true }, 4), [2, 4, 5, 0]);
  });
});
