import { abortedError, TorchclipError, withoutIndex } from "../../errors.js";
import { DurationLog, type LaneMetrics } from "./metrics.js";

/** Embeddings [items.length, dim] of a batch; `errors[i]` of an item that has none. */
export interface BatchResult {
  data: Float32Array;
  dim: number;
  errors: (TorchclipError | undefined)[];
}

export interface LaneOptions {
  /** Items in messages: "images". */
  what: string;
  maxBatch: number;
  maxDelay: number;
  maxWaiting: number;
  /** Called for each batch that is started, with the milliseconds that its calls waited. */
  onBatch?: (waits: readonly number[]) => void;
}

interface Call<T> {
  item: T;
  since: number;
  settled: boolean;
  resolve: (row: Float32Array) => void;
  reject: (error: Error) => void;
}

/** One in the model, one being decoded. */
const BATCHES_AT_ONCE = 2;

/** Calls of one kind, merged into batches. */
export class Lane<T> {
  private readonly waiting: Call<T>[] = [];
  private readonly running = new Map<Call<T>[], AbortController>();
  private readonly counts = { done: 0, failed: 0, refused: 0, aborted: 0, batches: 0, items: 0, largest: 0 };
  private readonly waits = new DurationLog();
  private readonly latencies = new DurationLog();
  private timer: NodeJS.Timeout | undefined;
  private closed = false;
  private whenIdle: (() => void)[] = [];

  /** @param encode Gives the embeddings of a batch; its signal fires when nobody waits for any of them. */
  constructor(
    private readonly options: LaneOptions,
    private readonly encode: (items: T[], signal: AbortSignal) => Promise<BatchResult>,
  ) {}

  /** Calls that wait or are in work. */
  get count(): number {
    let count = this.waiting.length;
    for (const batch of this.running.keys()) count += batch.length;
    return count;
  }

  add(item: T, signal: AbortSignal | undefined): Promise<Float32Array> {
    const refusal = this.refusal(signal);
    if (refusal) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      this.waiting.push(this.call(item, signal, resolve, reject));
      if (this.waiting.length >= this.options.maxBatch) this.start();
      else this.timer ??= setTimeout(() => this.start(), this.options.maxDelay);
    });
  }

  /** Why a call is not taken now. */
  private refusal(signal: AbortSignal | undefined): TorchclipError | undefined {
    if (this.closed) return new TorchclipError("E_CLOSED", "the batcher was drained and takes no more calls");
    if (signal?.aborted) return abortedError(signal);
    const { count } = this;
    if (count < this.options.maxWaiting) return undefined;
    this.counts.refused++;
    const waiting = `${count} ${this.options.what} wait already`;
    return new TorchclipError("E_BUSY", `${waiting}, as many as maxWaiting allows; try again later`);
  }

  /** Takes no more calls, starts those that wait, and resolves when all have been answered. */
  drain(): Promise<void> {
    this.closed = true;
    this.start();
    if (this.count === 0) return Promise.resolve();
    return new Promise((resolve) => this.whenIdle.push(resolve));
  }

  metrics(): LaneMetrics {
    const { items, largest, ...counts } = this.counts;
    const queued = this.waiting.length;
    return {
      queued,
      running: this.count - queued,
      ...counts,
      batchSizes: { mean: counts.batches ? items / counts.batches : 0, largest },
      waits: this.waits.summary(),
      latencies: this.latencies.summary(),
    };
  }

  /** A call that is settled once: by its row, its error or its signal. */
  private call(
    item: T,
    signal: AbortSignal | undefined,
    resolve: (row: Float32Array) => void,
    reject: (error: Error) => void,
  ): Call<T> {
    const settle = (outcome: () => void) => {
      if (call.settled) return;
      call.settled = true;
      signal?.removeEventListener("abort", abort);
      outcome();
    };
    const call: Call<T> = {
      item,
      since: performance.now(),
      settled: false,
      resolve: (row) =>
        settle(() => {
          this.counts.done++;
          this.latencies.add(performance.now() - call.since);
          resolve(row);
        }),
      reject: (error) =>
        settle(() => {
          this.counts.failed++;
          reject(error);
        }),
    };
    const abort = () =>
      settle(() => {
        this.counts.aborted++;
        this.leave(call);
        if (signal) reject(abortedError(signal));
      });
    signal?.addEventListener("abort", abort, { once: true });
    return call;
  }

  /** A call that nobody waits for any more goes from the queue; a batch of such calls alone is ended. */
  private leave(call: Call<T>): void {
    const at = this.waiting.indexOf(call);
    if (at >= 0) this.waiting.splice(at, 1);
    for (const [batch, controller] of this.running) {
      if (batch.every((other) => other.settled)) controller.abort();
    }
    this.checkIdle();
  }

  /** Starts a batch unless two are in work already; later ones fill up meanwhile. */
  private start(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.waiting.length === 0 || this.running.size >= BATCHES_AT_ONCE) return;
    const batch = this.waiting.splice(0, this.options.maxBatch);
    const controller = new AbortController();
    this.running.set(batch, controller);
    this.countBatch(batch);
    void this.run(batch, controller.signal).finally(() => {
      this.running.delete(batch);
      if (this.waiting.length) this.start();
      this.checkIdle();
    });
  }

  private countBatch(batch: Call<T>[]): void {
    const now = performance.now();
    this.counts.batches++;
    this.counts.items += batch.length;
    this.counts.largest = Math.max(this.counts.largest, batch.length);
    const waits = batch.map((call) => now - call.since);
    for (const wait of waits) this.waits.add(wait);
    this.options.onBatch?.(waits);
  }

  private checkIdle(): void {
    if (this.count > 0) return;
    for (const resolve of this.whenIdle.splice(0)) resolve();
  }

  private async run(batch: Call<T>[], signal: AbortSignal): Promise<void> {
    try {
      const items = batch.map((call) => call.item);
      const { data, dim, errors } = await this.encode(items, signal);
      for (const [i, { resolve, reject }] of batch.entries()) {
        const error = errors[i];
        if (error) reject(alone(error));
        else resolve(data.slice(i * dim, (i + 1) * dim));
      }
    } catch (error) {
      const isOfAll = error instanceof TorchclipError && ["E_ABORTED", "E_CLOSED"].includes(error.code);
      if (isOfAll || batch.length === 1) {
        for (const call of batch) call.reject(error as Error);
        return;
      }
      // Else it may be the fault of one of them, as a text that is too long: then one by one.
      for (const call of batch) if (!call.settled) await this.run([call], signal);
    }
  }
}

/** An error of an item as that of its call: its place in the batch means nothing to the caller. */
function alone(error: TorchclipError): TorchclipError {
  const { code, subject, cause } = error;
  return new TorchclipError(code, withoutIndex(error), { subject, cause });
}
