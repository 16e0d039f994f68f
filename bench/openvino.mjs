// The model alone against OpenVINO and onnxruntime-node: the same weights and inputs, interleaved rounds.
// OpenVINO compiles for each batch size (static shapes, latency hint); its int8 is NNCF's post-training
// quantization.
//   python3 -m venv VENV && VENV/bin/pip install openvino==2026.4.1 nncf numpy
//   python bench/models.py ViT-B-32 FOLDER && npx torchclip import FOLDER -o FOLDER/model.pt
//   node bench/openvino.mjs FOLDER --python VENV/bin/python [--batches 1,8,32] [--rounds 7]
//       [--precisions fp32,int8] [--json]
import { join } from "node:path";
import { parseArgs } from "node:util";
import { load } from "torchclip";
import { imageInput, openSession } from "./onnx-peer.mjs";
import { imagePeer } from "./python-peer.mjs";
import {
  interleaved,
  leastCosine,
  machine,
  normalised,
  sampleImages,
  showRatio,
  speedOf,
} from "./rounds.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: "string", default: "python3" },
    batches: { type: "string", default: "1,8,32" },
    rounds: { type: "string", default: "7" },
    precisions: { type: "string", default: "fp32,int8" },
    json: { type: "boolean", default: false },
  },
});
const [folder] = positionals;
const SECONDS = 0.6;
const ONNX = new Map([
  ["fp32", "vision_model.onnx"],
  ["int8", "vision_model_quantized.onnx"],
]);
const batches = values.batches.split(",").map(Number);
const precisions = /** @type {import("torchclip").Precision[]} */ (values.precisions.split(","));

/**
 * @typedef {object} Pair
 * @property {import("torchclip").Precision} precision
 * @property {import("torchclip").Clip} clip
 * @property {import("./onnx-peer.mjs").Session | undefined} session onnxruntime's of this precision
 */

/** @type {Pair[]} */
const pairs = [];
for (const precision of precisions) {
  const clip = await load(join(folder, "model.pt"), { device: "cpu", precision });
  const file = ONNX.get(precision);
  const session = file === undefined ? undefined : await openSession(folder, file);
  pairs.push({ precision, clip, session });
}
const size = pairs[0].clip.info.imageSize;
const rowBytes = size * size * 3;
const images = sampleImages(Math.max(...batches), size);
const floats = normalised(images);
const openvino = await imagePeer(values.python, "openvino_peer.py", folder, floats, size);

/** @param {number} batch */
const firstImages = (batch) => ({ ...images, rows: batch, data: images.data.subarray(0, batch * rowBytes) });

/**
 * All contenders by their names, which end with the precision.
 * @param {number} batch
 */
function contendersOf(batch) {
  const input = firstImages(batch);
  const tensor = imageInput(floats.subarray(0, batch * rowBytes), batch, size);
  /** @type {Record<string, import("./rounds.mjs").Measure>} */
  const contenders = {};
  /** @type {(name: string, work: () => Promise<unknown>) => void} */
  const contend = (name, work) => {
    contenders[name] = () => speedOf(async () => (await work(), batch), SECONDS);
  };
  for (const { precision, clip, session } of pairs) {
    contend(precision, () => clip.encodePixels(input, { batchSize: batch }));
    if (session) contend(`onnxruntime-node ${precision}`, () => session.run(tensor));
    contenders[`OpenVINO ${precision}`] = () => openvino.speed(precision, batch, SECONDS);
  }
  return contenders;
}

/**
 * A row of the result for each precision and each of its contenders.
 * @param {number} batch
 */
async function compare(batch) {
  const contenders = contendersOf(batch);
  const speeds = await interleaved(contenders, Number(values.rounds)); // the first round compiles
  const reference = await openvino.embeddings("embed-fp32", batch);
  const rows = [];
  for (const { precision, clip } of pairs) {
    const mine = await clip.encodePixels(firstImages(batch), { batchSize: batch });
    const cosine = leastCosine(mine.data, reference, batch, mine.dim);
    for (const against of Object.keys(contenders).filter((name) => name.endsWith(` ${precision}`)))
      rows.push({
        batch,
        precision,
        imagesPerSecond: speeds.median(precision),
        against,
        theirImagesPerSecond: speeds.median(against),
        ratio: speeds.ratio(precision, against),
        leastCosine: cosine,
      });
  }
  return rows;
}

/** @param {Awaited<ReturnType<typeof compare>>[number]} row */
function print(row) {
  console.log(
    `B ${String(row.batch).padStart(3)}  ${row.precision} ${row.imagesPerSecond.toFixed(1)} images/s, ` +
      `${row.against} ${row.theirImagesPerSecond.toFixed(1)}: ${showRatio(row.ratio)}; ` +
      `cosine to OpenVINO's fp32 ${row.leastCosine.toFixed(6)}`,
  );
}

const result = [];
for (const batch of batches) {
  const rows = await compare(batch);
  result.push(...rows);
  if (!values.json) rows.forEach(print);
}
openvino.close();
if (values.json) console.log(JSON.stringify({ machine: machine(), folder, result }, null, 2));
else console.log(machine());
process.exit(0);
