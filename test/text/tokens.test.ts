import assert from "node:assert/strict";
import { clipTokenizerJson } from "../../lib/text/clip-vocabulary.js";
import { tokenize } from "../../lib/text/tokenize.js";
import { makeTokenizer } from "../../lib/text/tokenizer.js";
import { golden } from "../support/index.js";

describe("CLIP's tokenizer", () => {
  const { texts, ids } = golden<{ texts: string[]; ids: number[][] }>("tokens");
  const tokenizer = makeTokenizer(clipTokenizerJson(), { kind: "clip", clean: "openai", padId: 0, endId: 49407 });

  it(`gives open_clip's ids for ${texts.length} texts: emoji, CJK, marks, entities, mis-decoded text, random Unicode`, () => {
    const different = texts.flatMap((text, i) => {
      const mine = [...tokenize(tokenizer, [text], 77, { truncate: "end" }).data].filter((id) => id !== 0);
      return mine.join() === ids[i].join() ? [] : [{ text, mine, theirs: ids[i] }];
    });
    assert.deepEqual(different.slice(0, 3), []);
  });
});
