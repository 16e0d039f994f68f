import { availableParallelism } from "node:os";
import { addon, type NativeEngine, type NativeInfo, type NativeTransform } from "./addon.js";
import {
  classifyOnce,
  createClassifier,
  encodeClasses,
  type Classifier,
  type ClassifierOptions,
  type ClassifyOptions,
  type Prediction,
} from "./classifier.js";
import type { Embeddings } from "./embeddings.js";
import { checkAborted, toTorchclipError, TorchclipError, imageError } from "./errors.js";
import { decodeBudget } from "./images/budget.js";
import {
  decodeImage,
  imageName,
  jpegFile,
  startReading,
  type DecodeOptions,
  type ImageInput,
  type RawImage,
} from "./images/decode.js";
import {
  LIMIT_CHECKS,
  mergeLimits,
  type CheckedLimits,
  type ImageLimits,
  DEFAULT_LIMITS,
} from "./images/limits.js";
import type { EncodedImage } from "./images/source.js";
import { nativeTransform, readConfig, type ModelConfig, type WeightsOrigin } from "./models/config.js";
import { readArtifactConfig } from "./models/import.js";
import { choosePrecision, type PrecisionChoice } from "./models/precision.js";
import { locateModel, type ResolveOptions } from "./models/resolve.js";
import { isFast } from "./models/runner.js";
import {
  isBoolean,
  isSignal,
  oneOf,
  readOptions,
  wholeIn,
  type OptionCheck,
  BATCH_SIZE,
  IS_TRUNCATE,
} from "./options.js";
import { EmbeddingIndex, type IndexOptions } from "./search/index.js";
import { settings } from "./settings.js";
import { tokenize, type TokenizeOptions, type Tokens } from "./text/tokenize.js";
import { makeTokenizer, parseTokenizer, type Tokenizer } from "./text/tokenizer.js";
import { untilAborted } from "./util/abort.js";
import { chunks, forEachLimited } from "./util/iterate.js";
import { own } from "./util/own.js";

export type Device = "auto" | "cpu" | "cuda" | `cuda:${number}` | "cuda:all";
export type Precision = "auto" | "fp32" | "bf16" | "fp16" | "int8";

/**
 * The limits of images (maxPixels, sources …) hold for all calls of the model, where a call has none of its
 * own.
 */
export interface LoadOptions extends ResolveOptions, ImageLimits {
  /**
   * Default "auto": CUDA where it works, else the CPU (`clip.info.deviceNote` says why). "cuda" never falls
   * back. "cuda:all": a copy of the model on each GPU; batches go to whichever is free.
   */
  device?: Device;
  /**
   * Default "fp32". "int8": on a CPU. "auto": the fastest whose measured cosine to fp32 is at least 0.9995;
   * see docs.
   */
  precision?: Precision;
  /** Compute threads on a CPU. Default 0: one a core. */
  threads?: number;
  /**
   * "auto" (default): the fast runner for the towers that it knows. "generic": the artifact's TorchScript for
   * both.
   */
  runner?: "auto" | "generic";
  /**
   * The same bits for an input whatever else is in its batch. The fast runner always gives that; TorchScript
   * then runs one by one.
   */
  deterministic?: boolean;
}

export interface ClipInfo {
  /** Path of the artifact in use. */
  path: string;
  config: ModelConfig;
  /** Where the weights came from. */
  origin: WeightsOrigin;
  imageSize: number;
  contextLength: number;
  embedDim: number;
  vocabSize: number;
  /** exp of the learned parameter: logits = logitScale × cosine + logitBias. */
  logitScale: number;
  /** Of models trained with the sigmoid loss (SigLIP); 0 for the others. */
  logitBias: number;
  /** The device in use: "cpu", "cuda:0", with "cuda:all" all of them: "cuda:0,cuda:1" … */
  device: string;
  /** Copies of the model: with "cuda:all" one for each GPU, else 1. */
  replicas: number;
  /** What is computed in; `requestedPrecision` is what was asked for. */
  precision: "fp32" | "bf16" | "fp16" | "int8";
  requestedPrecision: Precision;
  /** With precision "auto" on a CPU: what was measured. */
  precisionChoice?: PrecisionChoice;
  /** Which runner each tower uses: "fast bf16 (avx512_bf16)", "generic fp32 (TorchScript)" … */
  imageRunner: string;
  textRunner: string;
  /** Why `auto` chose the CPU; empty where the CPU was asked for. */
  deviceNote: string;
}

/** Seconds of each stage, added up over all images (read, decode and resize overlap with forward). */
export interface StageTimes {
  read: number;
  decode: number;
  resize: number;
  forward: number;
}

export interface BatchOptions extends DecodeOptions {
  /** Images in one forward pass. Default 32. */
  batchSize?: number;
  /** Divide each embedding by its L2 norm. Default true. */
  normalize?: boolean;
  /**
   * Where images are resized and cropped: "cpu" (default), a thread pool beside the model; "device", where
   * the model runs, which frees the CPU for decoding. The pixels are the same bits.
   */
  resizeOn?: "cpu" | "device";
  /**
   * Who decodes JPEG files: "cpu" (default), or "device": a GPU's nvJPEG where it is there, then `resizeOn`
   * is "device" too. What it does not take (other formats, damaged files, autoRotate) is decoded by the CPU.
   * Its pixels differ from the reference's by a few levels; see docs/cuda.md.
   */
  decodeOn?: "cpu" | "device";
  /**
   * "throw" (default): the first bad item rejects, with its index and name. "collect": see `errors` of the
   * result.
   */
  onError?: "throw" | "collect";
  /** Stage times are added to it. */
  times?: StageTimes;
}

export interface EncodedImages extends Embeddings {
  /** With onError "collect": the error of each bad item at its index; its row is NaN. */
  errors: (TorchclipError | undefined)[];
}

export interface EncodedTexts extends Embeddings {
  /** Which texts were cut at the context length (only with truncate: "end"). */
  truncated: boolean[];
}

export interface EncodeTextOptions extends TokenizeOptions {
  /**
   * Texts given to the model at once. Default 256 on the fast CPU runner, which computes once what texts of a
   * batch begin with; else 64.
   */
  batchSize?: number;
  normalize?: boolean;
  signal?: AbortSignal;
}

/** Resized and cropped RGB before normalisation: uint8 [rows, height, width, 3]. */
export interface Preprocessed {
  data: Uint8Array;
  rows: number;
  height: number;
  width: number;
  errors: (TorchclipError | undefined)[];
}

const DEFAULT_BATCH = 32;
const isPlace = oneOf("cpu", "device");
const isDevice: OptionCheck = (value) =>
  typeof value === "string" && /^(auto|cpu|cuda(:(\d+|all))?)$/.test(value)
    ? undefined
    : "auto, cpu, cuda, cuda:N or cuda:all";

const LOAD_CHECKS: Partial<Record<keyof LoadOptions, OptionCheck>> = {
  ...LIMIT_CHECKS,
  device: isDevice,
  precision: oneOf("auto", "fp32", "bf16", "fp16", "int8"),
  runner: oneOf("auto", "generic"),
  threads: wholeIn(0, 1024),
  deterministic: isBoolean,
  trustCode: isBoolean,
  mirrorFallback: isBoolean,
  signal: isSignal,
};

const IMAGE_CHECKS: Partial<Record<keyof BatchOptions, OptionCheck>> = {
  ...LIMIT_CHECKS,
  batchSize: BATCH_SIZE,
  normalize: isBoolean,
  autoRotate: isBoolean,
  fastDecode: isBoolean,
  resizeOn: isPlace,
  decodeOn: isPlace,
  onError: oneOf("throw", "collect"),
  signal: isSignal,
};

const TEXT_CHECKS: Partial<Record<keyof EncodeTextOptions, OptionCheck>> = {
  batchSize: BATCH_SIZE,
  normalize: isBoolean,
  truncate: IS_TRUNCATE,
  signal: isSignal,
};

/** In the place of a image that could not be decoded. */
const BLANK: RawImage = { data: new Uint8Array(3), width: 1, height: 1, channels: 3 };
const MAX_REUSED = 256; // images; larger batches get memory of their own

/** Loads a model by name, alias or path. See LoadOptions. */
export async function load(model: string, given: LoadOptions = {}): Promise<Clip> {
  try {
    return await loadChecked(model, readOptions(given, LOAD_CHECKS));
  } catch (error) {
    throw toTorchclipError(error, "E_INTERNAL", { subject: model });
  }
}

async function loadChecked(model: string, options: LoadOptions): Promise<Clip> {
  checkAborted(options.signal);
  const { artifact: path, origin } = await locateModel(model, options);
  checkAborted(options.signal);
  const requested = options.precision ?? "fp32";
  const open = async (precision: Precision) => {
    const engine = new (addon().Engine)();
    const { device = "auto", threads = 0, runner, deterministic = false } = options;
    try {
      return {
        engine,
        info: await engine.load(
          path,
          device,
          precision,
          threads,
          runner === "generic",
          deterministic,
          options.trustCode === true,
        ),
      };
    } catch (error) {
      await engine.close();
      throw error;
    }
  };
  let choice: PrecisionChoice | undefined;
  // A GPU computes everything in fp16 well; on a CPU it is measured.
  const onCpu = requested === "auto" && (options.device === "cpu" || addon().systemInfo().cudaDevices === 0);
  if (onCpu && options.runner !== "generic") {
    const { source } = await readArtifactConfig(path);
    choice = await choosePrecision(open, source.sha256, options.threads ?? 0, settings(options).cacheDir);
  }
  const { engine, info } = await open(
    choice?.chosen ?? (requested === "auto" && !onCpu ? "fp16" : requested),
  );
  try {
    const clip = new Clip(engine, path, info, requested, choice, mergeLimits(options), origin);
    checkAborted(options.signal);
    return clip;
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** A loaded model. Made by `load`; frees its memory on `close`. */
export class Clip {
  readonly info: ClipInfo;
  private madeTokenizer: Tokenizer | undefined;
  private readonly tokenizerJson: string;
  private readonly transform: NativeTransform;
  private readonly trims: boolean;
  private closing: Promise<void> | undefined;

  /** @internal */
  constructor(
    private readonly engine: NativeEngine,
    path: string,
    native: NativeInfo,
    requestedPrecision: Precision,
    precisionChoice?: PrecisionChoice,
    private readonly limits: CheckedLimits = DEFAULT_LIMITS,
    origin: WeightsOrigin = { kind: "path", location: path, hashKnown: false },
  ) {
    const { extra, trims, ...sizes } = native;
    const config = readConfig(extra["torchclip.json"]);
    this.info = {
      path,
      config,
      origin,
      requestedPrecision,
      ...(precisionChoice ? { precisionChoice } : {}),
      ...sizes,
    };
    this.tokenizerJson = extra["tokenizer.json"];
    this.transform = nativeTransform(config.preprocessing, sizes.imageSize);
    this.trims = trims;
  }

  /** Embeddings of images, float32 [images.length, embedDim], in their order. */
  async encodeImages(images: readonly ImageInput[], options: BatchOptions = {}): Promise<EncodedImages> {
    const list = copyList(images, "images");
    const dim = this.info.embedDim;
    const data = new Float32Array(list.length * dim);
    const errors: (TorchclipError | undefined)[] = Array.from({ length: list.length }, () => undefined);
    let row = 0;
    for await (const batch of this.streamImages(list, options)) {
      data.set(batch.data, row * dim);
      batch.errors.forEach((e, i) => (errors[row + i] = e));
      row += batch.rows;
    }
    return { data, rows: list.length, dim, errors };
  }

  /**
   * The same, a batch at a time. While one batch is in the model the next one is decoded; nothing is read
   * further ahead than that until the consumer asks (back-pressure).
   */
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

  /**
   * Embeddings of texts, float32 [texts.length, embedDim]. Throws E_TEXT_TOO_LONG unless truncate is "end".
   */
  async encodeTexts(texts: readonly string[], given: EncodeTextOptions = {}): Promise<EncodedTexts> {
    const options = readOptions(given, TEXT_CHECKS);
    checkList(texts, "texts");
    this.checkOpen();
    checkAborted(options.signal);
    return this.encodeTokens(this.tokenize(texts, options), options);
  }

  /**
   * Whether what texts of a batch begin with is computed once; such batches go through the layers in parts
   * that fit.
   */
  private get sharesBeginnings(): boolean {
    return this.info.device === "cpu" && isFast(this.info.textRunner);
  }

  /** The same for token ids, as `tokenize` gives them. */
  async encodeTokens(tokens: Tokens, given: Omit<EncodeTextOptions, "truncate"> = {}): Promise<EncodedTexts> {
    const options = readOptions(given, TEXT_CHECKS);
    this.checkOpen();
    checkAborted(options.signal);
    const { batchSize = this.sharesBeginnings ? 256 : 64 } = options;
    const { rows, length } = tokens;
    if (
      !(tokens.data instanceof Int32Array) ||
      tokens.data.length !== rows * length ||
      length < 1 ||
      length > this.info.contextLength
    ) {
      throw new TorchclipError(
        "E_ARGUMENT",
        `tokens must be int32 [rows, length] with a length in 1 to ${this.info.contextLength}`,
        { subject: "tokens" },
      );
    }
    const owned = { ...tokens, data: await own(tokens.data, "tokens") };
    const dim = this.info.embedDim;
    const data = new Float32Array(rows * dim);
    await this.inBatches(rows, batchSize, options.signal, (start, count, cancel) => {
      const ids = trimPadding(owned, start, count, this.trims, this.tokenizer.config.padId);
      return this.engine.encodeTokens(
        ids.data,
        count,
        ids.length,
        data.subarray(start * dim, (start + count) * dim),
        options.normalize ?? true,
        cancel,
      );
    });
    return { data, rows, dim, truncated: tokens.truncated };
  }

  /** Exactly the pixels that the model is fed, before normalisation: uint8 [rows, size, size, 3]. */
  async preprocess(
    images: readonly ImageInput[],
    options: Omit<BatchOptions, "batchSize" | "normalize"> = {},
  ): Promise<Preprocessed> {
    const { data, rows, errors } = await this.prepare(
      copyList(images, "images"),
      0,
      this.imageOptions(options),
    );
    return { data, rows, height: this.info.imageSize, width: this.info.imageSize, errors };
  }

  /** Embeddings of pixels as `preprocess` gives them; what costs time before is done then. */
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
    await this.inBatches(rows, batchSize, options.signal, async (start, count, cancel) =>
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

  /** Exactly the ids that the model is fed: int32 [rows, contextLength], padded. */
  tokenize(texts: readonly string[], options: TokenizeOptions = {}): Tokens {
    checkList(texts, "texts");
    return tokenize(this.tokenizer, texts, this.info.contextLength, options);
  }

  /** One class embedding a label: the normalised mean of the normalised embeddings of its prompts. */
  async encodeClasses(
    labels: readonly string[],
    templates: readonly string[],
    options: EncodeTextOptions = {},
  ): Promise<Embeddings> {
    return encodeClasses(this, labels, templates, options);
  }

  /**
   * A classifier of these labels, which are encoded now and never again. Throws E_ARGUMENT, with its index,
   * for a label that is no string, is empty or stands twice.
   *
   * @example
   * const classifier = await clip.classifier(["cat", "dog"], { templates: ["a photo of a {}", "a drawing of a {}"] });
   * const predictions = await classifier.classify("cat.jpg", { threshold: 0.5 });
   */
  async classifier(labels: readonly string[], options: ClassifierOptions = {}): Promise<Classifier> {
    return createClassifier(this, labels, options);
  }

  /**
   * The labels ranked for one image. For many images of the same labels, `classifier` encodes the labels only
   * once.
   */
  async classify(
    image: ImageInput,
    labels: readonly string[],
    options: ClassifyOptions = {},
  ): Promise<Prediction[]> {
    return classifyOnce(this, image, labels, options);
  }

  /**
   * Waits for the batch that runs, refuses those that wait (E_CLOSED), frees the model. Safe to call twice.
   */
  close(): Promise<void> {
    this.closing ??= this.engine.close();
    return this.closing;
  }

  /** An index of this model's embedding dimension, with `embeddings` in it where they are given. */
  async index(embeddings?: Embeddings, options: IndexOptions = {}): Promise<EmbeddingIndex> {
    const index = EmbeddingIndex.create(this.info.embedDim, options);
    if (embeddings) await index.add(embeddings);
    return index;
  }

  /** Bytes that the weights and the workspace hold, and how many batches wait for the device. */
  memoryUsage(): { weights: number; workspace: number; waiting: number } {
    return this.engine.memory();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Runs rows [start, start + count) after one another; ends with the signal. */
  private async inBatches(
    rows: number,
    batchSize: number,
    signal: AbortSignal | undefined,
    run: (start: number, count: number, cancel: Int32Array) => Promise<unknown>,
  ): Promise<void> {
    const cancel = new Int32Array(1);
    const stop = () => Atomics.store(cancel, 0, 1);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      const running: Promise<unknown>[] = [];
      for (let start = 0; start < rows; start += batchSize) {
        const batch = run(start, Math.min(batchSize, rows - start), cancel);
        batch.catch(() => {}); // awaited below; an earlier failure may leave it behind
        running.push(batch);
        if (running.length >= this.info.replicas) await untilAborted(running.shift()!, signal);
      }
      for (const batch of running) await untilAborted(batch, signal);
    } catch (error) {
      throw toTorchclipError(error);
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Made when a text first needs it: its tables take longer than the weights. */
  private get tokenizer(): Tokenizer {
    return (this.madeTokenizer ??= makeTokenizer(
      parseTokenizer(this.tokenizerJson),
      this.info.config.tokenizer,
    ));
  }

  /** The options of a call, each read once and checked, with the model's limits where the call has none. */
  private imageOptions(given: BatchOptions): BatchOptions {
    const options = readOptions(given, IMAGE_CHECKS);
    return { ...options, ...mergeLimits(options, this.limits) };
  }

  private checkOpen(): void {
    if (this.closing) throw new TorchclipError("E_CLOSED", "the model is closed");
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

function checkList(list: unknown, name: string): void {
  if (!Array.isArray(list))
    throw new TorchclipError("E_ARGUMENT", `${name} must be an array`, { subject: name });
}

/**
 * A copy of a list, so that it cannot change during the call. E_ARGUMENT, with the index, for an element that
 * cannot be read.
 */
function copyList<T>(list: readonly T[], name: string): T[] {
  checkList(list, name);
  return Array.from({ length: list.length }, (_, index) => {
    try {
      return list[index];
    } catch (cause) {
      throw listError(index, cause);
    }
  });
}

function listError(index: number, cause: unknown): TorchclipError {
  if (cause instanceof TorchclipError) return cause;
  return new TorchclipError(
    "E_ARGUMENT",
    `image ${index}: it cannot be read from the list: ${(cause as Error)?.message ?? String(cause)}`,
    { index, cause },
  );
}

/**
 * Rows [start, start + rows) without the columns that are padding in all of them: exact, where text is
 * causal.
 */
function trimPadding(
  tokens: Tokens,
  start: number,
  rows: number,
  trims: boolean,
  padId: number,
): { data: Int32Array; length: number } {
  let length = trims ? 1 : tokens.length;
  for (let r = start; r < start + rows; r++) {
    let end = tokens.length;
    while (end > length && tokens.data[r * tokens.length + end - 1] === padId) end--;
    length = Math.max(length, end);
  }
  const data = new Int32Array(rows * length);
  for (let r = 0; r < rows; r++) {
    const from = (start + r) * tokens.length;
    data.set(tokens.data.subarray(from, from + length), r * length);
  }
  return { data, length };
}
