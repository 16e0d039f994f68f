import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CharacterMap } from "../../lib/text/charsmap.js";
import { clipTokenizerJson } from "../../lib/text/clip-vocabulary.js";
import { fillTemplate } from "../../lib/text/prompts.js";
import { readSentencePiece } from "../../lib/text/sentencepiece.js";
import { makeTokenizer } from "../../lib/text/tokenizer.js";
import type { ClipDialect, AddedToken, TokenizerJson } from "../../lib/text/types.js";
import { families } from "../support/families.js";
import { golden, root, temporaryFolder } from "../support/index.js";

interface Texts {
  texts: string[];
  ids: number[][];
}

/** Of scripts/goldens/configs.py. */
const { tokens } = golden("configs") as {
  tokens: {
    transformers: Texts & { added: AddedToken[] };
    open_clip: Texts;
    sentencepiece: Texts;
    graphemes: { texts: string[]; normalized: string[] };
  };
};

const bpe = families.tokenizers[0] as TokenizerJson;
const withAdded: TokenizerJson = {
  ...bpe,
  added_tokens: [...bpe.added_tokens!, ...tokens.transformers.added],
};
const clip = (dialect: ClipDialect, clean: "none" | "openai") =>
  ({ kind: "clip", dialect, clean, padId: 0, endId: 0 }) as const;

/** Texts whose value here is another, with both values. */
function differences<T>(
  texts: readonly string[],
  expected: readonly T[],
  ours: (text: string) => T,
): string[] {
  return texts.flatMap((text, i) => {
    const mine = JSON.stringify(ours(text));
    return mine === JSON.stringify(expected[i])
      ? []
      : [`${JSON.stringify(text)}: ${mine}, not ${JSON.stringify(expected[i])}`];
  });
}

describe("whose tokens they are (scripts/goldens/configs.py)", () => {
  const folder = temporaryFolder();

  it(`transformers: white space, special and added tokens in ${tokens.transformers.texts.length} texts, as tokenizers finds them`, () => {
    const tokenizer = makeTokenizer(withAdded, clip("transformers", "none"));
    assert.deepEqual(
      differences(tokens.transformers.texts, tokens.transformers.ids, (t) => tokenizer.encode(t)),
      [],
    );
  });

  it(`open_clip: <end_of_text> is a token and <|endoftext|> is text; ${tokens.open_clip.texts.length} texts`, () => {
    const tokenizer = makeTokenizer(clipTokenizerJson(), clip("open_clip", "openai"));
    assert.deepEqual(
      differences(tokens.open_clip.texts, tokens.open_clip.ids, (t) => tokenizer.encode(t)),
      [],
    );
  });

  it("openai: <|endoftext|> is a token and <end_of_text> is text", () => {
    const tokenizer = makeTokenizer(clipTokenizerJson(), clip("openai", "openai"));
    assert.deepEqual(tokenizer.encode("a <|ENDOFTEXT|> b"), [49406, 320, 49407, 321, 49407]);
    assert.ok(tokenizer.encode("a <end_of_text> b").length > 5);
  });

  for (const dialect of ["openai", "open_clip", "transformers"] as const) {
    it(`the C ABI's tokenizer gives the same ids: ${dialect}`, () => {
      const config = clip(dialect, dialect === "transformers" ? "none" : "openai");
      const texts = [...tokens.transformers.texts, "<end_of_text>a", "a &lt;|endoftext|&gt; b"];
      writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(withAdded));
      writeFileSync(join(folder, "torchclip.json"), JSON.stringify({ tokenizer: config }));
      const program = join(root, "build/native/test/tokenize");
      const input = texts.map((t) => `${t}\0`).join("");
      const run = spawnSync(program, [join(folder, "tokenizer.json"), join(folder, "torchclip.json")], {
        input,
        encoding: "utf8",
      });
      assert.equal(run.status, 0, run.stderr);
      const theirs = run.stdout
        .trimEnd()
        .split("\n")
        .map((line) => line.trim().split(" ").map(Number));
      const tokenizer = makeTokenizer(withAdded, config);
      assert.deepEqual(
        differences(texts, theirs, (t) => tokenizer.encode(t)),
        [],
      );
    });
  }

  it(`SentencePiece: joiners, marks, full-width forms; ${tokens.sentencepiece.texts.length} texts`, async () => {
    const file = join(folder, "spiece.model");
    writeFileSync(
      file,
      Buffer.from(
        families.tokenizers.find((t) => typeof t === "string")!,
        "base64",
      ),
    );
    const json = await readSentencePiece(file);
    const tokenizer = makeTokenizer(json, { kind: "huggingface", clean: "none", padId: 1, endId: 1 });
    assert.deepEqual(
      differences(tokens.sentencepiece.texts, tokens.sentencepiece.ids, (t) =>
        tokenizer.encode(t).slice(0, -1),
      ),
      [],
    );
  });

  it("its character map in a tokenizer.json: grapheme by grapheme, as tokenizers applies it", async () => {
    const { normalizers } = (await readSentencePiece(join(folder, "spiece.model"))).normalizer as {
      normalizers: { precompiled_charsmap?: string }[];
    };
    const map = new CharacterMap(normalizers[0].precompiled_charsmap!);
    assert.deepEqual(
      differences(tokens.graphemes.texts, tokens.graphemes.normalized, (t) => map.normalizeGraphemes(t)),
      [],
    );
  });

  it("a damaged character map is refused", () => {
    assert.throws(() => new CharacterMap(Buffer.from([255, 255, 255, 255, 1]).toString("base64")), /damaged/);
  });

  it("a label reaches the prompt as it is, with any characters", () => {
    for (const label of ["$", "$$", "cash $& carry", "rock$'n'roll", "$`", "$1", "{}"])
      assert.equal(fillTemplate("a {}!", label), `a ${label}!`);
  });
});
