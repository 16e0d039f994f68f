import { createHash } from "node:crypto";
import { Batcher, type BatcherOptions } from "../clip/batcher.js";
import type { Clip } from "../clip/clip.js";
import type { ClassifierModel, ClipInfo } from "../clip/options.js";
import { NOT_LOADED } from "../clip/towers.js";
import { TorchclipError } from "../errors.js";
import { imageSize, prepareDecoder } from "../images/decode.js";
import type { ImageInput } from "../images/types.js";
import type { ModelConfig } from "../models/config-types.js";
import { freeMemory } from "../util/free-memory.js";
import { RequestError } from "./errors.js";
import type { ImageItem, Item } from "./items.js";
import type { RemoteImages } from "./remote.js";
import { Turn } from "./turn.js";

/** What a request's items became. */
export interface Embedded {
  /** A vector for each item, in their order. */
  vectors: Float32Array[];
  /** Token ids of the texts, without padding. */
  tokens: number;
  /** Images among the items. */
  images: number;
  /** Pixels of the images, where `countPixels` was set. */
  pixels: number;
}

export interface EmbedOptions {
  /** Is aborted when one item fails: nobody waits for the others then. */
  controller: AbortController;
  /** What happens to a text that is too long. */
  truncate: "error" | "end";
  countPixels?: boolean;
}

/** Characters of a text: as many as 8,192 tokens have. Tokenizing more would hold the event loop too long. */
const MOST_CHARACTERS = 32_768;

/** A model with the batcher that merges the requests of all clients. */
export class ServedModel {
  readonly batcher: Batcher;
  readonly fingerprint: string;
  /** Items of requests that are in work. */
  private items = 0;

  /** @param name What requests call the model. */
  constructor(
    readonly name: string,
    readonly clip: Clip,
    /** Items that may be in work; requests beyond are refused. */
    private readonly maxWaiting: number,
    private readonly remote: RemoteImages,
    options: BatcherOptions,
  ) {
    // Strings of clients are never paths, and URLs were fetched before.
    const sources = { file: false, url: false };
    this.batcher = new Batcher(clip, { ...options, maxWaiting, sources });
    this.fingerprint = fingerprintOf(clip.info.config);
  }

  /** Runs an image and a text through the model: the first request does not wait for what loads late. */
  async warmUp(): Promise<void> {
    const { imageRunner, textRunner } = this.clip.info;
    await prepareDecoder();
    const pixel = { data: new Uint8Array(3), width: 1, height: 1, channels: 3 } as const;
    if (imageRunner !== NOT_LOADED) await this.clip.encodeImages([pixel]);
    if (textRunner !== NOT_LOADED) await this.clip.encodeTexts(["a photo of a cat"]);
  }

  /** Whether a request of one more item would be refused. */
  get isFull(): boolean {
    return this.items >= this.maxWaiting;
  }

  /**
   * The vectors of items, which share batches with those of other requests. Rejects with the error of the
   * first item that fails, which names its place; with E_BUSY where too many items are in work.
   */
  async embed(items: readonly Item[], options: EmbedOptions): Promise<Embedded> {
    const embedded: Embedded = { vectors: [], tokens: 0, images: 0, pixels: 0 };
    return this.withRoom(items.length, () => this.embedAll(items, embedded, options));
  }

  /** Does work of so many images and texts. Rejects with E_BUSY where too many are in work. */
  async withRoom<T>(count: number, work: () => Promise<T>): Promise<T> {
    this.checkRoom(count);
    this.items += count;
    try {
      return await work();
    } finally {
      this.items -= count;
    }
  }

  private async embedAll(
    items: readonly Item[],
    embedded: Embedded,
    options: EmbedOptions,
  ): Promise<Embedded> {
    try {
      const calls: Promise<Float32Array>[] = [];
      const turn = new Turn();
      for (const item of items) {
        const call = this.embedOne(item, embedded, options);
        call.catch(() => undefined); // awaited below; an earlier failure may leave it behind
        calls.push(call);
        if (turn.isOver && !options.controller.signal.aborted) await turn.pass();
      }
      embedded.vectors = await Promise.all(calls);
      return embedded;
    } catch (error) {
      options.controller.abort(error);
      throw error;
    }
  }

  /** This model for `Classifier`s: its images and texts go through the batcher. */
  classifierModel(): ClassifierModel {
    const { batcher } = this;
    const { info } = this.clip;
    const one = (data: Float32Array) => ({ data, rows: 1, dim: info.embedDim });
    return {
      info,
      async encodeTexts(texts, { signal }) {
        const rows = await Promise.all(texts.map((text) => batcher.encodeText(text, { signal })));
        const data = new Float32Array(rows.length * info.embedDim);
        for (const [row, vector] of rows.entries()) data.set(vector, row * info.embedDim);
        return { data, rows: rows.length, dim: info.embedDim, truncated: rows.map(() => false) };
      },
      async *streamImages(images, { signal }) {
        for await (const image of images as AsyncIterable<ImageInput>)
          yield { ...one(await batcher.encodeImage(image, { signal })), errors: [undefined] };
      },
    };
  }

  /** The bytes of an image in memory of its own; they are fetched where it is a URL. */
  async bytesOf(item: ImageItem, signal: AbortSignal): Promise<Uint8Array> {
    const image = item.read();
    return typeof image === "string" ? this.remote.fetch(image, signal) : image;
  }

  private checkRoom(count: number): void {
    if (count > this.maxWaiting) {
      const message = `the request has ${count} items; this server takes ${this.maxWaiting} at once`;
      throw new TorchclipError("E_ARGUMENT", message);
    }
    if (this.items + count <= this.maxWaiting) return;
    const message = `${this.items} items wait for the model ${this.name} already; try again later`;
    throw new RequestError(429, "E_BUSY", message);
  }

  private async embedOne(item: Item, embedded: Embedded, options: EmbedOptions): Promise<Float32Array> {
    const { signal } = options.controller;
    try {
      if (item.kind === "image") return await this.embedImage(item, embedded, options);
      checkLength(item.text);
      const tokens = this.clip.tokenize([item.text], { truncate: options.truncate });
      embedded.tokens += countTokens(tokens.data, this.clip.info.config.tokenizer.padId);
      return await this.batcher.encodeText(tokens, { signal });
    } catch (error) {
      throw aboutItem(error, item.where);
    }
  }

  private async embedImage(
    item: ImageItem,
    embedded: Embedded,
    options: EmbedOptions,
  ): Promise<Float32Array> {
    const { signal } = options.controller;
    const image = await this.bytesOf(item, signal);
    embedded.images++;
    const vector = await this.batcher.encodeImage(image, { signal });
    if (options.countPixels) {
      const { width, height } = await imageSize(image);
      embedded.pixels += width * height;
    }
    freeMemory(image); // nobody reads it again: `bytesOf` gave memory of its own
    return vector;
  }
}

/** An error with the place of the item in its message and as its subject. */
export function aboutItem(error: unknown, where: string): unknown {
  if (!(error instanceof TorchclipError) || error.code === "E_ABORTED" || error.code === "E_CLOSED")
    return error;
  if (error.code === "E_BUSY")
    return new RequestError(429, "E_BUSY", "too many items wait already; try again later");
  const text = error.message.replace(/^text 0(?=:| )/, "it");
  const message = text.startsWith(where) ? text : `${where}: ${text}`;
  return new TorchclipError(error.code, message, { subject: where, cause: error });
}

function checkLength({ length }: string): void {
  if (length <= MOST_CHARACTERS) return;
  const message = `it has ${length} characters, more than the limit of ${MOST_CHARACTERS}`;
  throw new TorchclipError("E_TEXT_TOO_LONG", message);
}

/** Ids before the padding. */
function countTokens(ids: Int32Array, padId: number): number {
  let end = ids.length;
  while (end > 0 && ids[end - 1] === padId) end--;
  return end;
}

/**
 * Tells models apart whose vectors cannot be compared: 32 hex digits of the SHA-256 of the hash of the
 * weights, the towers' settings, the preprocessing and the tokenizer.
 */
export function fingerprintOf({ source, image, text, preprocessing, tokenizer }: ModelConfig): string {
  const parts = JSON.stringify([source.sha256, image, text, preprocessing, tokenizer]);
  return createHash("sha256").update(parts).digest("hex").slice(0, 32);
}

/** What `GET /v1/models` tells of a model beside its name. */
export function describeModel({
  config,
  embedDim,
  imageSize: side,
  contextLength,
  device,
  precision,
}: ClipInfo) {
  return {
    architecture: config.name,
    dimensions: embedDim,
    image_size: side,
    context_length: contextLength,
    device,
    precision,
    loss: config.loss,
  };
}
