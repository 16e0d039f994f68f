import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { clipTokenizerJson } from "../../lib/text/clip-vocabulary.js";
import { makeTokenizer } from "../../lib/text/tokenizer.js";
import { root, temporaryFolder } from "../support/index.js";

const PIECES = [
  "A photo of a cat's tail, don't you think?",
  "<|endoftext|>",
  "<|startoftext|>x",
  "&amp;eacute; &EACUTE; &#233; &#x1F600; &#128; &notit; &amp &lt;b&gt; & &#; &#xZZ; &copy2024",
  "e\u0301 A\u030a \u1e9b\u0323 \u0344 \uac00 \u1100\u1161\u11a8 \ufb01\ufb03 \u0132 \u0149",
  "\uff21\uff22\uff23\uff11 \u3000\uff76\uff9e",
  "\u201cquoted\u201d \u2018single\u2019 caf\u00e9 na\u00efve stra\u00dfe \u0130stanbul \u03a3\u03c3\u03c2 \u03a3",
  "\x1b[31mred\x1b[0m \x00\x07 \r\n\u2028\x85 \ufeff \x1c",
  "日本語のテキスト 中文 한국어 العربية हिन्दी 👩‍👩‍👧‍👦 🏳️‍🌈 😀",
  "   many \t\n spaces\u00a0 here\u2003",
  "1234 5.6e-7 ½ ② Ⅷ x² \u0345\u0391\u0345",
  "",
  "schÃ¶n âœ” No problems, l’humanitÃ©, voilÃ le travail, Ã\xa0 quel point, â€œlikeâ€\ufffd this, (à¸‡'âŒ£')à¸‡",
  "РґРѕР±СЂС‹Р№ Î£ίσυΣ ΟΔΟΣ, ΣΑΣ'Σ.",
];

/** Seeded strings of random blocks of Unicode between the pieces above. */
function random(count: number): string[] {
  let seed = 7;
  const next = (n: number) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
  const blocks = [
    0x20, 0x20, 0x61, 0xa0, 0x100, 0x300, 0x370, 0x5d0, 0x900, 0x1100, 0x1e00, 0x2000, 0x2100, 0x3040, 0x4e00,
    0xac00, 0xf900, 0xfb00, 0xff00, 0x1d400, 0x1f300,
  ];
  return Array.from({ length: count }, () => {
    let text = "";
    for (let i = 0, n = next(24); i < n; i++)
      text +=
        next(8) === 0
          ? PIECES[next(PIECES.length)]
          : String.fromCodePoint(blocks[next(blocks.length)] + next(94));
    return text.replaceAll("\0", "");
  });
}

describe("the C ABI's tokenizer", () => {
  const folder = temporaryFolder();
  const program = join(root, "build/native/test/tokenize");
  const json = clipTokenizerJson();
  const run = (settings: object, texts: string[]) => {
    writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(json));
    writeFileSync(join(folder, "torchclip.json"), JSON.stringify(settings));
    const input = texts.map((t) => `${t}\0`).join("");
    return spawnSync(program, [join(folder, "tokenizer.json"), join(folder, "torchclip.json")], {
      input,
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
  };

  for (const clean of ["openai", "none"] as const) {
    it(`gives the ids of JavaScript's on 3,000 texts, cleaning: ${clean}`, () => {
      const texts = [...PIECES.map((t) => t.replaceAll("\0", "")), ...random(3000)];
      const config = { kind: "clip", clean, padId: 0, endId: 49407 } as const;
      const { stdout, status, stderr } = run({ tokenizer: config }, texts);
      assert.equal(status, 0, stderr);
      const lines = stdout.trimEnd().split("\n");
      assert.equal(lines.length, texts.length);
      const tokenizer = makeTokenizer(json, config);
      const different = texts.flatMap((text, i) => {
        const theirs = tokenizer.encode(text).join(" ");
        return lines[i].trim() === theirs
          ? []
          : [`${JSON.stringify(text)}\n  native ${lines[i]}\n  ours   ${theirs}`];
      });
      assert.deepEqual(different.slice(0, 5), []);
    });
  }

  it("refuses a model whose tokenizer is another", () => {
    const { status, stderr } = run({ tokenizer: { kind: "huggingface", clean: "siglip" } }, ["x"]);
    assert.equal(status, 1);
    assert.match(stderr, /is not CLIP's own/);
  });
});
