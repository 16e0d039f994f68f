// The model alone against PyTorch eager and torch.compile: the same weights and inputs, interleaved rounds.
//   node bench/pytorch.mjs FOLDER [--python PYTHON] [--batches 1,8,32] [--rounds 5] [--modes eager,compile,eager-bf16]
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { load } from "torchclip";
import { leastCosine, machine, median, normalised, sampleImages, showRatio } from "./rounds.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: "string", default: "python3" },
    batches: { type: "string", default: "1,8,32" },
    rounds: { type: "string", default: "5" },
    modes: { type: "string", default: "eager,compile,eager-bf16,compile-bf16" },
  },
});
const folder = positionals[0];
const SECONDS = 0.7;
const batches = values.batches.split(",").map(Number);
const modes = values.modes.split(",");

const ours = { fp32: await load(join(folder, "model.pt"), { device: "cpu" }) };
if (modes.some((m) => m.endsWith("bf16")))
  ours.bf16 = await load(join(folder, "model.pt"), { device: "cpu", precision: "bf16" });
const size = ours.fp32.info.imageSize;
const area = size * size;
const rows = Math.max(...batches);
const pixels = sampleImages(rows, size);
const temporary = mkdtempSync(join(tmpdir(), "torchclip-bench-"));
writeFileSync(join(temporary, "pixels"), normalised(pixels));
const child = spawn(
  values.python,
  [
    join(dirname(fileURLToPath(import.meta.url)), "pytorch.py"),
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
await answer();
const ask = async (line) => {
  child.stdin.write(`${line}\n`);
  return answer();
};

for (const batch of batches) {
  await ask(`embed ${batch} ${join(temporary, "embeddings")}`);
  const reference = new Float32Array(new Uint8Array(readFileSync(join(temporary, "embeddings"))).buffer);
  const input = { ...pixels, rows: batch, data: pixels.data.subarray(0, batch * area * 3) };
  const speeds = Object.fromEntries([...Object.keys(ours), ...modes].map((name) => [name, []]));
  for (let round = -1; round < Number(values.rounds); round++) {
    for (const [name, clip] of Object.entries(ours)) {
      await clip.encodePixels(input, { batchSize: batch });
      const start = performance.now();
      let done = 0;
      while (performance.now() - start < SECONDS * 1000) {
        await clip.encodePixels(input, { batchSize: batch });
        done += batch;
      }
      if (round >= 0) speeds[name].push(done / ((performance.now() - start) / 1000));
    }
    for (const mode of modes) {
      const speed = Number(await ask(`${mode} ${batch} ${SECONDS}`)); // the first round compiles
      if (round >= 0) speeds[mode].push(speed);
    }
  }
  for (const mode of modes) {
    const mine = mode.endsWith("bf16") ? "bf16" : "fp32";
    const ratios = speeds[mine].map((s, i) => s / speeds[mode][i]);
    console.log(
      `B ${String(batch).padStart(3)}  ${mine} ${median(speeds[mine]).toFixed(1)} images/s, PyTorch ${mode} ${median(speeds[mode]).toFixed(1)}: ` +
        showRatio({ median: median(ratios), low: Math.min(...ratios), high: Math.max(...ratios) }),
    );
  }
  for (const [name, clip] of Object.entries(ours)) {
    const mine = await clip.encodePixels(input, { batchSize: batch });
    console.log(
      `B ${String(batch).padStart(3)}  ${name}: least cosine to PyTorch's float32 ${leastCosine(mine.data, reference, batch, mine.dim).toFixed(6)}`,
    );
  }
}
child.stdin.end();
rmSync(temporary, { recursive: true });
console.log(machine());
process.exit(0);
