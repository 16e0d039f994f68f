import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { addon, type LoadedModel, type NativeEngine, type NativeInfo } from "../addon.js";
import { toTorchclipError } from "../errors.js";
import { isFast } from "../models/runner.js";
import { isaSetting } from "../settings.js";
import { writeFileWhole } from "../util/files.js";
import { packageVersion } from "../util/package.js";
import { seededRandom } from "../util/random.js";
import { IMAGE_OUTPUTS } from "./image-output.js";

/** Least cosine to fp32, over the check images and texts, that "auto" accepts. */
export const AUTO_COSINE = 0.9995;
/**
 * How many times as fast as fp32 a precision must be to be taken by "auto": less is not worth its rounding.
 */
export const AUTO_SPEEDUP = 1.05;
const CHECK_IMAGES = 8;
const CHECK_TEXTS = 8;
const ROUNDS = 3;

type Computed = LoadedModel["precision"];

export interface MeasuredPrecision {
  precision: Computed;
  /** Least cosine to fp32 over the check images and texts. */
  cosine: number;
  /** Seconds of the check images, on a GPU of 256 images; the fastest of a few rounds. */
  seconds: number;
}

export interface PrecisionChoice {
  chosen: Computed;
  measured: MeasuredPrecision[];
  /** The GPU that it was measured on; none for a CPU. */
  gpu?: string;
}

/**
 * What `precision: "auto"` means for a model on this CPU: each precision is loaded once and measured on
 * images made here; the fastest whose cosine to fp32 is at least AUTO_COSINE and that is AUTO_SPEEDUP times
 * as fast as fp32 is taken, else fp32. The choice is remembered in the cache folder for this model, CPU,
 * thread count and version.
 */
export async function choosePrecision(
  open: Open,
  weights: string,
  threads: number,
  cacheDir: string,
): Promise<PrecisionChoice> {
  const { cpuFeatures } = addon().systemInfo();
  const file = choiceFile(cacheDir, [weights, cpuFeatures, threads, isaSetting() ?? ""]);
  const known = await readChoice(file);
  if (known) return known;
  const measured = await measureAll(open);
  const choice = { chosen: fastestOf(measured), measured };
  await writeChoice(file, choice);
  return choice;
}

/** Where the choice for a key is remembered, by this version. */
export function choiceFile(cacheDir: string, key: readonly unknown[]): string {
  const hash = createHash("sha256")
    .update(JSON.stringify([packageVersion(), ...key]))
    .digest("hex");
  return join(cacheDir, "precision", `${hash.slice(0, 32)}.json`);
}

/** A choice that was remembered; undefined where there is none that can be read. */
export async function readChoice(file: string): Promise<PrecisionChoice | undefined> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as PrecisionChoice;
  } catch {
    return undefined;
  }
}

/** Remembers a choice. A cache that cannot be written only costs time. */
export async function writeChoice(file: string, choice: PrecisionChoice): Promise<void> {
  await writeFileWhole(file, JSON.stringify(choice)).catch(() => undefined);
}

export interface Opened {
  engine: NativeEngine;
  info: NativeInfo;
}

/** What `open` gives; undefined where the device or the model has no such precision (E_PRECISION). */
export async function ifPossible<T>(open: () => Promise<T>): Promise<T | undefined> {
  try {
    return await open();
  } catch (error) {
    if (toTorchclipError(error).code === "E_PRECISION") return undefined;
    throw error;
  }
}

/** Loads the model in a precision. */
type Open = (precision: Computed) => Promise<Opened>;

async function measureAll(open: Open): Promise<MeasuredPrecision[]> {
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
  return measured;
}

/** The precision that "auto" takes of those that were measured: the first, or another that is worth it. */
export function fastestOf(measured: readonly MeasuredPrecision[]): Computed {
  const [first, ...others] = measured;
  const worth = others.filter((m) => m.cosine >= AUTO_COSINE && m.seconds * AUTO_SPEEDUP <= first.seconds);
  return [first, ...worth].reduce((a, b) => (b.seconds < a.seconds ? b : a)).precision;
}

/**
 * Embeddings of images and token rows that are made here, always the same: what precisions and runners are
 * compared by.
 */
export async function check(
  engine: NativeEngine,
  info: NativeInfo,
): Promise<{ embeddings: Float32Array; seconds: number }> {
  const random = seededRandom(1);
  const pixels = checkPixels(info.imageSize, random);
  const length = Math.min(16, info.contextLength);
  const ids = checkIds(length, info.vocabSize, random);
  const embeddings = new Float32Array((CHECK_IMAGES + CHECK_TEXTS) * info.embedDim);
  const ofTexts = embeddings.subarray(CHECK_IMAGES * info.embedDim);
  const cancel = new Int32Array(1);
  await engine.encodeTokens(ids, CHECK_TEXTS, length, ofTexts, true, cancel);
  return { embeddings, seconds: await secondsOf(engine, pixels, CHECK_IMAGES, embeddings) };
}

/** Seconds of the check images, repeated up to `images`. */
export async function imageSeconds({ engine, info }: Opened, images: number): Promise<number> {
  const some = checkPixels(info.imageSize, seededRandom(1));
  const pixels = new Uint8Array((some.length / CHECK_IMAGES) * images);
  for (let i = 0; i < pixels.length; i += some.length) {
    pixels.set(some.subarray(0, Math.min(some.length, pixels.length - i)), i);
  }
  return secondsOf(engine, pixels, images, new Float32Array(images * info.embedDim));
}

/** Encodes images a few times; the seconds of the fastest. */
async function secondsOf(engine: NativeEngine, pixels: Uint8Array, rows: number, out: Float32Array) {
  const cancel = new Int32Array(1);
  let seconds = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const one = await engine.encodePixels(pixels, rows, IMAGE_OUTPUTS.embedding, out, true, cancel);
    seconds = Math.min(seconds, one);
  }
  return seconds;
}

/** uint8 [CHECK_IMAGES, size, size, 3]: a wave in each channel, with noise. */
function checkPixels(size: number, random: () => number): Uint8Array {
  const pixels = new Uint8Array(CHECK_IMAGES * size * size * 3);
  let i = 0;
  for (let image = 0; image < CHECK_IMAGES; image++) {
    const waves = Array.from({ length: 9 }, () => random() * 8);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        for (let c = 0; c < 3; c++) {
          const phase = (waves[c] * x + waves[c + 3] * y) / size + waves[c + 6];
          pixels[i++] = 128 + 100 * Math.sin(phase) + 20 * random();
        }
      }
    }
  }
  return pixels;
}

/** int32 [CHECK_TEXTS, length]: a start, tokens, an end, which are the last two of the vocabulary. */
function checkIds(length: number, vocabSize: number, random: () => number): Int32Array {
  const ids = new Int32Array(CHECK_TEXTS * length);
  for (let row = 0; row < CHECK_TEXTS; row++) {
    ids[row * length] = vocabSize - 2;
    for (let i = 1; i < length - 1; i++) ids[row * length + i] = Math.floor(random() * (vocabSize - 2));
    ids[(row + 1) * length - 1] = vocabSize - 1;
  }
  return ids;
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
