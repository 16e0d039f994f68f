// Texts a second on real captions: at their true length, against the same padded to the context, and
// onnxruntime-node.
//   node bench/text.mjs FOLDER (of bench/models.py, with model.pt) --texts FILE [--median 12] [--rounds 7]
// --median N: only the shorter sentences of the file, as many as have a median of N tokens.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import ort from "onnxruntime-node";
import { load } from "torchclip";
import { leastCosine, machine, race, showRatio } from "./rounds.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    texts: { type: "string" },
    rounds: { type: "string", default: "7" },
    count: { type: "string", default: "64" },
    median: { type: "string" },
  },
});
const folder = positionals[0];
const lines = readFileSync(values.texts, "utf8")
  .split(/\r?\n/)
  .map((l) => l.split("\t")[0])
  .filter(Boolean);
const clip = await load(join(folder, "model.pt"));
if (values.median) {
  const all = clip.tokenize(lines, { truncate: "end" });
  const length = (r) => all.data.indexOf(clip.info.vocabSize - 1, r * all.length) + 1 - r * all.length;
  const shortest = lines.map((line, r) => ({ line, r, n: length(r) })).sort((a, b) => a.n - b.n);
  const middle = shortest.findLastIndex(({ n }) => n === Number(values.median));
  lines.splice(
    0,
    lines.length,
    ...shortest
      .slice(0, 2 * middle + 1)
      .sort((a, b) => a.r - b.r)
      .map(({ line }) => line),
  );
}
const step = Math.floor(lines.length / Number(values.count));
const texts = Array.from({ length: Number(values.count) }, (_, i) => lines[i * step]);
const quick = await load(join(folder, "model.pt"), { precision: "int8" });
const tokens = clip.tokenize(texts, { truncate: "end" });
const lengths = texts.map(
  (_, r) =>
    tokens.data
      .subarray(r * tokens.length, (r + 1) * tokens.length)
      .findIndex((id) => id === clip.info.vocabSize - 1) + 1,
);
const sorted = [...lengths].sort((a, b) => a - b);
const longest = sorted.at(-1);
// The same captions with the end token in the last column, so that every column of the context is computed.
const padded = {
  ...tokens,
  data: tokens.data.map((id, i) =>
    i % tokens.length === tokens.length - 1
      ? clip.info.vocabSize - 1
      : id === clip.info.vocabSize - 1
        ? 1
        : id,
  ),
};
const ids = new BigInt64Array(texts.length * longest);
for (let r = 0; r < texts.length; r++)
  for (let i = 0; i < longest; i++) ids[r * longest + i] = BigInt(tokens.data[r * tokens.length + i]);
const session = await ort.InferenceSession.create(join(folder, "onnx/text_model.onnx"));
const input = { input_ids: new ort.Tensor("int64", ids, [texts.length, longest]) };
const n = texts.length;
const result = await race(
  {
    "fp32, true length": async () => (await clip.encodeTokens(tokens, { batchSize: n }), n),
    "int8, true length": async () => (await quick.encodeTokens(tokens, { batchSize: n }), n),
    "fp32, padded to the context": async () => (await clip.encodeTokens(padded, { batchSize: n }), n),
    "onnxruntime-node fp32, padded to the longest": async () => (await session.run(input), n),
  },
  { rounds: Number(values.rounds) },
);
const mine = await clip.encodeTokens(tokens);
const theirs = (await session.run(input)).embeds.data;
console.log(
  `${n} captions, median ${sorted[n >> 1]} tokens, longest ${longest}; cosine to onnxruntime ${leastCosine(mine.data, theirs, n, mine.dim).toFixed(6)}`,
);
for (const name of ["fp32, true length", "int8, true length"]) {
  console.log(`${name}: ${result.speed(name).toFixed(0)} texts/s`);
  for (const other of ["fp32, padded to the context", "onnxruntime-node fp32, padded to the longest"])
    console.log(
      `    ${showRatio(result.ratio(name, other))} of ${other} (${result.speed(other).toFixed(0)} texts/s)`,
    );
}
console.log(machine());
process.exit(0);
