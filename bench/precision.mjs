// Precisions side by side: cosine to fp32, the same first label, images a second; zero-shot on a data set's
// images.
//   node bench/precision.mjs MODEL [--dataset scenes] [--limit 200] [--precisions fp32,bf16,int8]
import { parseArgs } from "node:util";
import { load, similarity } from "torchclip";
import { loadDataset } from "torchclip/datasets";
import { leastCosine, machine, race } from "./rounds.mjs";

/**
 * @typedef {import("torchclip").Clip} Clip
 * @typedef {import("torchclip").Preprocessed} Preprocessed
 */

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dataset: { type: "string", default: "scenes" },
    limit: { type: "string", default: "200" },
    precisions: { type: "string", default: "fp32,bf16,int8" },
  },
});
const BATCH = 32;
const data = (await loadDataset(values.dataset)).limit(Number(values.limit));
const images = await Promise.all(Array.from(data, async (sample) => sample.read()));

/**
 * The embeddings of all images, and each one's best class.
 * @param {Clip} clip
 * @param {Preprocessed} pixels
 */
async function classify(clip, pixels) {
  const embeddings = await clip.encodePixels(pixels);
  const classes = await clip.encodeClasses(data.classes, data.prompts[0].templates);
  const scores = similarity(embeddings, classes);
  const best = images.map((_, r) => {
    const row = scores.subarray(r * classes.rows, (r + 1) * classes.rows);
    return row.indexOf(Math.max(...row));
  });
  return { embeddings, best };
}

/**
 * Images a second in batches.
 * @param {Clip} clip
 * @param {Preprocessed} pixels
 */
async function speedOf(clip, pixels) {
  const bytes = BATCH * pixels.height * pixels.width * 3;
  const batch = { ...pixels, rows: BATCH, data: pixels.data.subarray(0, bytes) };
  const { speed } = await race({ it: async () => (await clip.encodePixels(batch)).rows }, { rounds: 5 });
  return speed("it");
}

/** @type {Awaited<ReturnType<typeof classify>> | undefined} */
let reference;
for (const precision of /** @type {import("torchclip").Precision[]} */ (values.precisions.split(","))) {
  const clip = await load(positionals[0], { device: "cpu", precision });
  const pixels = await clip.preprocess(images);
  const found = await classify(clip, pixels);
  const first = (reference ??= found);
  const { rows, dim } = found.embeddings;
  const cosine = leastCosine(found.embeddings.data, first.embeddings.data, rows, dim);
  const same = found.best.filter((label, i) => label === first.best[i]).length;
  const speed = await speedOf(clip, pixels);
  console.log(
    `${precision} (${clip.info.imageRunner}): least cosine to fp32 ${cosine.toFixed(6)}, ` +
      `same first label ${same} of ${images.length}, ${speed.toFixed(0)} images/s at batch ${BATCH}`,
  );
  await clip.close();
}
console.log(machine());
process.exit(0);
