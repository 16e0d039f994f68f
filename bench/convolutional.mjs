// The image towers of ConvNeXt and MobileCLIP (FastViT) at their published sizes, with random weights: torchclip's
// kernels against TorchScript in fp32, in interleaved rounds.
//   node bench/convolutional.mjs [NAME…] [--batches 1,8] [--rounds 5] [--threads 2] [--precisions fp32,bf16]
//       [--processor-time]
// NAME: of bench/convolutional-models.mjs. TORCHCLIP_ISA limits the kernels. --processor-time counts images in a second
// of processor time instead, which other programs disturb less; take it with --threads 1, as waiting threads count too.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { load } from "torchclip";
import { MODELS, writeModel } from "./convolutional-models.mjs";
import { interleaved, leastCosine, machine, sampleImages, showRatio, speedOf } from "./rounds.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    batches: { type: "string", default: "1,8" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "2" },
    precisions: { type: "string", default: "fp32,bf16" },
    "processor-time": { type: "boolean", default: false },
  },
});
const names = positionals.length
  ? positionals
  : ["convnext_base", "convnext_base_w", "MobileCLIP-S0", "MobileCLIP-S2"];
const precisions = /** @type {import("torchclip").Precision[]} */ (values.precisions.split(","));
const folder = mkdtempSync(join(tmpdir(), "torchclip-bench-"));

const SECONDS = 1;

/** Milliseconds of processor time. */
function processorTime() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/**
 * Compares the towers of one model at one batch size.
 * @param {string} name
 * @param {Record<string, import("torchclip").Clip>} clips "TorchScript" and each precision
 * @param {number} batch
 */
async function compare(name, clips, batch) {
  const pixels = sampleImages(batch, clips.TorchScript.info.imageSize);
  const clock = values["processor-time"] ? processorTime : undefined;
  /** @param {import("./rounds.mjs").Measure} work */
  const measure = (work) => speedOf(work, SECONDS, clock);
  /** @type {Record<string, import("./rounds.mjs").Measure>} */
  const contenders = {};
  for (const [of, clip] of Object.entries(clips))
    contenders[of] = () => measure(async () => (await clip.encodePixels(pixels, { batchSize: batch })).rows);
  const speeds = await interleaved(contenders, Number(values.rounds));
  const reference = await clips.TorchScript.encodePixels(pixels);
  for (const precision of precisions) {
    const mine = await clips[precision].encodePixels(pixels);
    const cosine = leastCosine(mine.data, reference.data, batch, mine.dim).toFixed(6);
    const far = mine.data.reduce((most, x, i) => Math.max(most, Math.abs(x - reference.data[i])), 0);
    console.log(
      `${name}  B ${batch}  ${precision} ${speeds.median(precision).toFixed(1)} images/s, ` +
        `TorchScript ${speeds.median("TorchScript").toFixed(1)}: ${showRatio(speeds.ratio(precision, "TorchScript"))}` +
        `  [${clips[precision].info.imageRunner}; least cosine ${cosine}, largest difference ${far.toExponential(1)}]`,
    );
  }
}

for (const name of names) {
  if (!(name in MODELS)) throw new Error(`no model ${name}; there are ${Object.keys(MODELS).join(", ")}`);
  const at = join(folder, name);
  writeModel(at, name);
  const options = /** @type {const} */ ({ device: "cpu", cacheDir: folder, threads: Number(values.threads) });
  /** @type {Record<string, import("torchclip").Clip>} */
  const clips = { TorchScript: await load(at, { ...options, runner: "generic" }) };
  for (const precision of precisions)
    clips[precision] = await load(clips.TorchScript.info.path, { ...options, precision });
  for (const batch of values.batches.split(",").map(Number)) await compare(name, clips, batch);
  for (const clip of Object.values(clips)) await clip.close();
}
rmSync(folder, { recursive: true });
console.log(machine());
process.exit(0);
