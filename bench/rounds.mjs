// What the comparisons share: interleaved rounds, medians of ratios with their spread, the machine's
// features.
import { cpus } from "node:os";
import { readFileSync } from "node:fs";

/**
 * @typedef {{ data: Uint8Array, rows: number, height: number, width: number }} SampleImages
 * @typedef {{ median: number, low: number, high: number }} Spread the median of rounds and their extremes
 * @typedef {() => Promise<number>} Measure
 */

/** A repeatable generator of numbers in [0, 1). */
export function random(seed = 1) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * Images of smooth colours and noise: uint8 [rows, size, size, 3].
 * @param {number} rows
 * @param {number} size
 * @returns {SampleImages}
 */
export function sampleImages(rows, size, seed = 1) {
  const next = random(seed);
  const data = new Uint8Array(rows * size * size * 3);
  for (let r = 0; r < rows; r++) {
    const waves = Array.from({ length: 9 }, () => next() * 6);
    for (let y = 0, i = r * size * size * 3; y < size; y++) {
      for (let x = 0; x < size; x++) {
        for (let c = 0; c < 3; c++) {
          const wave = Math.sin((waves[c] * x) / size + (waves[c + 3] * y) / size + waves[c + 6]);
          data[i++] = 128 + 90 * wave + 30 * next();
        }
      }
    }
  }
  return { data, rows, height: size, width: size };
}

const MEAN = [0.48145466, 0.4578275, 0.40821073];
const STD = [0.26862954, 0.26130258, 0.27577711];

/**
 * Images as other libraries take them: normalised float32 [rows, 3, size, size].
 * @param {SampleImages} images
 */
export function normalised({ data, rows, height, width }) {
  const area = height * width;
  const floats = new Float32Array(rows * 3 * area);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < 3; c++) {
      for (let i = 0; i < area; i++)
        floats[(r * 3 + c) * area + i] = (data[(r * area + i) * 3 + c] / 255 - MEAN[c]) / STD[c];
    }
  }
  return floats;
}

/** @param {readonly number[]} values */
export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

/**
 * @param {readonly number[]} values
 * @returns {Spread}
 */
export const spread = (values) => ({
  median: median(values),
  low: Math.min(...values),
  high: Math.max(...values),
});

/**
 * Items a second of `work`, which gives how many items it did, over `seconds` and one unmeasured call.
 * @param {Measure} work
 * @param {number} seconds
 * @param {() => number} [clock] the milliseconds that the speed counts; default: those of the wall clock
 */
export async function speedOf(work, seconds, clock = () => performance.now()) {
  await work(); // unmeasured: the threads of the one before may still spin
  const [start, before] = [performance.now(), clock()];
  let items = 0;
  do items += await work();
  while (performance.now() - start < seconds * 1000);
  return items / ((clock() - before) / 1000);
}

/**
 * Takes all measurements in turn, `rounds` times after one round that does not count; gives the results of each.
 * @template T
 * @param {Record<string, () => Promise<T>>} measurements
 * @param {number} rounds
 */
export async function inTurn(measurements, rounds) {
  /** @type {Record<string, T[]>} */
  const results = {};
  for (const name of Object.keys(measurements)) results[name] = [];
  for (let round = -1; round < rounds; round++) {
    for (const [name, measure] of Object.entries(measurements)) {
      const result = await measure();
      if (round >= 0) results[name].push(result);
    }
  }
  return results;
}

/**
 * Measures all contenders in turn. Gives each one's median, and for a ratio the rounds' own ratios, so that
 * what else the machine does falls on both sides.
 * @param {Record<string, Measure>} measurements
 * @param {number} rounds
 */
export async function interleaved(measurements, rounds) {
  const results = await inTurn(measurements, rounds);
  return {
    /** @param {string} name */
    median: (name) => median(results[name]),
    /** @param {string} name */
    spread: (name) => spread(results[name]),
    /**
     * @param {string} name
     * @param {string} other
     */
    ratio: (name, other) => spread(results[name].map((result, i) => result / results[other][i])),
  };
}

/**
 * The speeds of all contenders by `speedOf`, interleaved; each gives how many items it did.
 * @param {Record<string, Measure>} contenders
 */
export async function race(contenders, { rounds = 7, seconds = 0.5 } = {}) {
  const measurements = Object.fromEntries(
    Object.entries(contenders).map(([name, work]) => [name, () => speedOf(work, seconds)]),
  );
  const { median: speed, ratio } = await interleaved(measurements, rounds);
  return { speed, ratio };
}

/** Bytes of the resident set, and of it without V8's heap, which grows and shrinks by V8's own rules. */
export function residentMemory() {
  const { rss, heapTotal } = process.memoryUsage();
  return { rss, native: rss - heapTotal };
}

/** @param {number} bytes */
export const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const CPU_FEATURES = ["avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile"];

/** The processor, its cores and those of its instruction sets that the kernels can use. */
export function machine() {
  const cpuInfo = readFileSync("/proc/cpuinfo", "utf8");
  const has = CPU_FEATURES.filter((feature) => new RegExp(`\\b${feature}\\b`).test(cpuInfo));
  return `${cpus()[0].model.trim()}, ${cpus().length} cores, ${has.join(" ")}`;
}

/** @param {Spread} ratio */
export const showRatio = ({ median, low, high }) =>
  `${median.toFixed(2)} × (${low.toFixed(2)} to ${high.toFixed(2)})`;

/**
 * Least cosine between rows of two sets of embeddings.
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b
 * @param {number} rows
 * @param {number} dim
 */
export function leastCosine(a, b, rows, dim) {
  let least = 1;
  for (let r = 0; r < rows; r++) {
    let ab = 0;
    let aa = 0;
    let bb = 0;
    for (let i = r * dim; i < (r + 1) * dim; i++) {
      ab += a[i] * b[i];
      aa += a[i] * a[i];
      bb += b[i] * b[i];
    }
    least = Math.min(least, ab / Math.sqrt(aa * bb));
  }
  return least;
}
