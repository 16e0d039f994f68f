// The speed of bf16 and fp16 against fp32, in interleaved rounds: on a CPU without the instructions the
// kernels widen 16-bit weights, which must not cost more than it saves.
//   node bench/half-precision.mjs MODEL [--batches 1,8,32] [--rounds 9]      TORCHCLIP_ISA limits the kernels
import { parseArgs } from "node:util";
import { load } from "torchclip";
import { machine, race, sampleImages, showRatio } from "./rounds.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { batches: { type: "string", default: "1,8,32" }, rounds: { type: "string", default: "9" } },
});
const [model = "tiny"] = positionals;
const clips = {
  fp32: await load(model, { device: "cpu", precision: "fp32" }),
  bf16: await load(model, { device: "cpu", precision: "bf16" }),
  fp16: await load(model, { device: "cpu", precision: "fp16" }),
};

for (const batch of values.batches.split(",").map(Number)) {
  const pixels = sampleImages(batch, clips.fp32.info.imageSize);
  /** @type {Record<string, import("./rounds.mjs").Measure>} */
  const contenders = {};
  for (const [precision, clip] of Object.entries(clips)) {
    contenders[precision] = async () => (await clip.encodePixels(pixels, { batchSize: batch })).rows;
  }
  const speeds = await race(contenders, { rounds: Number(values.rounds), seconds: 0.6 });
  for (const precision of /** @type {const} */ (["bf16", "fp16"])) {
    const ratio = showRatio(speeds.ratio(precision, "fp32"));
    const runner = clips[precision].info.imageRunner;
    console.log(`B ${String(batch).padStart(3)}  ${precision} against fp32: ${ratio}  [${runner}]`);
  }
}
console.log(machine());
for (const clip of Object.values(clips)) await clip.close();
