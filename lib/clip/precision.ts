import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { addon, type NativeEngine, type NativeInfo } from "../addon.js";
import { isFast } from "../models/runner.js";
import { isaSetting } from "../settings.js";
import { writeFileWhole } from "../util/files.js";
import { packageVersion } from "../util/package.js";
import { seededRandom } from "../util/random.js";

/** Least cosine to fp32, over the check images and texts, that "auto" accepts. */
export const AUTO_COSINE = 0.9995;
/**
 * How many times as fast as fp32 a precision must be to be taken by "auto": less is not worth its rounding.
 */
export const AUTO_SPEEDUP = 1.05;
const CHECK_IMAGES = 8;
const CHECK_TEXTS = 8;
const ROUNDS = 3;

type Fast = "fp32" | "bf16" | "int8";

export interface MeasuredPrecision {
  precision: Fast;
  /** Least cosine to fp32 over the check images and texts. */
  cosine: number;
  /** Seconds of the check images; the fastest of a few rounds. */
  seconds: number;
}

export interface PrecisionChoice {
  chosen: Fast;
  measured: MeasuredPrecision[];
}

/**
 * What `precision: "auto"` means for a model on this CPU: each precision is loaded once and measured on
 * images made here; the fastest whose cosine to fp32 is at least AUTO_COSINE and that is AUTO_SPEEDUP times
 * as fast as fp32 is taken, else fp32. The choice is remembered in the cache folder for this model, CPU,
 * thread count and version.
 */
export async function choosePrecision(
  open: (precision: Fast) => Promise<{ engine: NativeEngine; info: NativeInfo }>,
  weights: string,
  threads: number,
  cacheDir: string,
): Promise<PrecisionChoice> {
  const { cpuFeatures } = addon().systemInfo();
  const key = createHash("sha256")
    .update(JSON.stringify([packageVersion(), weights, cpuFeatures, threads, isaSetting() ?? ""]))
    .digest("hex");
  const file = join(cacheDir, "precision", `${key.slice(0, 32)}.json`);
  try {
    return JSON.parse(await readFile(file, "utf8")) as PrecisionChoice;
  } catch {
    // not measured yet
  }
  const measured: MeasuredPrecision[] = [];
  let reference: Float32Array | undefined;
  for (const precision of ["fp32", "bf16", "int8"] as const) {
    const { engine, info } = await open(precision);
    try {
      // TorchScript computes no precision faster than fp32 on a CPU.
      if (precision !== "fp32" && !isFast(info.imageRunner) && !isFast(info.textRunner)) continue;
      const { embeddings, seconds } = await check(engine, info);
      reference ??= embeddings;
      measured.push({ precision, cosine: leastCosine(reference, embeddings, info.embedDim), seconds });
    } finally {
      await engine.close();
    }
  }
  const choice = { chosen: fastestOf(measured), measured };
  await writeFileWhole(file, JSON.stringify(choice)).catch(() => {}); // a cache that cannot be written only costs time
  return choice;
}

/** The precision that "auto" takes of those that were measured, fp32 the first of them. */
export function fastestOf(measured: readonly MeasuredPrecision[]): Fast {
  const [fp32, ...others] = measured;
  const worth = others.filter((m) => m.cosine >= AUTO_COSINE && m.seconds * AUTO_SPEEDUP <= fp32.seconds);
  return [fp32, ...worth].reduce((a, b) => (b.seconds < a.seconds ? b : a)).precision;
}

/**
 * Embeddings of images and token rows that are made here, always the same: what precisions and runners are
 * compared by.
 */
export async function check(
  engine: NativeEngine,
  info: NativeInfo,
): Promise<{ embeddings: Float32Array; seconds: number }> {
  const next = seededRandom(1);
  const size = info.imageSize;
  const pixels = new Uint8Array(CHECK_IMAGES * size * size * 3);
  for (let r = 0, i = 0; r < CHECK_IMAGES; r++) {
    const waves = Array.from({ length: 9 }, () => next() * 8);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        for (let c = 0; c < 3; c++)
          pixels[i++] =
            128 + 100 * Math.sin((waves[c] * x + waves[c + 3] * y) / size + waves[c + 6]) + 20 * next();
      }
    }
  }
  const length = Math.min(16, info.contextLength);
  const ids = new Int32Array(CHECK_TEXTS * length);
  for (let r = 0; r < CHECK_TEXTS; r++) {
    ids[r * length] = info.vocabSize - 2;
    for (let i = 1; i < length - 1; i++) ids[r * length + i] = Math.floor(next() * (info.vocabSize - 2));
    ids[(r + 1) * length - 1] = info.vocabSize - 1;
  }
  const embeddings = new Float32Array((CHECK_IMAGES + CHECK_TEXTS) * info.embedDim);
  const cancel = new Int32Array(1);
  await engine.encodeTokens(
    ids,
    CHECK_TEXTS,
    length,
    embeddings.subarray(CHECK_IMAGES * info.embedDim),
    true,
    cancel,
  );
  let seconds = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    seconds = Math.min(seconds, await engine.encodePixels(pixels, CHECK_IMAGES, embeddings, true, cancel));
  }
  return { embeddings, seconds };
}

export function leastCosine(a: Float32Array, b: Float32Array, dim: number): number {
  let least = 1;
  for (let start = 0; start < a.length; start += dim) {
    let cosine = 0;
    for (let i = start; i < start + dim; i++) cosine += a[i] * b[i];
    least = Math.min(least, cosine);
  }
  return least;
}
