// Precisions side by side: cosine to fp32, the same first label, images a second; zero-shot on a data set's
// images.
//   node bench/precision.mjs MODEL [--dataset scenes] [--limit 200] [--precisions fp32,bf16,int8]
import { parseArgs } from "node:util";
import { load, similarity } from "torchclip";
import { loadDataset } from "torchclip/datasets";
import { leastCosine, machine, race } from "./rounds.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dataset: { type: "string", default: "scenes" },
    limit: { type: "string", default: "200" },
    precisions: { type: "string", default: "fp32,bf16,int8" },
  },
});
const data = (await loadDataset(values.dataset)).limit(Number(values.limit));
const images = await Promise.all([...data].map((sample) => sample.read()));
let reference;
for (const precision of values.precisions.split(",")) {
  const clip = await load(positionals[0], { device: "cpu", precision });
  const pixels = await clip.preprocess(images);
  const e = await clip.encodePixels(pixels);
  const classes = await clip.encodeClasses(data.classes, data.prompts[0].templates);
  const scores = similarity(e, classes);
  const best = images.map((_, r) => {
    const row = scores.subarray(r * classes.rows, (r + 1) * classes.rows);
    return row.indexOf(Math.max(...row));
  });
  reference ??= { e, best };
  const some = { ...pixels, rows: 32, data: pixels.data.subarray(0, 32 * pixels.height * pixels.width * 3) };
  const speed = (await race({ it: async () => (await clip.encodePixels(some), 32) }, { rounds: 5 })).speed(
    "it",
  );
  const same = best.filter((b, i) => b === reference.best[i]).length;
  console.log(
    `${precision} (${clip.info.imageRunner}): least cosine to fp32 ${leastCosine(e.data, reference.e.data, e.rows, e.dim).toFixed(6)}, same first label ${same} of ${images.length}, ${speed.toFixed(0)} images/s at batch 32`,
  );
  await clip.close();
}
console.log(machine());
process.exit(0);
