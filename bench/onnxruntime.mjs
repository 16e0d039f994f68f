// The model alone against onnxruntime-node: the same weights and inputs, interleaved rounds.
//   python bench/models.py ViT-B-32 FOLDER && npx torchclip import FOLDER -o FOLDER/model.pt
//   node bench/onnxruntime.mjs FOLDER [--batches 1,8,32] [--rounds 7] [--precisions fp32,bf16,int8] [--json]
import { join } from "node:path";
import { parseArgs } from "node:util";
import { load } from "torchclip";
import { embeddingsOf, imageInput, openSession } from "./onnx-peer.mjs";
import { leastCosine, machine, normalised, race, sampleImages, showRatio } from "./rounds.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    batches: { type: "string", default: "1,8,32" },
    rounds: { type: "string", default: "7" },
    precisions: { type: "string", default: "fp32,bf16,int8" },
    json: { type: "boolean", default: false },
  },
});
const [folder] = positionals;

/** The models in those precisions that this machine has kernels for. */
async function loadOurs() {
  /** @type {Map<string, import("torchclip").Clip>} */
  const ours = new Map();
  for (const precision of /** @type {import("torchclip").Precision[]} */ (values.precisions.split(","))) {
    const clip = await load(join(folder, "model.pt"), { precision });
    const { imageRunner } = clip.info;
    if (clip.info.precision === precision && (precision === "fp32" || imageRunner.startsWith("fast"))) {
      ours.set(precision, clip);
    } else {
      console.error(`${precision}: skipped, ${imageRunner} on this machine`);
      await clip.close();
    }
  }
  return ours;
}

const ours = await loadOurs();
const fp32 = await openSession(folder, "vision_model.onnx");
const int8 = ours.has("int8") ? await openSession(folder, "vision_model_quantized.onnx") : undefined;
const [anyClip] = ours.values();
const size = anyClip.info.imageSize;

/**
 * A row of the result for each precision of ours.
 * @param {number} batch
 */
async function compare(batch) {
  const pixels = sampleImages(batch, size);
  const input = imageInput(normalised(pixels), batch, size);
  /** @type {Record<string, import("./rounds.mjs").Measure>} */
  const contenders = { "onnxruntime fp32": async () => (await fp32.run(input), batch) };
  if (int8) contenders["onnxruntime int8"] = async () => (await int8.run(input), batch);
  for (const [name, clip] of ours)
    contenders[name] = async () => (await clip.encodePixels(pixels, { batchSize: batch })).rows;
  const speeds = await race(contenders, { rounds: Number(values.rounds) });
  const reference = await embeddingsOf(fp32, input);
  const rows = [];
  for (const [precision, clip] of ours) {
    const against = precision === "int8" ? "int8" : "fp32";
    const mine = await clip.encodePixels(pixels, { batchSize: batch });
    const theirs = against === "int8" && int8 ? await embeddingsOf(int8, input) : reference;
    rows.push({
      batch,
      precision,
      imagesPerSecond: speeds.speed(precision),
      against: `onnxruntime-node ${against}`,
      theirImagesPerSecond: speeds.speed(`onnxruntime ${against}`),
      ratio: speeds.ratio(precision, `onnxruntime ${against}`),
      leastCosine: leastCosine(mine.data, reference, batch, mine.dim),
      theirLeastCosine: against === "int8" ? leastCosine(theirs, reference, batch, mine.dim) : 1,
    });
  }
  return rows;
}

/** @param {Awaited<ReturnType<typeof compare>>[number]} row */
function print(row) {
  const theirs = row.precision === "int8" ? `, its int8 ${row.theirLeastCosine.toFixed(6)}` : "";
  console.log(
    `B ${String(row.batch).padStart(3)}  ${row.precision}  ${row.imagesPerSecond.toFixed(1)} images/s, ` +
      `${row.against} ${row.theirImagesPerSecond.toFixed(1)}: ${showRatio(row.ratio)}; ` +
      `cosine to its fp32 ${row.leastCosine.toFixed(6)}${theirs}`,
  );
}

const result = [];
for (const batch of values.batches.split(",").map(Number)) {
  const rows = await compare(batch);
  result.push(...rows);
  if (!values.json) rows.forEach(print);
}
if (values.json) console.log(JSON.stringify({ machine: machine(), folder, result }, null, 2));
else console.log(machine());
process.exit(0);
