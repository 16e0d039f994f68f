// The model alone against PyTorch eager and torch.compile: the same weights and inputs, interleaved rounds.
//   node bench/pytorch.mjs FOLDER [--python PYTHON] [--batches 1,8,32] [--rounds 5]
//       [--modes eager,compile,eager-bf16]
import { join } from "node:path";
import { parseArgs } from "node:util";
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
    rounds: { type: "string", default: "5" },
    modes: { type: "string", default: "eager,compile,eager-bf16,compile-bf16" },
  },
});
const [folder] = positionals;
const SECONDS = 0.7;
const batches = values.batches.split(",").map(Number);
const modes = values.modes.split(",");

const fp32 = await load(join(folder, "model.pt"), { device: "cpu" });
const ours = new Map([["fp32", fp32]]);
if (modes.some((mode) => mode.endsWith("bf16")))
  ours.set("bf16", await load(join(folder, "model.pt"), { device: "cpu", precision: "bf16" }));
const size = fp32.info.imageSize;
const pixels = sampleImages(Math.max(...batches), size);
const pytorch = await imagePeer(values.python, "pytorch.py", folder, normalised(pixels), size);

/** @param {number} batch */
async function compare(batch) {
  const reference = await pytorch.embeddings("embed", batch);
  const input = { ...pixels, rows: batch, data: pixels.data.subarray(0, batch * size * size * 3) };
  /** @type {Record<string, import("./rounds.mjs").Measure>} */
  const contenders = {};
  for (const [name, clip] of ours) {
    const work = async () => (await clip.encodePixels(input, { batchSize: batch })).rows;
    contenders[name] = () => speedOf(work, SECONDS);
  }
  for (const mode of modes) contenders[mode] = () => pytorch.speed(mode, batch, SECONDS);
  const speeds = await interleaved(contenders, Number(values.rounds)); // the first round compiles
  for (const mode of modes) {
    const mine = mode.endsWith("bf16") ? "bf16" : "fp32";
    console.log(
      `B ${String(batch).padStart(3)}  ${mine} ${speeds.median(mine).toFixed(1)} images/s, ` +
        `PyTorch ${mode} ${speeds.median(mode).toFixed(1)}: ${showRatio(speeds.ratio(mine, mode))}`,
    );
  }
  for (const [name, clip] of ours) {
    const mine = await clip.encodePixels(input, { batchSize: batch });
    const cosine = leastCosine(mine.data, reference, batch, mine.dim);
    console.log(
      `B ${String(batch).padStart(3)}  ${name}: least cosine to PyTorch's float32 ${cosine.toFixed(6)}`,
    );
  }
}

for (const batch of batches) await compare(batch);
pytorch.close();
console.log(machine());
process.exit(0);
