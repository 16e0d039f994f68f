// Texts a second on real captions: at their true length, against the same padded to the context, and
// onnxruntime-node.
//   node bench/text.mjs FOLDER (of bench/models.py, with model.pt) --texts FILE [--median 12] [--rounds 7]
// --median N: only the shorter sentences of the file, as many as have a median of N tokens.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { load } from "torchclip";
import { embeddingsOf, openSession, textInput } from "./onnx-peer.mjs";
import { leastCosine, machine, race, showRatio } from "./rounds.mjs";

/** @typedef {import("torchclip").Tokens} Tokens */

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    texts: { type: "string" },
    rounds: { type: "string", default: "7" },
    count: { type: "string", default: "64" },
    median: { type: "string" },
  },
});
const [folder] = positionals;
if (values.texts === undefined) throw new Error("--texts FILE is missing");
const count = Number(values.count);
const clip = await load(join(folder, "model.pt"));
const quick = await load(join(folder, "model.pt"), { precision: "int8" });
const endId = clip.info.vocabSize - 1;

/**
 * How many tokens each text has, the end token among them.
 * @param {Tokens} tokens
 */
function lengthsOf({ data, rows, length }) {
  const row = (/** @type {number} */ r) => data.subarray(r * length, (r + 1) * length);
  return Array.from({ length: rows }, (_, r) => row(r).indexOf(endId) + 1);
}

/**
 * The shorter lines in their order: as many as have a median of `middle` tokens.
 * @param {string[]} lines
 * @param {number} middle
 */
function shorterLines(lines, middle) {
  const lengths = lengthsOf(clip.tokenize(lines, { truncate: "end" }));
  const byLength = lines.map((line, r) => ({ line, r, n: lengths[r] })).sort((a, b) => a.n - b.n);
  const last = byLength.findLastIndex(({ n }) => n === middle);
  const kept = byLength.slice(0, 2 * last + 1).sort((a, b) => a.r - b.r);
  return kept.map(({ line }) => line);
}

/**
 * The same captions with the end token in the last column, so that every column of the context is computed.
 * @param {Tokens} tokens
 * @returns {Tokens}
 */
function paddedToContext(tokens) {
  const isLast = (/** @type {number} */ i) => i % tokens.length === tokens.length - 1;
  const data = tokens.data.map((id, i) => {
    if (isLast(i)) return endId;
    return id === endId ? 1 : id;
  });
  return { ...tokens, data };
}

/**
 * The input of onnxruntime-node: the captions padded to the longest of them.
 * @param {Tokens} tokens
 * @param {number} longest
 */
function paddedToLongest({ data, rows, length }, longest) {
  const ids = new BigInt64Array(rows * longest);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < longest; i++) ids[r * longest + i] = BigInt(data[r * length + i]);
  }
  return textInput(ids, rows, longest);
}

const all = readFileSync(values.texts, "utf8")
  .split(/\r?\n/)
  .map((line) => line.split("\t")[0])
  .filter(Boolean);
const lines = values.median ? shorterLines(all, Number(values.median)) : all;
const step = Math.floor(lines.length / count);
const tokens = clip.tokenize(
  Array.from({ length: count }, (_, i) => lines[i * step]),
  { truncate: "end" },
);
const sorted = lengthsOf(tokens).sort((a, b) => a - b);
const longest = sorted[sorted.length - 1];
const padded = paddedToContext(tokens);
const session = await openSession(folder, "text_model.onnx");
const input = paddedToLongest(tokens, longest);
const options = { batchSize: count };
const result = await race(
  {
    "fp32, true length": async () => (await clip.encodeTokens(tokens, options)).rows,
    "int8, true length": async () => (await quick.encodeTokens(tokens, options)).rows,
    "fp32, padded to the context": async () => (await clip.encodeTokens(padded, options)).rows,
    "onnxruntime-node fp32, padded to the longest": async () => (await session.run(input), count),
  },
  { rounds: Number(values.rounds) },
);
const mine = await clip.encodeTokens(tokens);
const cosine = leastCosine(mine.data, await embeddingsOf(session, input), count, mine.dim);
console.log(
  `${count} captions, median ${sorted[count >> 1]} tokens, longest ${longest}; ` +
    `cosine to onnxruntime ${cosine.toFixed(6)}`,
);
for (const name of ["fp32, true length", "int8, true length"]) {
  console.log(`${name}: ${result.speed(name).toFixed(0)} texts/s`);
  for (const other of ["fp32, padded to the context", "onnxruntime-node fp32, padded to the longest"]) {
    const ratio = showRatio(result.ratio(name, other));
    console.log(`    ${ratio} of ${other} (${result.speed(other).toFixed(0)} texts/s)`);
  }
}
console.log(machine());
process.exit(0);
