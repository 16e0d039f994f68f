import { monitorEventLoopDelay } from "node:perf_hooks";
import { addon } from "../addon.js";
import type { Clip } from "../clip/clip.js";
import { load } from "../clip/load.js";
import type { Device, Precision, Preprocessed } from "../clip/options.js";
import { toTorchclipError } from "../errors.js";
import type { ModelConfig } from "../models/config-types.js";
import { cpuName } from "../setup/machine.js";
import type { Tokens } from "../text/tokenize.js";
import { writeFileWhole } from "../util/files.js";
import { seededRandom } from "../util/random.js";
import { interruptSignal, list, note } from "./io.js";
import { comparison, line, type Measured, type Missing, type Row } from "./bench-table.js";
import { loadOptions, type ModelFlags } from "./options.js";

interface Flags extends ModelFlags {
  devices: string;
  precisions: string;
  batches: string;
  seconds: number;
  json?: boolean;
  plot?: string;
}

const WORDS = ["a", "photo", "of", "small", "red", "house", "near", "the", "sea", "with", "two", "dogs"];
const CAPTIONS = 64;
const EVERY = "–";

/** The numbers by which the addon's `productSpeed` knows precisions. */
const PRODUCT_TYPES: ReadonlyMap<string, 0 | 1 | 2 | 3> = new Map([
  ["fp32", 0],
  ["bf16", 1],
  ["fp16", 2],
  ["int8", 3],
]);

/** What `torchclip bench` does. */
export async function run(flags: Flags): Promise<void> {
  const rows = await measureAll(flags, interruptSignal());
  const machine = {
    cpu: cpuName(),
    features: addon().systemInfo().cpuFeatures,
    libtorch: addon().libtorchInfo().version,
  };
  if (flags.json) {
    process.stdout.write(`${JSON.stringify({ model: flags.model, machine, rows }, null, 2)}\n`);
  } else {
    const missing = rows.filter((row) => "note" in row);
    const notes = missing.map((row) => `${row.device}: ${row.note}\n`).join("");
    process.stdout.write(`${notes}${machine.cpu}; ${machine.features.join(" ")}\n`);
  }
  if (flags.plot) await savePlot(flags.plot, rows);
}

async function measureAll(flags: Flags, signal: AbortSignal): Promise<Row[]> {
  const rows: Row[] = [];
  const peaks = new Map<string, number>();
  const batches = list(flags.batches).map(Number);
  for (const device of list(flags.devices)) {
    for (const precision of list(flags.precisions)) {
      const clip = await open(device, precision, flags, signal);
      if (!("info" in clip)) {
        rows.push(clip);
        if (clip.precision === EVERY) break;
        continue;
      }
      try {
        const peak = await peakOf(clip, precision, peaks);
        for (const batch of batches) {
          const row = await measure(clip, { precision, batch, seconds: flags.seconds, peak, signal });
          row.compared = comparison(row, rows);
          rows.push(row);
          if (!flags.json) process.stdout.write(`${line(row)}\n`);
        }
      } finally {
        await clip.close();
      }
    }
  }
  return rows;
}

/** The model on a device; where there is no such device, or no such precision on it, the row that says so. */
async function open(
  device: string,
  precision: string,
  flags: Flags,
  signal: AbortSignal,
): Promise<Clip | Missing> {
  const options = {
    ...loadOptions(flags, signal),
    device: device as Device, // `load` checks both
    precision: precision as Precision,
  };
  try {
    return await load(flags.model, options);
  } catch (error) {
    const { code, message } = toTorchclipError(error);
    if (code === "E_PRECISION") return { device, precision, batch: 0, note: message };
    if (code !== "E_CUDA_UNAVAILABLE") throw error;
    return { device, precision: EVERY, batch: 0, note: message };
  }
}

/** Operations a second of this CPU's matrix product in a precision, measured at the first model on it. */
async function peakOf(
  { info }: Clip,
  precision: string,
  measured: Map<string, number>,
): Promise<number | undefined> {
  const type = PRODUCT_TYPES.get(precision);
  if (info.device === "cpu" && type !== undefined && !measured.has(precision))
    measured.set(precision, await addon().productSpeed(type, 1));
  return measured.get(precision);
}

interface Measurement {
  precision: string;
  batch: number;
  /** For the images; the texts get a part of it. */
  seconds: number;
  /** Operations a second that the machine can do at most, where that is known. */
  peak: number | undefined;
  signal: AbortSignal;
}

async function measure(clip: Clip, how: Measurement): Promise<Measured> {
  const images = await measureImages(clip, how);
  const textsPerSecond = await measureTexts(clip, how);
  const flops = imageFlops(clip.info.config);
  const { weights, workspace } = clip.memoryUsage();
  return {
    device: clip.info.device,
    precision: how.precision,
    batch: how.batch,
    runner: clip.info.imageRunner,
    imagesPerSecond: images.perSecond,
    textsPerSecond,
    latencyMs: images.latencyMs,
    ...(flops && how.peak ? { gemmShare: (images.perSecond * flops) / how.peak } : {}),
    memoryMb: (weights + workspace) / 2 ** 20,
    eventLoopP99Ms: images.eventLoopP99Ms,
  };
}

async function measureImages(clip: Clip, { batch, seconds, signal }: Measurement) {
  const pixels = randomPixels(batch, clip.info.imageSize);
  const encode = () => clip.encodePixels(pixels, { batchSize: batch, signal });
  await encode();
  const times: number[] = [];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const start = performance.now();
  while (times.length < 3 || performance.now() - start < seconds * 1000) {
    const before = performance.now();
    await encode();
    times.push(performance.now() - before);
  }
  const perSecond = (times.length * batch * 1000) / (performance.now() - start);
  delay.disable();
  times.sort((a, b) => a - b);
  const p50 = times[times.length >> 1];
  const p99 = times[Math.min(times.length - 1, Math.floor(times.length * 0.99))];
  return { perSecond, latencyMs: { p50, p99 }, eventLoopP99Ms: delay.percentile(99) / 1e6 };
}

/** Texts a second. */
async function measureTexts(clip: Clip, { seconds, signal }: Measurement): Promise<number> {
  const tokens = captionTokens(clip);
  const start = performance.now();
  let texts = 0;
  do {
    await clip.encodeTokens(tokens, { signal });
    texts += CAPTIONS;
  } while (performance.now() - start < seconds * 300);
  return (texts * 1000) / (performance.now() - start);
}

function randomPixels(rows: number, size: number): Omit<Preprocessed, "errors"> {
  const random = seededRandom(1);
  const data = new Uint8Array(rows * size * size * 3).map(() => random() * 256);
  return { data, rows, height: size, width: size };
}

/** Captions of different lengths. No two begin alike, which the fast runner would compute once. */
function captionTokens(clip: Clip): Tokens {
  const word = (caption: number, place: number) =>
    place === 0 ? `${WORDS[caption % WORDS.length]}${caption}` : WORDS[(5 * caption + place) % WORDS.length];
  const captions = Array.from({ length: CAPTIONS }, (_caption, i) => {
    const length = 3 + (i % (WORDS.length - 2));
    return Array.from({ length }, (_word, place) => word(i, place)).join(" ");
  });
  return clip.tokenize(captions, { truncate: "end" });
}

/**
 * Operations of the matrix products for one image, where the image encoder is a plain ViT: those that are
 * computed.
 */
function imageFlops({ image, embedDim }: ModelConfig): number | undefined {
  if (image.kind !== "vit" || hasStem(image)) return undefined;
  const patches = (image.imageSize / image.patchSize) ** 2;
  const tokens = patches + (image.classToken ? 1 : 0);
  const { width, mlpWidth, layers } = image;
  // Of one token: the four of attention, the two of the MLP.
  const projections = 4 * width * width + 2 * width * mlpWidth;
  const block = tokens * (projections + 2 * tokens * width);
  // The class token alone needs the last layer: it asks the tokens themselves, in each head
  // (native/core/model/cpu/attention.h).
  const last = image.pool === "token" ? projections + 2 * image.heads * tokens * width : block;
  const products =
    patches * 3 * image.patchSize ** 2 * width + (layers - 1) * block + last + width * embedDim;
  return 2 * products;
}

/** Whether convolutions make the patches. Settings of early artifacts do not say it: they have none. */
function hasStem({ stem }: { stem?: readonly unknown[] }): boolean {
  return stem !== undefined && stem.length > 0;
}

async function savePlot(file: string, rows: readonly Row[]): Promise<void> {
  const { barChart } = await import("../report/charts.js");
  const bars = rows
    .filter((row) => "imagesPerSecond" in row)
    .map((row) => ({
      group: `batch ${row.batch}`,
      series: `${row.device} ${row.precision}`,
      value: row.imagesPerSecond,
    }));
  await writeFileWhole(file, await barChart(bars, "images per second"));
  note(`Saved: ${file}`);
}
