// The model alone against OpenVINO and onnxruntime-node: the same weights and inputs, interleaved rounds.
// OpenVINO compiles for each batch size (static shapes, latency hint); its int8 is NNCF's post-training
// quantization.
//   python3 -m venv VENV && VENV/bin/pip install openvino==2026.4.1 nncf numpy
//   python bench/models.py ViT-B-32 FOLDER && npx torchclip import FOLDER -o FOLDER/model.pt
//   node bench/openvino.mjs FOLDER --python VENV/bin/python [--batches 1,8,32] [--rounds 7]
//       [--precisions fp32,int8] [--json]
import { join } from "node:path";
import { parseArgs } from "node:util";
import ort from "onnxruntime-node";
import { load } from "torchclip";
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
const folder = positionals[0];
const SECONDS = 0.6;
const batches = values.batches.split(",").map(Number);
const precisions = values.precisions.split(",");

const ours = {};
for (const precision of precisions)
  ours[precision] = await load(join(folder, "model.pt"), { device: "cpu", precision });
const ONNX = { fp32: "vision_model.onnx", int8: "vision_model_quantized.onnx" };
const sessions = {};
for (const precision of precisions.filter((p) => ONNX[p]))
  sessions[precision] = await ort.InferenceSession.create(join(folder, "onnx", ONNX[precision]), {
    graphOptimizationLevel: "all",
  });

const size = Object.values(ours)[0].info.imageSize;
const images = sampleImages(Math.max(...batches), size);
const floats = normalised(images);
const openvino = await imagePeer(values.python, "openvino_peer.py", folder, floats, size);

const result = [];
for (const batch of batches) {
  const rowBytes = size * size * 3;
  const input = { ...images, rows: batch, data: images.data.subarray(0, batch * rowBytes) };
  const tensor = {
    pixel_values: new ort.Tensor("float32", floats.subarray(0, batch * rowBytes), [batch, 3, size, size]),
  };
  const contenders = {};
  const contend = (name, work) =>
    (contenders[name] = () => speedOf(async () => (await work(), batch), SECONDS));
  for (const precision of precisions) {
    contend(precision, () => ours[precision].encodePixels(input, { batchSize: batch }));
    if (sessions[precision]) contend(`onnxruntime-node ${precision}`, () => sessions[precision].run(tensor));
    contenders[`OpenVINO ${precision}`] = () => openvino.speed(precision, batch, SECONDS);
  }
  const speeds = await interleaved(contenders, Number(values.rounds)); // the first round compiles
  const reference = await openvino.embeddings("embed-fp32", batch);
  for (const precision of precisions) {
    const mine = await ours[precision].encodePixels(input, { batchSize: batch });
    const cosine = leastCosine(mine.data, reference, batch, mine.dim);
    for (const against of Object.keys(contenders).filter((name) => name.endsWith(` ${precision}`))) {
      const row = {
        batch,
        precision,
        imagesPerSecond: speeds.median(precision),
        against,
        theirImagesPerSecond: speeds.median(against),
        ratio: speeds.ratio(precision, against),
        leastCosine: cosine,
      };
      result.push(row);
      if (values.json) continue;
      console.log(
        `B ${String(batch).padStart(3)}  ${precision} ${row.imagesPerSecond.toFixed(1)} images/s, ` +
          `${against} ${row.theirImagesPerSecond.toFixed(1)}: ${showRatio(row.ratio)}; ` +
          `cosine to OpenVINO's fp32 ${cosine.toFixed(6)}`,
      );
    }
  }
}
openvino.close();
if (values.json) console.log(JSON.stringify({ machine: machine(), folder, result }, null, 2));
else console.log(machine());
process.exit(0);
