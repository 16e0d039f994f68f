// The whole way against @huggingface/transformers: its processor against ours, JPEG files to embeddings,
// model load.
//   npm install --no-save @huggingface/transformers
//   node bench/transformers.mjs FOLDER (of bench/models.py, with model.pt) [--rounds 5]
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { load } from "torchclip";
import { machine, sampleImages, race, showRatio } from "./rounds.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "5" }, batch: { type: "string", default: "32" } },
});
const folder = positionals[0];
const batch = Number(values.batch);
const { env, AutoProcessor, CLIPVisionModelWithProjection, RawImage } =
  await import("@huggingface/transformers");
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);

const files = mkdtempSync(join(tmpdir(), "torchclip-bench-"));
const paths = [];
for (let i = 0; i < batch; i++) {
  const { data } = sampleImages(1, 500, i + 1);
  paths.push(join(files, `${i}.jpg`));
  await sharp(data, { raw: { width: 500, height: 500, channels: 3 } })
    .extract({ left: 0, top: 0, width: 500, height: 375 })
    .jpeg({ quality: 90 })
    .toFile(paths[i]);
}
const name = basename(folder);
const timed = async (work) => {
  const start = performance.now();
  const result = await work();
  return [result, performance.now() - start];
};
const loads = { ours: [], theirs: [] };
let theirs;
let ours;
for (let i = 0; i < 3; i++) {
  await ours?.close();
  await theirs?.dispose();
  let ms;
  [ours, ms] = await timed(() => load(join(folder, "model.pt")));
  loads.ours.push(ms);
  [theirs, ms] = await timed(() => CLIPVisionModelWithProjection.from_pretrained(name, { dtype: "fp32" }));
  loads.theirs.push(ms);
}
const processor = await AutoProcessor.from_pretrained(name);
const bf16 = await load(join(folder, "model.pt"), { precision: "bf16" });
const read = () => Promise.all(paths.map((p) => RawImage.read(p)));
const result = await race(
  {
    "preprocessing, theirs": async () => (await processor(await read()), batch),
    "preprocessing, ours": async () => (await ours.preprocess(paths), batch),
    "files, theirs": async () => (await theirs(await processor(await read())), batch),
    "files, ours fp32": async () => (await ours.encodeImages(paths, { batchSize: batch }), batch),
    "files, ours bf16": async () => (await bf16.encodeImages(paths, { batchSize: batch }), batch),
    "files, ours bf16, fast decode": async () => (
      await bf16.encodeImages(paths, { batchSize: batch, fastDecode: true }),
      batch
    ),
  },
  { rounds: Number(values.rounds), seconds: 1 },
);
for (const [mine, other] of [
  ["preprocessing, ours", "preprocessing, theirs"],
  ["files, ours fp32", "files, theirs"],
  ["files, ours bf16", "files, theirs"],
  ["files, ours bf16, fast decode", "files, theirs"],
])
  console.log(
    `${mine}: ${result.speed(mine).toFixed(1)}/s, theirs ${result.speed(other).toFixed(1)}/s: ` +
      showRatio(result.ratio(mine, other)),
  );
const least = (v) => Math.min(...v).toFixed(0);
console.log(
  `load (image and text towers): ${least(loads.ours)} ms; theirs (image tower alone): ${least(loads.theirs)} ms`,
);
console.log(machine());
rmSync(files, { recursive: true });
process.exit(0);
