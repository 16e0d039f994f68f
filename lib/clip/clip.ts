import type { NativeEngine, NativeInfo, NativeMemory } from "../addon.js";
import type { Embeddings } from "../embeddings.js";
import { checkAborted, type TorchclipError } from "../errors.js";
import { DEFAULT_LIMITS, type CheckedLimits } from "../images/limits.js";
import type { ImageInput } from "../images/types.js";
import type { WeightsOrigin } from "../models/config-types.js";
import { nativeTransform, readConfig } from "../models/config.js";
import { readOptions } from "../options.js";
import { EmbeddingIndex, type IndexOptions } from "../search/embedding-index.js";
import type { TokenizeOptions, Tokens } from "../text/tokenize.js";
import {
  classifyOnce,
  createClassifier,
  encodeClasses,
  type Classifier,
  type ClassifierOptions,
  type ClassifyOptions,
  type Prediction,
} from "./classifier.js";
import { planOutput } from "./image-output.js";
import { ImagePipeline } from "./image-pipeline.js";
import { checkList, copyList } from "./lists.js";
import {
  IMAGE_CHECKS,
  TEXT_CHECKS,
  type BatchOptions,
  type ClipInfo,
  type EncodedImages,
  type EncodedTexts,
  type EncodeTextOptions,
  type Precision,
  type Preprocessed,
  type PreprocessOptions,
} from "./options.js";
import type { PrecisionChoice } from "./precision.js";
import { TextPipeline } from "./text-pipeline.js";
import { checkTower } from "./towers.js";

/** A loaded model. Made by `load`; frees its memory on `close`. */
export class Clip {
  readonly info: ClipInfo;
  private readonly images: ImagePipeline;
  private readonly texts: TextPipeline;

  /** @internal */
  constructor(
    engine: NativeEngine,
    path: string,
    native: NativeInfo,
    requestedPrecision: Precision,
    precisionChoice?: PrecisionChoice,
    limits: CheckedLimits = DEFAULT_LIMITS,
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
    const transform = nativeTransform(config.preprocessing, sizes.imageSize);
    this.images = new ImagePipeline(engine, transform, this.info, limits);
    this.texts = new TextPipeline(engine, extra["tokenizer.json"], this.info, trims);
  }

  /**
   * Embeddings of images, float32 [images.length, embedDim], in their order; with `output: "pooled"` the
   * features before the projection, [images.length, pooledDim].
   */
  async encodeImages(images: readonly ImageInput[], given: BatchOptions = {}): Promise<EncodedImages> {
    const list = copyList(images, "images");
    const options = readOptions(given, IMAGE_CHECKS);
    const { dim } = planOutput(this.info, options);
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
   * What `encodeImages` gives, a batch at a time. While one batch is in the model the next one is decoded;
   * nothing is read further ahead than that until the consumer asks (back-pressure).
   */
  streamImages(
    images: Iterable<ImageInput> | AsyncIterable<ImageInput>,
    options: BatchOptions = {},
  ): AsyncGenerator<EncodedImages> {
    return this.images.streamImages(images, options);
  }

  /**
   * Embeddings of texts, float32 [texts.length, embedDim]. Throws E_TEXT_TOO_LONG unless truncate is "end".
   */
  async encodeTexts(texts: readonly string[], given: EncodeTextOptions = {}): Promise<EncodedTexts> {
    const options = readOptions(given, TEXT_CHECKS);
    checkList(texts, "texts");
    this.checkTexts(options.signal);
    return this.encodeTokens(this.tokenize(texts, options), options);
  }

  /** What `encodeTexts` gives, for token ids as `tokenize` makes them. */
  async encodeTokens(tokens: Tokens, given: Omit<EncodeTextOptions, "truncate"> = {}): Promise<EncodedTexts> {
    const options = readOptions(given, TEXT_CHECKS);
    this.checkTexts(options.signal);
    return this.texts.encodeTokens(tokens, options);
  }

  /** Exactly the pixels that the model is fed, before normalisation: uint8 [rows, size, size, 3]. */
  async preprocess(images: readonly ImageInput[], options: PreprocessOptions = {}): Promise<Preprocessed> {
    return this.images.preprocess(images, options);
  }

  /** Embeddings of pixels as `preprocess` gives them; what costs time before is done then. */
  async encodePixels(
    pixels: Omit<Preprocessed, "errors">,
    options: Pick<BatchOptions, "output" | "normalize" | "signal" | "batchSize"> = {},
  ): Promise<Embeddings> {
    return this.images.encodePixels(pixels, options);
  }

  /** Exactly the ids that the model is fed: int32 [rows, contextLength], padded. */
  tokenize(texts: readonly string[], options: TokenizeOptions = {}): Tokens {
    return this.texts.tokenize(texts, options);
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
   * const templates = ["a photo of a {}", "a drawing of a {}"];
   * const classifier = await clip.classifier(["cat", "dog"], { templates });
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
    return this.images.close();
  }

  /** An index of this model's embedding dimension, with `embeddings` in it where they are given. */
  async index(embeddings?: Embeddings, options: IndexOptions = {}): Promise<EmbeddingIndex> {
    const index = EmbeddingIndex.create(this.info.embedDim, options);
    if (embeddings) await index.add(embeddings);
    return index;
  }

  /**
   * Bytes that the weights and the workspace hold, how many batches wait for the device, and on a GPU how many
   * passes were captured as CUDA graphs, how many captures were refused, and why.
   */
  memoryUsage(): NativeMemory {
    return this.images.engine.memory();
  }

  /** Throws where no text can be encoded: after `close`, without the text tower, after the signal. */
  private checkTexts(signal: AbortSignal | undefined): void {
    this.images.checkOpen();
    checkTower("text", this.info.textRunner);
    checkAborted(signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
