import { availableParallelism } from "node:os";
import { addon, type NativeEngine, type NativeTransform } from "../addon.js";
import type { Embeddings } from "../embeddings.js";
import { checkAborted, imageError, TorchclipError, toTorchclipError } from "../errors.js";
import { decodeBudget } from "../images/budget.js";
import { decodeImage, imageName, jpegFile, startReading } from "../images/decode.js";
import { mergeLimits, type CheckedLimits } from "../images/limits.js";
import type { EncodedImage } from "../images/source.js";
import type { ImageInput, RawImage } from "../images/types.js";
import { readOptions } from "../options.js";
import { untilAborted } from "../util/abort.js";
import { chunks, forEachLimited } from "../util/iterate.js";
import { own } from "../util/own.js";
import { runBatches } from "./batches.js";
import { copyList, listError } from "./lists.js";
import {
  DEFAULT_BATCH,
  IMAGE_CHECKS,
  type BatchOptions,
  type ClipInfo,
  type EncodedImages,
  type Preprocessed,
} from "./options.js";

/** In the place of an image that could not be decoded. */
const BLANK: RawImage = { data: new Uint8Array(3), width: 1, height: 1, channels: 3 };
const MAX_REUSED = 256; // images; larger batches get memory of their own

/**
 * From images to embeddings: reading, decoding, resizing and the image encoder, a batch at a time. It owns the
 * engine, and knows whether the engine is closed.
 */
export class ImagePipeline {
  private closing: Promise<void> | undefined;

  constructor(
    readonly engine: NativeEngine,
    private readonly transform: NativeTransform,
    private readonly info: Pick<ClipInfo, "imageSize" | "embedDim" | "replicas">,
    /** The model's limits, for calls that have none of their own. */
    private readonly limits: CheckedLimits,
  ) {}

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
    const { batchSize = DEFAULT_BATCH } = options;
    this.checkOpen();
    const cancel = new Int32Array(1);
    const source = chunks(images, batchSize, listError);
    const free: Buffer[] = [];
    const bytes = this.info.imageSize ** 2 * 3;
    let first = 0;
    // The promise is wrapped: an async function would wait for a bare one, and nothing would overlap.
    const next = async (): Promise<{ result: Promise<EncodedImages> } | undefined> => {
      checkAborted(options.signal);
      const { value, done } = await source.next();
      if (done) return undefined;
      const from = first;
      first += value.length;
      let result: Promise<EncodedImages>;
      if (options.resizeOn === "device" || options.decodeOn === "device") {
        result = (await this.decodeForDevice(value, from, options))(cancel);
      } else {
        // Filling fresh memory would cost the event loop milliseconds a batch: buffers come from the last
        // batches.
        const buffer = free.pop() ?? Buffer.allocUnsafeSlow(Math.min(batchSize, MAX_REUSED) * bytes);
        const prepared = await this.prepare(
          value,
          from,
          options,
          value.length * bytes <= buffer.length ? buffer : undefined,
        );
        result = this.encodeBatch(prepared.errors, options, (out) =>
          this.engine.encodePixels(prepared.data, prepared.rows, out, options.normalize ?? true, cancel),
        ).finally(() => free.push(buffer));
      }
      result.catch(() => {}); // awaited below; an earlier failure may leave it behind
      return { result };
    };
    const stop = () => Atomics.store(cancel, 0, 1);
    options.signal?.addEventListener("abort", stop, { once: true });
    try {
      // As many batches in the engine as it has copies of the model, and one that is decoded meanwhile.
      const running: Promise<EncodedImages>[] = [];
      let following: ReturnType<typeof next> | undefined = next();
      while (following || running.length) {
        const started: { result: Promise<EncodedImages> } | undefined =
          following && (await untilAborted(following, options.signal));
        if (started) running.push(started.result);
        following = started && next();
        following?.catch(() => {});
        if (running.length && (!following || running.length >= this.info.replicas))
          yield await untilAborted(running.shift()!, options.signal);
      }
    } catch (error) {
      throw toTorchclipError(error);
    } finally {
      stop();
      options.signal?.removeEventListener("abort", stop);
      // After the signal nobody waits for the source: it may be waiting for its own next item.
      const returned = source.return(undefined);
      if (options.signal?.aborted) returned.catch(() => {});
      else await returned;
    }
  }

  /** What `clip.preprocess` does. */
  async preprocess(images: readonly ImageInput[], options: BatchOptions): Promise<Preprocessed> {
    const list = copyList(images, "images");
    const { data, rows, errors } = await this.prepare(list, 0, this.imageOptions(options));
    return { data, rows, height: this.info.imageSize, width: this.info.imageSize, errors };
  }

  /** What `clip.encodePixels` does. */
  async encodePixels(
    pixels: Omit<Preprocessed, "errors">,
    given: Pick<BatchOptions, "normalize" | "signal" | "batchSize"> = {},
  ): Promise<Embeddings> {
    const options: BatchOptions = readOptions(given, IMAGE_CHECKS);
    const { batchSize = DEFAULT_BATCH } = options;
    this.checkOpen();
    checkAborted(options.signal);
    const { rows, height, width } = pixels;
    const size = this.info.imageSize;
    if (
      !(pixels.data instanceof Uint8Array) ||
      height !== size ||
      width !== size ||
      pixels.data.length !== rows * size * size * 3
    ) {
      throw new TorchclipError(
        "E_ARGUMENT",
        `pixels must be uint8 [rows, ${size}, ${size}, 3], as preprocess gives them`,
        { subject: "pixels" },
      );
    }
    const dim = this.info.embedDim;
    const data = new Float32Array(rows * dim);
    const bytes = size * size * 3;
    await runBatches(
      rows,
      { batchSize, replicas: this.info.replicas, signal: options.signal },
      async (start, count, cancel) =>
        this.engine.encodePixels(
          await own(pixels.data, "pixels", { start: start * bytes, end: (start + count) * bytes }),
          count,
          data.subarray(start * dim, (start + count) * dim),
          options.normalize ?? true,
          cancel,
        ),
    );
    return { data, rows, dim };
  }

  /** The options of a call, each read once and checked, with the model's limits where the call has none. */
  private imageOptions(given: BatchOptions): BatchOptions {
    const options = readOptions(given, IMAGE_CHECKS);
    return { ...options, ...mergeLimits(options, this.limits) };
  }

  /** Decodes a batch and hands out each image; bad items are thrown, or collected in the result. */
  private async eachImage(
    images: readonly (ImageInput | EncodedImage)[],
    indexOf: (i: number) => number,
    options: BatchOptions,
    take: (raw: RawImage, i: number) => Promise<void>,
  ): Promise<(TorchclipError | undefined)[]> {
    const errors: (TorchclipError | undefined)[] = Array.from({ length: images.length }, () => undefined);
    const one = async (i: number) => {
      checkAborted(options.signal);
      try {
        await decodeImage(images[i], { ...options, size: this.info.imageSize }, options.times, (raw) =>
          take(raw, i),
        );
      } catch (error) {
        const index = indexOf(i);
        const known = toTorchclipError(error, "E_IMAGE_DECODE");
        if (known.code === "E_ABORTED") throw known;
        const named = imageError(index, known, imageName(images[i]));
        if (options.onError !== "collect") throw named;
        errors[i] = named;
      }
    };
    await untilAborted(forEachLimited(images.length, availableParallelism() + 1, one), options.signal);
    return errors;
  }

  /** Decodes and resizes a batch. */
  private async prepare(
    images: readonly ImageInput[],
    firstIndex: number,
    options: BatchOptions,
    buffer?: Uint8Array,
  ) {
    const data = buffer ?? new Uint8Array(images.length * this.info.imageSize ** 2 * 3);
    const { times } = options;
    const errors = await this.eachImage(
      images,
      (i) => firstIndex + i,
      options,
      async (raw, i) => {
        const start = performance.now();
        await addon().preprocess(raw.data, raw.width, raw.height, raw.channels, this.transform, data, i);
        if (times) times.resize += (performance.now() - start) / 1000;
      },
    );
    return { data, rows: images.length, errors };
  }

  /**
   * A batch for the device to resize, its JPEG files for the device to decode too where that is asked for.
   */
  private async decodeForDevice(images: readonly ImageInput[], firstIndex: number, options: BatchOptions) {
    const prepared: (RawImage | { jpeg: Uint8Array })[] = images.map(() => BLANK);
    const inputs: (ImageInput | EncodedImage)[] = [...images];
    if (options.decodeOn === "device" && !options.autoRotate)
      await this.readJpegFiles(inputs, prepared, options);
    let held = 0;
    const take = async (raw: RawImage, i: number) => {
      held += raw.width * raw.height;
      // A batch of huge images would hold all their pixels until the device has them.
      prepared[i] = held > decodeBudget().total ? await this.resized(raw) : raw;
    };
    const errors: (TorchclipError | undefined)[] = Array.from({ length: images.length }, () => undefined);
    const decodeRest = async (among: number[]) => {
      const found = await this.eachImage(
        among.map((i) => inputs[i]),
        (j) => firstIndex + among[j],
        options,
        (raw, j) => take(raw, among[j]),
      );
      found.forEach((error, j) => (errors[among[j]] = error));
    };
    await decodeRest([...images.keys()].filter((i) => !("jpeg" in prepared[i])));
    return (cancel: Int32Array) =>
      this.encodeBatch(errors, options, async (out) => {
        const failed = new Uint8Array(prepared.length);
        const encode = (list: typeof prepared, to: Float32Array, flags: Uint8Array) =>
          this.engine.encodeImages(list, to, flags, options.normalize ?? true, cancel);
        let seconds = await encode(prepared, out, failed);
        const again = [...failed.keys()].filter((i) => failed[i]);
        if (again.length) {
          await decodeRest(again);
          const [dim, rows] = [this.info.embedDim, new Float32Array(again.length * this.info.embedDim)];
          seconds += await encode(
            again.map((i) => ("jpeg" in prepared[i] ? BLANK : prepared[i])),
            rows,
            new Uint8Array(again.length),
          );
          again.forEach((i, j) => out.set(rows.subarray(j * dim, (j + 1) * dim), i * dim));
        }
        return seconds;
      });
  }

  /**
   * Reads a batch: its JPEG files become inputs of the device, `inputs` what was read, so that nothing is
   * read twice.
   */
  private async readJpegFiles(
    inputs: (ImageInput | EncodedImage)[],
    prepared: (RawImage | { jpeg: Uint8Array })[],
    options: BatchOptions,
  ): Promise<void> {
    const read = async (i: number) => {
      const encoded = startReading(inputs[i] as ImageInput, options);
      if (!encoded) return;
      inputs[i] = encoded;
      const jpeg = await jpegFile(encoded, options);
      if (jpeg) prepared[i] = { jpeg };
    };
    await untilAborted(forEachLimited(inputs.length, availableParallelism() + 1, read), options.signal);
  }

  /** An image as the model is fed it, which the device's own resizing leaves as it is. */
  private async resized(raw: RawImage): Promise<RawImage> {
    const size = this.info.imageSize;
    const data = new Uint8Array(size * size * 3);
    await addon().preprocess(raw.data, raw.width, raw.height, raw.channels, this.transform, data, 0);
    return { data, width: size, height: size, channels: 3 };
  }

  /** The embeddings that `run` writes; rows of bad items become NaN. */
  private async encodeBatch(
    errors: (TorchclipError | undefined)[],
    options: BatchOptions,
    run: (out: Float32Array) => Promise<number>,
  ): Promise<EncodedImages> {
    const [rows, dim] = [errors.length, this.info.embedDim];
    const data = new Float32Array(rows * dim);
    const seconds = await run(data);
    if (options.times) options.times.forward += seconds;
    errors.forEach((e, i) => e && data.fill(NaN, i * dim, (i + 1) * dim));
    return { data, rows, dim, errors };
  }
}
