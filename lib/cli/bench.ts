import { cpus } from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { Option, type Command } from "commander";
import { addon } from "../addon.js";
import type { Clip } from "../clip/clip.js";
import { load } from "../clip/load.js";
import type { Device, Precision } from "../clip/options.js";
import { toTorchclipError } from "../errors.js";
import type { ModelConfig } from "../models/config-types.js";
import { barChart } from "../report/charts.js";
import { writeFileWhole } from "../util/files.js";
import { seededRandom } from "../util/random.js";
import { interruptSignal, list, note } from "./io.js";
import { loadOptions, modelOptions, whole, type ModelFlags } from "./options.js";

interface Flags extends ModelFlags {
  devices: string;
  precisions: string;
  batches: string;
  seconds: number;
  json?: boolean;
  plot?: string;
}

/** One line of the table; `note` says why there is nothing else. */
interface Row {
  device: string;
  precision: string;
  batch: number;
  runner?: string;
  imagesPerSecond?: number;
  textsPerSecond?: number;
  latencyMs?: { p50: number; p99: number };
  /** Of the machine's own matrix product in this precision, measured in the same run. */
  gemmShare?: number;
  memoryMb?: number;
  eventLoopP99Ms?: number;
  note?: string;
}

const WORDS = ["a", "photo", "of", "small", "red", "house", "near", "the", "sea", "with", "two", "dogs"];

export function benchCommand(program: Command): void {
  modelOptions(
    program.command("bench").description("this machine's speed: devices × precisions × batch sizes"),
  )
    .option("--devices <list>", "cpu, cuda, cuda:N", "cpu,cuda")
    .option("--precisions <list>", "fp32, bf16, fp16, int8", "fp32,bf16,int8")
    .option("--batches <list>", "images in one forward pass", "1,8,32")
    .addOption(new Option("--seconds <n>", "time for each line").argParser(whole(1, 3600)).default(3))
    .option("--plot <file.svg>", "a chart of the images per second")
    .option("--json", "print JSON")
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const signal = interruptSignal();
  const rows: Row[] = [];
  const system = addon().systemInfo();
  const peaks = new Map<string, number>();
  for (const device of list(flags.devices) ?? []) {
    for (const precision of list(flags.precisions) ?? []) {
      let clip: Clip;
      try {
        clip = await load(flags.model, {
          ...loadOptions(flags, signal),
          device: device as Device,
          precision: precision as Precision,
        });
      } catch (error) {
        const { code, message } = toTorchclipError(error);
        if (code !== "E_CUDA_UNAVAILABLE") throw error;
        rows.push({ device, precision: "–", batch: 0, note: message });
        break; // the same for every precision
      }
      try {
        const type = (["fp32", "bf16", "fp16", "int8"] as const).indexOf(precision as "fp32");
        if (clip.info.device === "cpu" && type >= 0 && !peaks.has(precision))
          peaks.set(precision, await addon().productSpeed(type as 0 | 1 | 2 | 3, 1));
        for (const batch of (list(flags.batches) ?? []).map(Number)) {
          const row = await measure(clip, precision, batch, flags.seconds, peaks.get(precision), signal);
          rows.push(row);
          if (!flags.json) process.stdout.write(`${line(row)}\n`);
        }
      } finally {
        await clip.close();
      }
    }
  }
  const machine = {
    cpu: `${cpus()[0]?.model.trim() ?? "unknown"}, ${cpus().length} cores`,
    features: system.cpuFeatures,
    libtorch: addon().libtorchInfo().version,
  };
  if (flags.json) process.stdout.write(`${JSON.stringify({ model: flags.model, machine, rows }, null, 2)}\n`);
  else
    process.stdout.write(
      `${rows
        .filter((r) => r.note)
        .map((r) => `${r.device}: ${r.note}\n`)
        .join("")}${machine.cpu}; ${machine.features.join(" ")}\n`,
    );
  if (flags.plot) {
    const bars = rows
      .filter((r) => r.imagesPerSecond)
      .map((r) => ({
        group: `batch ${r.batch}`,
        series: `${r.device} ${r.precision}`,
        value: r.imagesPerSecond!,
      }));
    await writeFileWhole(flags.plot, await barChart(bars, "images per second"));
    note(`Saved: ${flags.plot}`);
  }
}

async function measure(
  clip: Clip,
  precision: string,
  batch: number,
  seconds: number,
  peak: number | undefined,
  signal: AbortSignal,
): Promise<Row> {
  const { imageSize: size } = clip.info;
  const random = seededRandom(1);
  const pixels = {
    data: new Uint8Array(batch * size * size * 3).map(() => random() * 256),
    rows: batch,
    height: size,
    width: size,
  };
  // No two begin alike, which the fast runner would compute once.
  const word = (i: number, j: number) =>
    j ? WORDS[(5 * i + j) % WORDS.length] : WORDS[i % WORDS.length] + String(i);
  const captions = Array.from({ length: 64 }, (_, i) =>
    Array.from({ length: 3 + (i % (WORDS.length - 2)) }, (_, j) => word(i, j)).join(" "),
  );
  const tokens = clip.tokenize(captions, { truncate: "end" });
  await clip.encodePixels(pixels, { batchSize: batch, signal });
  const times: number[] = [];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const start = performance.now();
  while (times.length < 3 || performance.now() - start < seconds * 1000) {
    const before = performance.now();
    await clip.encodePixels(pixels, { batchSize: batch, signal });
    times.push(performance.now() - before);
  }
  const imagesPerSecond = (times.length * batch * 1000) / (performance.now() - start);
  delay.disable();
  const from = performance.now();
  let texts = 0;
  do {
    await clip.encodeTokens(tokens, { signal });
    texts += captions.length;
  } while (performance.now() - from < seconds * 300);
  times.sort((a, b) => a - b);
  const flops = imageFlops(clip.info.config);
  const memory = clip.memoryUsage();
  return {
    device: clip.info.device,
    precision,
    batch,
    runner: clip.info.imageRunner,
    imagesPerSecond,
    textsPerSecond: (texts * 1000) / (performance.now() - from),
    latencyMs: {
      p50: times[times.length >> 1],
      p99: times[Math.min(times.length - 1, Math.floor(times.length * 0.99))],
    },
    ...(flops && peak ? { gemmShare: (imagesPerSecond * flops) / peak } : {}),
    memoryMb: (memory.weights + memory.workspace) / 2 ** 20,
    eventLoopP99Ms: delay.percentile(99) / 1e6,
  };
}

/**
 * Operations of the matrix products for one image, where the image encoder is a plain ViT: those that are
 * computed.
 */
function imageFlops({ image, embedDim }: ModelConfig): number | undefined {
  if (image.kind !== "vit" || (image.stem?.length ?? 0) > 0) return undefined;
  const patches = (image.imageSize / image.patchSize) ** 2;
  const tokens = patches + (image.classToken ? 1 : 0);
  const { width: w, mlpWidth: m, layers } = image;
  const block = tokens * (4 * w * w + 2 * w * m + 2 * tokens * w); // projections, MLP, attention
  // The class token alone needs the last layer: it asks the tokens themselves, in each head
  // (native/core/model/cpu/attention.h).
  const last = image.pool === "token" ? 4 * w * w + 2 * w * m + 2 * image.heads * tokens * w : block;
  const products = patches * 3 * image.patchSize ** 2 * w + (layers - 1) * block + last + w * embedDim;
  return 2 * products;
}

function line(r: Row): string {
  const share = r.gemmShare ? `, ${(100 * r.gemmShare).toFixed(0)} % of the GEMM peak` : "";
  return (
    `${r.device}  ${r.precision.padEnd(4)}  batch ${String(r.batch).padStart(3)}  ` +
    `${r.imagesPerSecond!.toFixed(1).padStart(8)} images/s  ` +
    `${r.textsPerSecond!.toFixed(0).padStart(6)} texts/s  ` +
    `p50 ${r.latencyMs!.p50.toFixed(1)} ms  p99 ${r.latencyMs!.p99.toFixed(1)} ms  ` +
    `${r.memoryMb!.toFixed(0)} MB  event loop p99 ${r.eventLoopP99Ms!.toFixed(1)} ms${share}  [${r.runner}]`
  );
}
