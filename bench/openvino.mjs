// The model alone against OpenVINO and onnxruntime-node: the same weights and inputs, interleaved rounds. OpenVINO compiles
// for each batch size (static shapes, latency hint); its int8 is NNCF's post-training quantization.
//   python3 -m venv VENV && VENV/bin/pip install openvino==2026.4.1 nncf numpy
//   python bench/models.py ViT-B-32 FOLDER && npx torchclip import FOLDER -o FOLDER/model.pt
//   node bench/openvino.mjs FOLDER --python VENV/bin/python [--batches 1,8,32] [--rounds 7] [--precisions fp32,int8] [--json]
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import ort from "onnxruntime-node";
import { load } from "torchclip";
import { leastCosine, machine, median, normalised, sampleImages, showRatio } from "./rounds.mjs";

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
const temporary = mkdtempSync(join(tmpdir(), "torchclip-bench-"));
writeFileSync(join(temporary, "pixels"), floats);
const child = spawn(
  values.python,
  [
    join(dirname(fileURLToPath(import.meta.url)), "openvino_peer.py"),
    folder,
    join(temporary, "pixels"),
    String(size),
  ],
  {
    stdio: ["pipe", "pipe", "inherit"],
  },
);
const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
const answer = async () => {
  const { value, done } = await answers.next();
  if (done) throw new Error("Python ended early");
  return value;
};
const ask = async (line) => {
  child.stdin.write(`${line}\n`);
  return answer();
};
await answer();

/** Images a second of `work`, which does `batch` of them, after one call that is not counted. */
async function speedOf(work, batch) {
  await work();
  const start = performance.now();
  let done = 0;
  while (performance.now() - start < SECONDS * 1000) {
    await work();
    done += batch;
  }
  return done / ((performance.now() - start) / 1000);
}

const result = [];
for (const batch of batches) {
  const rowBytes = size * size * 3;
  const input = { ...images, rows: batch, data: images.data.subarray(0, batch * rowBytes) };
  const tensor = {
    pixel_values: new ort.Tensor("float32", floats.subarray(0, batch * rowBytes), [batch, 3, size, size]),
  };
  const contenders = {};
  for (const precision of precisions) {
    contenders[precision] = () =>
      speedOf(() => ours[precision].encodePixels(input, { batchSize: batch }), batch);
    if (sessions[precision])
      contenders[`onnxruntime-node ${precision}`] = () =>
        speedOf(() => sessions[precision].run(tensor), batch);
    contenders[`OpenVINO ${precision}`] = async () => Number(await ask(`${precision} ${batch} ${SECONDS}`));
  }
  const speeds = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = -1; round < Number(values.rounds); round++) {
    for (const [name, measure] of Object.entries(contenders)) {
      const speed = await measure(); // the first round compiles
      if (round >= 0) speeds[name].push(speed);
    }
  }
  await ask(`embed-fp32 ${batch} ${join(temporary, "embeddings")}`);
  const reference = new Float32Array(new Uint8Array(readFileSync(join(temporary, "embeddings"))).buffer);
  for (const precision of precisions) {
    const mine = await ours[precision].encodePixels(input, { batchSize: batch });
    const cosine = leastCosine(mine.data, reference, batch, mine.dim);
    for (const against of Object.keys(contenders).filter((name) => name.endsWith(` ${precision}`))) {
      const ratios = speeds[precision].map((speed, i) => speed / speeds[against][i]);
      const ratio = { median: median(ratios), low: Math.min(...ratios), high: Math.max(...ratios) };
      const row = {
        batch,
        precision,
        imagesPerSecond: median(speeds[precision]),
        against,
        theirImagesPerSecond: median(speeds[against]),
        ratio,
        leastCosine: cosine,
      };
      result.push(row);
      if (values.json) continue;
      console.log(
        `B ${String(batch).padStart(3)}  ${precision} ${row.imagesPerSecond.toFixed(1)} images/s, ${against} ${row.theirImagesPerSecond.toFixed(1)}: ${showRatio(ratio)}; cosine to OpenVINO's fp32 ${cosine.toFixed(6)}`,
      );
    }
  }
}
child.stdin.end();
rmSync(temporary, { recursive: true });
if (values.json) console.log(JSON.stringify({ machine: machine(), folder, result }, null, 2));
else console.log(machine());
process.exit(0);
