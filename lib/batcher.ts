import type { BatchOptions, Clip, EncodeTextOptions } from "./clip.js";
import { TorchclipError } from "./errors.js";
import type { ImageInput } from "./images/decode.js";

export interface BatcherOptions {
  /** The most pictures or texts in one forward pass. Default 32. */
  maxBatch?: number;
  /** How long the first of a batch waits for others, in milliseconds. Default 5. */
  maxDelay?: number;
  /** Pictures, or texts, that may wait or be in work; more are refused with E_BUSY. Default 1024. */
  maxWaiting?: number;
}

interface Waiting<T> {
  item: T;
  resolve: (row: Float32Array) => void;
  reject: (error: Error) => void;
}

/**
 * Many small concurrent calls, as a server makes them, merged into batches within a latency budget. A batch starts when
 * it is full, or when its first call has waited `maxDelay`, or at once where the model is idle and `maxDelay` is 0.
 */
export class Batcher {
  private readonly images: Queue<ImageInput>;
  private readonly texts: Queue<string>;

  constructor(clip: Clip, options: BatcherOptions & Pick<BatchOptions, "normalize" | "autoRotate"> & Pick<EncodeTextOptions, "truncate"> = {}) {
    const { maxBatch = 32, maxDelay = 5, maxWaiting = 1024, normalize, autoRotate, truncate } = options;
    for (const [name, value, least] of [
      ["maxBatch", maxBatch, 1],
      ["maxWaiting", maxWaiting, 1],
      ["maxDelay", maxDelay, 0],
    ] as const) {
      if (!(value >= least) || (name !== "maxDelay" && !Number.isInteger(value)))
        throw new TorchclipError("E_ARGUMENT", `${name} must be a number of at least ${least}, not ${value}`, { subject: name });
    }
    this.images = new Queue("pictures", maxBatch, maxDelay, maxWaiting, async (items) => {
      const result = await clip.encodeImages(items, { batchSize: maxBatch, onError: "collect", normalize, autoRotate });
      return { data: result.data, dim: result.dim, errors: result.errors };
    });
    this.texts = new Queue("texts", maxBatch, maxDelay, maxWaiting, async (items) => {
      const { data, dim } = await clip.encodeTexts(items, { batchSize: maxBatch, normalize, truncate: truncate ?? "end" });
      return { data, dim, errors: [] };
    });
  }

  /** The embedding of one picture. Rejects with its own error alone, or with E_BUSY at once. */
  encodeImage(image: ImageInput): Promise<Float32Array> {
    return this.images.add(image);
  }

  /** The embedding of one text; texts that are too long are cut unless `truncate` is "error". */
  encodeText(text: string): Promise<Float32Array> {
    return this.texts.add(text);
  }

  /** Pictures and texts that wait or are in work. */
  get waiting(): number {
    return this.images.count + this.texts.count;
  }
}

class Queue<T> {
  count = 0;
  private waiting: Waiting<T>[] = [];
  private timer: NodeJS.Timeout | undefined;
  private running = 0;

  constructor(
    private readonly what: string,
    private readonly maxBatch: number,
    private readonly maxDelay: number,
    private readonly maxWaiting: number,
    private readonly encode: (items: T[]) => Promise<{ data: Float32Array; dim: number; errors: (Error | undefined)[] }>,
  ) {}

  add(item: T): Promise<Float32Array> {
    if (this.count >= this.maxWaiting)
      return Promise.reject(new TorchclipError("E_BUSY", `${this.count} ${this.what} wait already, as many as maxWaiting allows; try again later`));
    this.count++;
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      if (this.waiting.length >= this.maxBatch) this.start();
      else this.timer ??= setTimeout(() => this.start(), this.maxDelay);
    });
  }

  /** Starts a batch unless two are in work already: one in the model, one being decoded. Later ones fill up meanwhile. */
  private start(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.waiting.length === 0 || this.running >= 2) return;
    const batch = this.waiting.splice(0, this.maxBatch);
    this.running++;
    void this.run(batch).finally(() => {
      this.running--;
      this.count -= batch.length;
      if (this.waiting.length) this.start();
    });
  }

  private async run(batch: Waiting<T>[]): Promise<void> {
    try {
      const { data, dim, errors } = await this.encode(batch.map((w) => w.item));
      batch.forEach(({ resolve, reject }, i) => {
        const error = errors[i];
        if (error) reject(error);
        else resolve(data.slice(i * dim, (i + 1) * dim));
      });
    } catch (error) {
      // A batch fails as a whole only for what concerns all of it, or a text that does not fit: then one by one.
      if (batch.length === 1) return batch[0].reject(error as Error);
      for (const one of batch) await this.run([one]);
    }
  }
}
