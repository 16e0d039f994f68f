// Mixed load for minutes: streams of images, a batcher with images and texts, an index that grows, is
// searched and saved, models that are loaded and closed, calls that are aborted, and damaged files. Prints a
// line for each minute.
//   node --expose-gc bench/soak.mjs [--minutes 15] [--model tiny]
// The exit status is 1 where an unexpected error came, memory grew by more than 5 % from the first minute to the last,
// or the 99th percentile of the event loop's delay reached 5 ms.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { Batcher, EmbeddingIndex, load, TorchclipError } from "torchclip";
import { machine, median, mib, random, residentMemory } from "./rounds.mjs";

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "15" }, model: { type: "string", default: "tiny" } },
});
const MINUTE = 60_000;
const INDEX_ROWS = 20_000;
const MOST_GROWTH = 0.05;
const MOST_DELAY_MS = 5;
/** @type {("jpeg" | "png" | "webp")[]} */
const FORMATS = ["jpeg", "png", "webp"];
/** @type {import("torchclip").Precision[]} */
const PRECISIONS = ["fp32", "bf16", "int8"];

const end = performance.now() + Number(values.minutes) * MINUTE;
const next = random(7);
/** @param {number} limit */
const below = (limit) => Math.floor(next() * limit);
/** @type {Record<string, number>} */
const counts = {};
/** @type {string[]} */
const problems = [];
const folder = await mkdtemp(join(tmpdir(), "torchclip-soak-"));

const files = await Promise.all(
  Array.from({ length: 24 }, (_, i) => {
    const background = { r: i * 10, g: 90, b: 250 - i * 9 };
    const image = sharp({ create: { width: 200 + 20 * i, height: 300, channels: 3, background } });
    return image.toFormat(FORMATS[i % 3]).toBuffer();
  }),
);
const damaged = files[0].subarray(0, 200);
const clip = await load(values.model);
const batcher = new Batcher(clip, { maxBatch: 16, maxDelay: 2 });

/**
 * Does `work` over and over with pauses of `pause` ms; an error whose code is not among `expected` is a problem.
 * The pauses leave the CPUs idle for a part of the time, as in a server that keeps up with its requests.
 * @param {string} name
 * @param {number} pause
 * @param {() => Promise<void>} work
 * @param {import("torchclip").ErrorCode[]} expected
 */
async function repeat(name, pause, work, expected = []) {
  counts[name] = 0;
  while (performance.now() < end) {
    try {
      await work();
    } catch (error) {
      const code = error instanceof TorchclipError ? error.code : undefined;
      if (!code || !expected.includes(code)) problems.push(`${name}: ${code ?? ""} ${String(error)}`);
    }
    counts[name]++;
    await sleep(pause);
  }
}

/** @param {number} count */
function* someImages(count) {
  for (let i = 0; i < count; i++) yield below(20) === 0 ? damaged : files[below(files.length)];
}

async function stream() {
  let rows = 0;
  for await (const batch of clip.streamImages(someImages(64), { batchSize: 16, onError: "collect" }))
    rows += batch.rows;
  if (rows !== 64) problems.push(`stream: ${rows} rows instead of 64`);
}

async function abortedStream() {
  const signal = AbortSignal.timeout(1 + below(30));
  const batches = clip.streamImages(someImages(64), { batchSize: 8, onError: "collect", signal });
  let rows = 0;
  for await (const batch of batches) rows += batch.rows;
  if (rows > 64) problems.push(`aborted: ${rows} rows instead of at most 64`);
}

async function batched() {
  const texts = ["a photo of a cat", "two dogs on a beach", "a film review: dull", "schön"];
  const images = Array.from({ length: 8 }, () => batcher.encodeImage(files[below(files.length)]));
  const words = texts.map((text) => batcher.encodeText(`${text} ${below(1000)}`));
  await Promise.all([...images, ...words]);
}

async function indexed() {
  const index = await clip.index();
  const part = await clip.encodeImages(files);
  while (index.rows < INDEX_ROWS)
    await index.add({ data: repeatRows(part.data, 1000, part.dim), rows: 1000, dim: part.dim });
  const { indices } = await index.search(part, 10);
  if (indices.length !== part.rows * 10) problems.push(`index: ${indices.length} hits`);
  const path = join(folder, "index.npy");
  await index.save(path);
  index.close();
  const opened = await EmbeddingIndex.open(path);
  await opened.search(part, 5);
  opened.close();
}

/**
 * The embeddings of the files over and over: float32 [rows, dim].
 * @param {Float32Array} data
 * @param {number} rows
 * @param {number} dim
 */
function repeatRows(data, rows, dim) {
  const out = new Float32Array(rows * dim);
  for (let r = 0; r < rows; r++) {
    const file = r % files.length;
    out.set(data.subarray(file * dim, (file + 1) * dim), r * dim);
  }
  return out;
}

async function loadedAgain() {
  const other = await load(values.model, { precision: PRECISIONS[below(3)] });
  await other.encodeTexts(["a photo of a horse"]);
  await other.close();
}

/** The median of ten readings of the memory, a second apart. */
async function memoryOfTenSeconds() {
  const readings = [];
  for (let i = 0; i < 10; i++) {
    globalThis.gc?.();
    readings.push(residentMemory());
    await sleep(1000);
  }
  return {
    rss: median(readings.map(({ rss }) => rss)),
    native: median(readings.map(({ native }) => native)),
  };
}

/** The memory in the last ten seconds of each minute. */
async function watch() {
  const minutes = [];
  while (performance.now() + MINUTE <= end + 1000) {
    await sleep(50_000);
    const now = await memoryOfTenSeconds();
    minutes.push(now);
    const done = Object.entries(counts).map(([name, n]) => `${name} ${n}`);
    console.log(
      `minute ${minutes.length}: ${mib(now.rss)}, without V8's heap ${mib(now.native)}; ${done.join(", ")}`,
    );
  }
  return minutes;
}

// It records the times between two calls of a timer of 1 ms: an idle loop shows 1 ms.
const TIMER_NS = 1e6;
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
const [minutes] = await Promise.all([
  watch(),
  repeat("streams", 400, stream),
  repeat("aborted", 150, abortedStream, ["E_ABORTED"]),
  repeat("batches", 250, batched),
  repeat("indexes", 2000, indexed),
  repeat("loads", 3000, loadedAgain),
]);
delay.disable();
await batcher.drain();
await clip.close();
await rm(folder, { recursive: true });

const growth = minutes.length > 1 ? minutes[minutes.length - 1].native / minutes[0].native - 1 : 0;
/** @type {(nanoseconds: number, digits: number) => string} */
const ms = (nanoseconds, digits) => `${(nanoseconds / 1e6).toFixed(digits)} ms`;
const [p50, p99] = [50, 99].map((percent) => delay.percentile(percent) - TIMER_NS);
const different = [...new Set(problems)].slice(0, 10);
console.log(machine());
console.log(`memory without V8's heap, last minute against the first: ${(100 * growth).toFixed(1)} %`);
console.log(`event loop's delay: p50 ${ms(p50, 2)}, p99 ${ms(p99, 2)}, max ${ms(delay.max - TIMER_NS, 1)}`);
console.log(`unexpected errors: ${[problems.length, ...different].join("; ")}`);
process.exitCode = problems.length > 0 || growth > MOST_GROWTH || p99 / 1e6 >= MOST_DELAY_MS ? 1 : 0;
