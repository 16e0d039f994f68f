// The model alone against onnxruntime-node: the same weights and inputs, interleaved rounds.
//   python bench/models.py ViT-B-32 FOLDER && npx torchclip import FOLDER -o FOLDER/model.pt
//   node bench/onnxruntime.mjs FOLDER [--batches 1,8,32] [--rounds 7] [--precisions fp32,bf16,int8] [--json]
import { join } from "node:path";
import { parseArgs } from "node:util";
import ort from "onnxruntime-node";
import { load } from "torchclip";
import { leastCosine, machine, normalised, sampleImages, race, showRatio } from "./rounds.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    batches: { type: "string", default: "1,8,32" },
    rounds: { type: "string", default: "7" },
    precisions: { type: "string", default: "fp32,bf16,int8" },
    json: { type: "boolean", default: false },
  },
});
const folder = positionals[0];

const ours = {};
for (const precision of values.precisions.split(",")) {
  const clip = await load(join(folder, "model.pt"), { precision });
  if (clip.info.precision === precision && (precision === "fp32" || clip.info.imageRunner.startsWith("fast")))
    ours[precision] = clip;
  else {
    console.error(`${precision}: skipped, ${clip.info.imageRunner} on this machine`);
    await clip.close();
  }
}
const session = (name) =>
  ort.InferenceSession.create(join(folder, "onnx", name), { graphOptimizationLevel: "all" });
const theirs = { fp32: await session("vision_model.onnx") };
if (ours.int8) theirs.int8 = await session("vision_model_quantized.onnx");
const size = Object.values(ours)[0].info.imageSize;

const result = [];
for (const batch of values.batches.split(",").map(Number)) {
  const pixels = sampleImages(batch, size);
  const input = { pixel_values: new ort.Tensor("float32", normalised(pixels), [batch, 3, size, size]) };
  const contenders = {};
  for (const [name, s] of Object.entries(theirs))
    contenders[`onnxruntime ${name}`] = async () => (await s.run(input), batch);
  for (const [name, clip] of Object.entries(ours))
    contenders[name] = async () => (await clip.encodePixels(pixels, { batchSize: batch }), batch);
  const speeds = await race(contenders, { rounds: Number(values.rounds) });
  const reference = (await theirs.fp32.run(input)).embeds;
  for (const [name, clip] of Object.entries(ours)) {
    const against = name === "int8" ? "int8" : "fp32";
    const mine = await clip.encodePixels(pixels, { batchSize: batch });
    const row = {
      batch,
      precision: name,
      imagesPerSecond: speeds.speed(name),
      against: `onnxruntime-node ${against}`,
      theirImagesPerSecond: speeds.speed(`onnxruntime ${against}`),
      ratio: speeds.ratio(name, `onnxruntime ${against}`),
      leastCosine: leastCosine(mine.data, reference.data, batch, mine.dim),
      theirLeastCosine:
        against === "int8"
          ? leastCosine((await theirs.int8.run(input)).embeds.data, reference.data, batch, mine.dim)
          : 1,
    };
    result.push(row);
    if (!values.json) {
      console.log(
        `B ${String(batch).padStart(3)}  ${name}  ${row.imagesPerSecond.toFixed(1)} images/s, ${row.against} ${row.theirImagesPerSecond.toFixed(1)}: ${showRatio(row.ratio)}; cosine to its fp32 ${row.leastCosine.toFixed(6)}${against === "int8" ? `, its int8 ${row.theirLeastCosine.toFixed(6)}` : ""}`,
      );
    }
  }
}
if (values.json) console.log(JSON.stringify({ machine: machine(), folder, result }, null, 2));
else console.log(machine());
process.exit(0);
