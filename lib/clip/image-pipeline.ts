import type { NativeEngine, NativeTransform } from "../addon.js";
import type { Embeddings } from "../embeddings.js";
import { checkAborted, TorchclipError, toTorchclipError } from "../errors.js";
import { mergeLimits, type CheckedLimits } from "../images/limits.js";
import type { ImageInput } from "../images/types.js";
import { readOptions } from "../options.js";
import { untilAborted } from "../util/abort.js";
import { chunks } from "../util/iterate.js";
import { freeMemory } from "../util/free-memory.js";
import { own } from "../util/own.js";
import { runBatches } from "./batches.js";
import { DeviceBatch } from "./device-batch.js";
import { ImageDecoder, type ImageErrors } from "./image-decoder.js";
import { planOutput, type OutputPlan } from "./image-output.js";
import { copyList, listError } from "./lists.js";
import {
  DEFAULT_BATCH,
  IMAGE_CHECKS,
  type BatchOptions,
  type ClipInfo,
  type EncodedImages,
  type Preprocessed,
  type PreprocessOptions,
} from "./options.js";
import { checkTower } from "./towers.js";

/** A batch that is in the engine. Its promise is wrapped: an async function would wait for a bare one. */
interface StartedBatch {
  result: Promise<EncodedImages>;
}

/** The options of a call with what they ask the engine for. */
type PlannedOptions = BatchOptions & { plan: OutputPlan };

/**
 * From images to embeddings: reading, decoding, resizing and the image encoder, a batch at a time. It owns
 * the engine, and knows whether the engine is closed.
 */
export class ImagePipeline {
  private closing: Promise<void> | undefined;
  private readonly decoder: ImageDecoder;

  constructor(
    readonly engine: NativeEngine,
    transform: NativeTransform,
    private readonly info: Pick<
      ClipInfo,
      "imageSize" | "embedDim" | "pooledDim" | "replicas" | "imageRunner"
    >,
    /** The model's limits, for calls that have none of their own. */
    private readonly limits: CheckedLimits,
  ) {
    this.decoder = new ImageDecoder(transform, info.imageSize);
  }

  /** Throws E_CLOSED after `close`. */
  checkOpen(): void {
    if (this.closing) throw new TorchclipError("E_CLOSED", "the model is closed");
  }

  /** Closes the engine; safe to call twice. */
  close(): Promise<void> {
    this.closing ??= this.engine.close();
    return this.closing;
  }

  /** What `clip.streamImages` does. */
  async *streamImages(
    images: Iterable<ImageInput> | AsyncIterable<ImageInput>,
    given: BatchOptions = {},
  ): AsyncGenerator<EncodedImages> {
    const options = this.imageOptions(given);
    const { batchSize = DEFAULT_BATCH, signal } = options;
    this.checkOpen();
    checkTower("image", this.info.imageRunner);
    const plan = planOutput(this.info, options);
    const cancel = new Int32Array(1);
    const source = chunks(images, batchSize, listError);
    const buffers = new BatchBuffers(batchSize, this.info.imageSize ** 2 * 3);
    const stop = () => Atomics.store(cancel, 0, 1);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      const start = this.batchStarter({ ...options, plan }, cancel, buffers);
      yield* this.streamBatches(source, start, signal);
    } catch (error) {
      throw toTorchclipError(error);
    } finally {
      stop();
      buffers.close();
      signal?.removeEventListener("abort", stop);
      // After the signal nobody waits for the source: it may be waiting for its own next item.
      const returned = source.return(undefined);
      if (signal?.aborted) returned.catch(() => undefined);
      else await returned;
    }
  }

  /** As many batches in the engine as it has copies of the model, and one that is decoded meanwhile. */
  private async *streamBatches(
    source: AsyncGenerator<ImageInput[], void>,
    start: (images: ImageInput[]) => Promise<StartedBatch>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<EncodedImages> {
    const next = async (): Promise<StartedBatch | undefined> => {
      checkAborted(signal);
      const { value, done } = await source.next();
      return done ? undefined : start(value);
    };
    const running: Promise<EncodedImages>[] = [];
    let following: Promise<StartedBatch | undefined> | undefined = next();
    while (following || running.length > 0) {
      const started: StartedBatch | undefined = following && (await untilAborted(following, signal));
      if (started) running.push(started.result);
      following = started && next();
      following?.catch(() => undefined); // awaited in the next round, where there is one
      const isFull = running.length >= this.info.replicas;
      if (running.length === 0 || (following && !isFull)) continue;
      const [first] = running.splice(0, 1);
      yield await untilAborted(first, signal);
    }
  }

  /** Decodes a batch and gives it to the engine; called for the batches of a call one after another. */
  private batchStarter(options: PlannedOptions, cancel: Int32Array, buffers: BatchBuffers) {
    const { resizeOn, decodeOn } = options;
    const isForDevice = resizeOn === "device" || decodeOn === "device";
    let first = 0;
    return async (images: ImageInput[]): Promise<StartedBatch> => {
      const firstIndex = first;
      first += images.length;
      const result = isForDevice
        ? await this.startOnDevice(images, firstIndex, options, cancel)
        : await this.start(images, firstIndex, options, cancel, buffers);
      result.result.catch(() => undefined); // awaited later; an earlier failure may leave it behind
      return result;
    };
  }

  private async start(
    images: ImageInput[],
    firstIndex: number,
    options: PlannedOptions,
    cancel: Int32Array,
    buffers: BatchBuffers,
  ): Promise<StartedBatch> {
    const buffer = buffers.take();
    const into = buffers.fits(images.length) ? buffer : undefined;
    const { data, rows, errors } = await this.decoder.prepare(images, firstIndex, options, into);
    const { output, normalize } = options.plan;
    const encode = (out: Float32Array) =>
      this.engine.encodePixels(data, rows, output, out, normalize, cancel);
    return { result: this.encodeBatch(errors, options, encode).finally(() => buffers.giveBack(buffer)) };
  }

  private async startOnDevice(
    images: ImageInput[],
    firstIndex: number,
    options: PlannedOptions,
    cancel: Int32Array,
  ): Promise<StartedBatch> {
    const batch = await DeviceBatch.decode(images, firstIndex, this.decoder, options);
    const encode = (out: Float32Array) => batch.encode(this.engine, out, options.plan, cancel);
    return { result: this.encodeBatch(batch.errors, options, encode) };
  }

  /** What `clip.preprocess` does. */
  async preprocess(
    images: readonly ImageInput[],
    { into, ...options }: PreprocessOptions,
  ): Promise<Preprocessed> {
    const list = copyList(images, "images");
    const bytes = list.length * this.info.imageSize ** 2 * 3;
    const isRoom = into === undefined || (into instanceof Uint8Array && into.length >= bytes);
    if (!isRoom)
      throw new TorchclipError("E_ARGUMENT", `into must be uint8 of ${bytes} values`, { subject: "into" });
    return this.decoder.prepare(list, 0, this.imageOptions(options), into?.subarray(0, bytes));
  }

  /** What `clip.encodePixels` does. */
  async encodePixels(
    pixels: Omit<Preprocessed, "errors">,
    given: Pick<BatchOptions, "output" | "normalize" | "signal" | "batchSize"> = {},
  ): Promise<Embeddings> {
    const options: BatchOptions = readOptions(given, IMAGE_CHECKS);
    const { batchSize = DEFAULT_BATCH } = options;
    this.checkOpen();
    checkTower("image", this.info.imageRunner);
    checkAborted(options.signal);
    const { data: images, rows } = this.checkPixels(pixels);
    const { output, dim, normalize } = planOutput(this.info, options);
    const data = new Float32Array(rows * dim);
    const bytes = this.info.imageSize ** 2 * 3;
    const how = { batchSize, replicas: this.info.replicas, signal: options.signal };
    await runBatches(rows, how, async (start, count, cancel) => {
      const part = { start: start * bytes, end: (start + count) * bytes };
      const out = data.subarray(start * dim, (start + count) * dim);
      const owned = await own(images, "pixels", part);
      return this.engine.encodePixels(owned, count, output, out, normalize, cancel);
    });
    return { data, rows, dim };
  }

  /** Callers in plain JavaScript may give anything. */
  private checkPixels(pixels: Omit<Preprocessed, "errors">): Omit<Preprocessed, "errors"> {
    const size = this.info.imageSize;
    const { rows, height, width } = pixels;
    const data: unknown = pixels.data;
    const isOfSize = height === size && width === size;
    if (data instanceof Uint8Array && isOfSize && data.length === rows * size * size * 3)
      return { data, rows, height, width };
    const message = `pixels must be uint8 [rows, ${size}, ${size}, 3], as preprocess gives them`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "pixels" });
  }

  /** The options of a call, each read once and checked, with the model's limits where the call has none. */
  private imageOptions(given: BatchOptions): BatchOptions {
    const options = readOptions(given, IMAGE_CHECKS);
    return { ...options, ...mergeLimits(options, this.limits) };
  }

  /** The embeddings that `run` writes; rows of bad items become NaN. */
  private async encodeBatch(
    errors: ImageErrors,
    options: PlannedOptions,
    run: (out: Float32Array) => Promise<number>,
  ): Promise<EncodedImages> {
    const [rows, dim] = [errors.length, options.plan.dim];
    const data = new Float32Array(rows * dim);
    const seconds = await run(data);
    if (options.times) options.times.forward += seconds;
    for (const [row, error] of errors.entries()) {
      if (error) data.fill(NaN, row * dim, (row + 1) * dim);
    }
    return { data, rows, dim, errors };
  }
}

const MAX_REUSED = 256; // images; larger batches get memory of their own

/**
 * The memory of batches of pixels, which is used again for later ones: filling fresh memory would cost the
 * event loop milliseconds a batch.
 */
class BatchBuffers {
  private readonly free: Buffer[] = [];
  private isClosed = false;
  private readonly images: number;

  constructor(
    batchSize: number,
    private readonly imageBytes: number,
  ) {
    this.images = Math.min(batchSize, MAX_REUSED);
  }

  fits(images: number): boolean {
    return images <= this.images;
  }

  take(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(this.images * this.imageBytes);
  }

  giveBack(buffer: Buffer): void {
    if (this.isClosed) freeMemory(buffer);
    else this.free.push(buffer);
  }

  /** At the end of the call; buffers that are still in use are freed when they are given back. */
  close(): void {
    this.isClosed = true;
    for (const buffer of this.free.splice(0)) freeMemory(buffer);
  }
}
