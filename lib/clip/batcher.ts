import { TorchclipError } from "../errors.js";
import { LIMIT_CHECKS, LONGEST_TIMER } from "../images/limits.js";
import type { DecodeOptions, ImageInput, ImageLimits } from "../images/types.js";
import {
  BATCH_SIZE,
  IS_TRUNCATE,
  isBoolean,
  isSignal,
  oneOf,
  readOptions,
  wholeIn,
  type OptionCheck,
} from "../options.js";
import type { Tokens } from "../text/tokenize.js";
import { Gate } from "./batching/gate.js";
import { Lane, type BatchResult } from "./batching/lane.js";
import type { BatchObserver, LaneMetrics, LaneName } from "./batching/metrics.js";
import type { Clip } from "./clip.js";
import type { BatchOptions, EncodeTextOptions, Preprocessed, StageTimes } from "./options.js";

/** Limits of images (maxPixels, sources …) hold for each image; those not given are the model's. */
export interface BatcherOptions
  extends
    ImageLimits,
    Pick<BatchOptions, "output" | "normalize" | "autoRotate" | "fastDecode">,
    Pick<EncodeTextOptions, "truncate"> {
  /**
   * The most images or texts in one batch. Default 32. Memory for the pixels of two batches, of at most 256
   * images each, is kept: 150 kB for an image of 224 × 224.
   */
  maxBatch?: number;
  /** How long the first of a batch waits for others, in milliseconds. Default 5. */
  maxDelay?: number;
  /** Images, or texts, that may wait or be in work; more are refused with E_BUSY. Default 1024. */
  maxWaiting?: number;
  /**
   * Images that go through the model in one turn; a text that comes meanwhile waits for that turn. Default 8
   * on a CPU, where larger ones gain little, `maxBatch` on a GPU.
   */
  imageStep?: number;
  /** Is told of each batch and of the time of its stages. */
  observer?: BatchObserver;
}

/** Options of one call. */
export interface BatcherCallOptions {
  /** Rejects the call with E_ABORTED at once. The others of its batch go on. */
  signal?: AbortSignal;
}

export interface BatcherMetrics {
  images: LaneMetrics;
  texts: LaneMetrics;
}

type TextInput = string | Tokens;

const MAX_REUSED = 256; // images; larger batches get memory of their own

const STAGES = ["read", "decode", "resize", "forward"] as const;

/** Of the options, what a turn at the model takes. */
type CallOptions = Pick<EncodeTextOptions, "normalize" | "truncate" | "signal">;

type ImageCallOptions = Pick<BatchOptions, "output" | "normalize" | "signal">;

const CHECKS: Partial<Record<keyof BatcherOptions, OptionCheck>> = {
  ...LIMIT_CHECKS,
  maxBatch: BATCH_SIZE,
  maxDelay: (value) =>
    typeof value === "number" && value >= 0 && value <= LONGEST_TIMER ? undefined : "a number of at least 0",
  maxWaiting: wholeIn(1, Infinity),
  imageStep: BATCH_SIZE,
  output: oneOf("embedding", "pooled"),
  normalize: isBoolean,
  autoRotate: isBoolean,
  fastDecode: isBoolean,
  truncate: IS_TRUNCATE,
};

/**
 * Many small concurrent calls, as a server makes them, merged into batches within a latency budget. A batch
 * starts when it is full, or when its first call has waited `maxDelay`. Images and texts have a lane each:
 * images are decoded while others are in the model, and a text waits for one turn of images at most
 * (`imageStep`), however many are queued.
 *
 * @example
 * const batcher = new Batcher(clip, {
 *   maxPixels: 30e6,
 *   formats: ["jpeg", "png", "webp"],
 *   sources: { url: false, file: false },
 * });
 * const embedding = await batcher.encodeImage(upload, { signal: AbortSignal.timeout(5000) });
 * process.once("SIGTERM", () => batcher.drain().then(() => clip.close()));
 */
export class Batcher {
  private readonly images: Lane<ImageInput>;
  private readonly texts: Lane<TextInput>;
  private readonly gate: Gate;
  private readonly observer: BatchObserver | undefined;
  private readonly memory: PixelMemory;

  constructor(
    private readonly clip: Clip,
    given: BatcherOptions = {},
  ) {
    const {
      maxBatch = 32,
      maxDelay = 5,
      maxWaiting = 1024,
      imageStep,
      output,
      normalize,
      truncate,
      observer,
      ...decoding
    } = readOptions(given, CHECKS);
    const onCpu = clip.info.device === "cpu";
    const step = imageStep ?? (onCpu ? Math.min(8, maxBatch) : maxBatch);
    // A GPU gets its next turn before it has finished the last one, so that it never waits for this thread.
    this.gate = new Gate(onCpu ? clip.info.replicas : clip.info.replicas + 1);
    this.observer = observer;
    this.memory = new PixelMemory(maxBatch, clip.info.imageSize ** 2 * 3);
    const lane = (what: LaneName) => {
      const onBatch = observer && ((waits: readonly number[]) => observer.onBatch(what, waits));
      return { maxBatch, maxDelay, maxWaiting, what, onBatch };
    };
    this.images = new Lane(lane("images"), (items, signal) =>
      this.encodeImages(items, step, decoding, { output, normalize, signal }),
    );
    this.texts = new Lane(lane("texts"), (items, signal) =>
      this.encodeTexts(items, { normalize, truncate, signal }),
    );
  }

  /**
   * The embedding of one image. Rejects with its own error alone, or at once with E_BUSY, E_CLOSED or
   * E_ABORTED.
   */
  async encodeImage(image: ImageInput, options: BatcherCallOptions = {}): Promise<Float32Array> {
    return this.images.add(image, readOptions(options, { signal: isSignal }).signal);
  }

  /**
   * The embedding of one text; texts that are too long are cut unless `truncate` is "error". A text may also
   * be given as its token ids, one row as `clip.tokenize([text])` makes it.
   */
  async encodeText(text: string | Tokens, options: BatcherCallOptions = {}): Promise<Float32Array> {
    if (!isString(text) && !isTokens(text))
      throw new TorchclipError("E_ARGUMENT", "a text is a string, or its token ids", { subject: "text" });
    return this.texts.add(text, readOptions(options, { signal: isSignal }).signal);
  }

  /** Images and texts that wait or are in work. */
  get waiting(): number {
    return this.images.count + this.texts.count;
  }

  /**
   * For the end of a server: takes no more calls (E_CLOSED), starts what waits without `maxDelay`, and
   * resolves when all calls have been answered. The model stays open.
   */
  async drain(): Promise<void> {
    await Promise.all([this.images.drain(), this.texts.drain()]);
  }

  /** Numbers for monitoring, by lane. */
  metrics(): BatcherMetrics {
    return { images: this.images.metrics(), texts: this.texts.metrics() };
  }

  /** Decodes a batch beside the model, then takes its turns at it. */
  private async encodeImages(
    items: ImageInput[],
    step: number,
    decoding: DecodeOptions,
    options: ImageCallOptions,
  ): Promise<BatchResult> {
    const times: StageTimes = { read: 0, decode: 0, resize: 0, forward: 0 };
    const into = this.memory.take(items.length);
    const how = { ...decoding, signal: options.signal, onError: "collect", times, into } as const;
    const pixels = await this.clip.preprocess(items, how);
    const good = [...items.keys()].filter((i) => !pixels.errors[i]);
    const { embedDim, pooledDim } = this.clip.info;
    const dim = options.output === "pooled" ? pooledDim : embedDim;
    const data = new Float32Array(items.length * dim);
    for (let start = 0; start < good.length; start += step) {
      const rows = good.slice(start, start + step);
      const turn = () => this.clip.encodePixels(pickRows(pixels, rows), { batchSize: step, ...options });
      const part = await this.gate.run("images", () => timed(times, turn));
      rows.forEach((row, i) => data.set(part.data.subarray(i * dim, (i + 1) * dim), row * dim));
    }
    this.memory.giveBack(into);
    for (const stage of STAGES) this.observer?.onStage("images", stage, times[stage]);
    return { data, dim, errors: pixels.errors };
  }

  private async encodeTexts(
    items: TextInput[],
    { truncate = "end", ...options }: CallOptions,
  ): Promise<BatchResult> {
    const { clip } = this;
    const batchSize = items.length;
    const times: StageTimes = { read: 0, decode: 0, resize: 0, forward: 0 };
    const turn = () => {
      if (items.every(isString)) return clip.encodeTexts(items, { batchSize, truncate, ...options });
      const tokenized = items.map((item) => (isString(item) ? clip.tokenize([item], { truncate }) : item));
      return clip.encodeTokens(joinRows(tokenized), { batchSize, ...options });
    };
    const { data, dim } = await this.gate.run("texts", () => timed(times, turn));
    this.observer?.onStage("texts", "forward", times.forward);
    return { data, dim, errors: [] };
  }
}

/**
 * Memory for the pixels of batches, which is used again: fresh memory of each batch would have to be cleared,
 * and would make the garbage collector run several times as often. It is shared memory, which the engine reads
 * where it lies (see `own`). Of a batch that failed it is not used again: a decoder may still write to it.
 */
class PixelMemory {
  private readonly free: Uint8Array[] = [];
  private readonly images: number;

  constructor(
    maxBatch: number,
    private readonly imageBytes: number,
  ) {
    this.images = Math.min(maxBatch, MAX_REUSED);
  }

  /** Undefined for a batch that is too large. */
  take(images: number): Uint8Array | undefined {
    if (images > this.images) return undefined;
    return this.free.pop() ?? new Uint8Array(new SharedArrayBuffer(this.images * this.imageBytes));
  }

  giveBack(memory: Uint8Array | undefined): void {
    if (memory) this.free.push(memory);
  }
}

/** Runs a turn at the model and adds its seconds to `times.forward`. */
async function timed<T>(times: StageTimes, turn: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await turn();
  times.forward += (performance.now() - start) / 1000;
  return result;
}

const isString = (item: TextInput): item is string => typeof item === "string";

/** Callers in plain JavaScript may give anything. */
function isTokens(value: unknown): value is Tokens {
  return (value as Partial<Tokens> | null)?.data instanceof Int32Array;
}

/** Token ids of several texts, each padded to the context, in one array. */
function joinRows(parts: readonly Tokens[]): Tokens {
  const [{ length }] = parts;
  const data = new Int32Array(parts.length * length);
  for (const [row, part] of parts.entries()) {
    const isRow = part.rows === 1 && part.length === length && part.data.length === length;
    if (!isRow) throw new TorchclipError("E_ARGUMENT", "the token ids are not one row of the context length");
    data.set(part.data, row * length);
  }
  return { data, rows: parts.length, length, truncated: parts.flatMap((part) => part.truncated) };
}

/** Some rows of preprocessed images; no copy where they lie together. */
function pickRows({ data, height, width }: Preprocessed, rows: number[]): Omit<Preprocessed, "errors"> {
  const bytes = height * width * 3;
  const [first, last] = [rows[0], rows[rows.length - 1]];
  if (last - first + 1 === rows.length)
    return { data: data.subarray(first * bytes, (last + 1) * bytes), rows: rows.length, height, width };
  const picked = new Uint8Array(rows.length * bytes);
  rows.forEach((row, i) => picked.set(data.subarray(row * bytes, (row + 1) * bytes), i * bytes));
  return { data: picked, rows: rows.length, height, width };
}
