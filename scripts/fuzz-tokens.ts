/**
 * Compares the tokenizer with open_clip's on random Unicode:
 *
 *     python scripts/fuzz-tokens.py 10000 1 /tmp/tokens.json
 *     node --import tsx scripts/fuzz-tokens.ts /tmp/tokens.json
 */
import { readFileSync } from "node:fs";
import { clipTokenizerJson } from "../lib/text/clip-vocabulary.js";
import { tokenize } from "../lib/text/tokenize.js";
import { makeTokenizer } from "../lib/text/tokenizer.js";

const { texts, ids } = JSON.parse(readFileSync(process.argv[2], "utf8")) as {
  texts: string[];
  ids: number[][];
};
const tokenizer = makeTokenizer(clipTokenizerJson(), {
  kind: "clip",
  clean: "openai",
  padId: 0,
  endId: 49407,
});
let different = 0;
texts.forEach((text, i) => {
  const { data } = tokenize(tokenizer, [text], 77, { truncate: "end" });
  const mine = Array.from(data).filter((id) => id !== 0);
  if (mine.join() === ids[i].join()) return;
  if (different++ < 20)
    process.stdout.write(
      `${i}: ${JSON.stringify(text)}\n   ours   ${mine.join(" ")}\n   theirs ${ids[i].join(" ")}\n`,
    );
});
process.stdout.write(`${texts.length} texts, ${different} tokenized differently\n`);
process.exit(different ? 1 : 0);
