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
import { machine, race, sampleImages, showRatio } from "./rounds.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "5" }, batch: { type: "string", default: "32" } },
});
const [folder] = positionals;
const name = basename(folder);
const model = join(folder, "model.pt");
const batch = Number(values.batch);
const { env, AutoProcessor, CLIPVisionModelWithProjection, RawImage } =
  await import("@huggingface/transformers");
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);

/**
 * Writes JPEG files of 500 × 375 pixels.
 * @param {string} to
 * @param {number} count
 */
async function writeImages(to, count) {
  const paths = [];
  for (let i = 0; i < count; i++) {
    const { data } = sampleImages(1, 500, i + 1);
    const path = join(to, `${i}.jpg`);
    await sharp(data, { raw: { width: 500, height: 500, channels: 3 } })
      .extract({ left: 0, top: 0, width: 500, height: 375 })
      .jpeg({ quality: 90 })
      .toFile(path);
    paths.push(path);
  }
  return paths;
}

/**
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<[T, number]>} its result and its milliseconds
 */
async function timed(work) {
  const start = performance.now();
  const result = await work();
  return [result, performance.now() - start];
}

const openOurs = () => load(model);
const openTheirs = () => CLIPVisionModelWithProjection.from_pretrained(name, { dtype: "fp32" });

/** The least milliseconds of three loads, both in turn. */
async function timeLoads() {
  const times = { ours: Infinity, theirs: Infinity };
  for (let i = 0; i < 3; i++) {
    const [ours, oursMs] = await timed(openOurs);
    const [theirs, theirsMs] = await timed(openTheirs);
    times.ours = Math.min(times.ours, oursMs);
    times.theirs = Math.min(times.theirs, theirsMs);
    await ours.close();
    await theirs.dispose();
  }
  return times;
}

const files = mkdtempSync(join(tmpdir(), "torchclip-bench-"));
const paths = await writeImages(files, batch);
const loads = await timeLoads();
const [ours, theirs] = [await openOurs(), await openTheirs()];
const processor = await AutoProcessor.from_pretrained(name);
const bf16 = await load(model, { precision: "bf16" });
const read = () => Promise.all(paths.map((path) => RawImage.read(path)));
/** @type {(clip: import("torchclip").Clip, fastDecode?: boolean) => Promise<number>} */
const encode = async (clip, fastDecode = false) =>
  (await clip.encodeImages(paths, { batchSize: batch, fastDecode })).rows;
const result = await race(
  {
    "preprocessing, theirs": async () => (await processor(await read()), batch),
    "preprocessing, ours": async () => (await ours.preprocess(paths)).rows,
    "files, theirs": async () => (await theirs(await processor(await read())), batch),
    "files, ours fp32": () => encode(ours),
    "files, ours bf16": () => encode(bf16),
    "files, ours bf16, fast decode": () => encode(bf16, true),
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
console.log(
  `load (image and text towers): ${loads.ours.toFixed(0)} ms; ` +
    `theirs (image tower alone): ${loads.theirs.toFixed(0)} ms`,
);
console.log(machine());
rmSync(files, { recursive: true });
process.exit(0);
