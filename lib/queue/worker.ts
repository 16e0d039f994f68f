import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "bullmq";
import type { Clip } from "../clip/clip.js";
import { toTorchclipError, TorchclipError } from "../errors.js";
import { checkModel, embedShard } from "./embed-shard.js";
import { parseLocation } from "./location.js";
import { merge } from "./merge.js";
import { probe, PROBE_AFTER, progressOf } from "./probe.js";
import { MANIFEST, readDone, readRun, type Run } from "./run.js";
import type { S3Options } from "./s3.js";
import { limitsOf, readImages, ShardReader } from "./shard-images.js";
import { bullmq, isSettled, PREFIX, type ShardData, type ShardJob, type ShardQueue } from "./shard-queue.js";
import { openStore } from "./open-store.js";
import type { Store } from "./store.js";

/** Seconds without a heartbeat after which a worker counts as dead. */
export const HEARTBEAT = 30;
/** Shards that a worker embeds at once: while one ends, the next one fills the batches. */
export const CONCURRENCY = 2;
const POLL = 500; // ms
/** A shard that ends so many workers fails, also after the images that did it were looked for. */
const MOST_STALLS = 50;

export interface WorkerOptions {
  /** Loads the model of a run. */
  load: (run: Run) => Promise<Clip>;
  /** Default 2. */
  concurrency?: number;
  /** Seconds. Default 30. */
  heartbeat?: number;
  s3?: S3Options;
  /** Ends once no run has shards left, instead of waiting for the next one. Default false. */
  exitWhenDone?: boolean;
  /** After it no further shard is begun; those that are embedded are finished first. */
  signal?: AbortSignal;
  /** A sentence about what happens. */
  onNote?: (text: string) => void;
  /** After each shard. */
  onShard?: (shard: WorkedShard) => void;
}

export interface WorkedShard {
  shard: number;
  rows: number;
  /** Images that have no embedding. */
  failed: number;
  seconds: number;
}

/** What a worker did. */
export interface WorkerResult {
  shards: number;
  rows: number;
  /** Images without an embedding. */
  failed: number;
  /** Attempts that failed. */
  failures: number;
}

/**
 * Takes shards from a queue, embeds them, and writes the manifest after the last one. Any number of workers
 * share a queue, on any machines that see the same store and images; each tells Redis that it lives, and the
 * shards of one that does not are given to another one.
 *
 * Throws E_ARGUMENT where its model is not the one of the run, what `load` throws, and E_QUEUE.
 */
export async function work(queue: ShardQueue, options: WorkerOptions): Promise<WorkerResult> {
  const result: WorkerResult = { shards: 0, rows: 0, failed: 0, failures: 0 };
  let worked: RunWorker | undefined;
  try {
    while (await hasWork(queue, options)) {
      const queued = await queue.run();
      if (!queued) continue;
      if (worked?.run.id !== queued.id) {
        await worked?.clip.close();
        worked = await RunWorker.open(queue, queued.out, options, result);
      }
      await worked.work();
    }
    return result;
  } finally {
    await worked?.clip.close();
  }
}

/** Waits for shards; false where the worker is to end. */
async function hasWork(queue: ShardQueue, { signal, exitWhenDone = false }: WorkerOptions): Promise<boolean> {
  while (!signal?.aborted) {
    if (!isSettled(await queue.counts())) return true;
    if (exitWhenDone && (await queue.run())) return false;
    await sleep(POLL, undefined, { signal }).catch(() => undefined);
  }
  return false;
}

/** Works on one run. */
class RunWorker {
  private readonly reader: ShardReader;
  private problem: TorchclipError | undefined;

  private constructor(
    private readonly queue: ShardQueue,
    readonly run: Run,
    private readonly store: Store,
    readonly clip: Clip,
    private readonly options: WorkerOptions,
    private readonly result: WorkerResult,
  ) {
    this.reader = new ShardReader(run.settings, options.s3 ?? {});
  }

  static async open(
    queue: ShardQueue,
    out: string,
    options: WorkerOptions,
    result: WorkerResult,
  ): Promise<RunWorker> {
    const store = await openStore(parseLocation(out, "out"), options.s3);
    const run = await readRun(store);
    if (!run) {
      const message = `this worker finds no run in ${out}; all workers must see that place`;
      throw new TorchclipError("E_QUEUE", message, { subject: out });
    }
    const clip = await options.load(run);
    try {
      await checkModel({ clip, store, run });
    } catch (error) {
      await clip.close();
      throw error;
    }
    return new RunWorker(queue, run, store, clip, options, result);
  }

  /** Embeds shards until none is left, or the signal fires. */
  async work(): Promise<void> {
    const { signal } = this.options;
    const worker = await this.start();
    try {
      while (!signal?.aborted && !this.problem && (await this.isOurs())) {
        await sleep(POLL, undefined, { signal }).catch(() => undefined);
      }
    } finally {
      await worker.close(); // waits for the shards that are embedded
    }
    if (this.problem) throw this.problem;
    await this.mergeLast();
  }

  private async start(): Promise<Worker<ShardData>> {
    const { concurrency = CONCURRENCY, heartbeat = HEARTBEAT, onNote } = this.options;
    const { Worker: BullWorker } = await bullmq();
    const worker = new BullWorker<ShardData>(this.queue.name, (job) => this.embed(job), {
      connection: this.queue.redis,
      prefix: PREFIX,
      concurrency,
      lockDuration: heartbeat * 1000,
      stalledInterval: heartbeat * 1000,
      maxStalledCount: MOST_STALLS,
      drainDelay: 1,
    });
    // A connection that breaks is made again; a shard that another worker took over is in the run once.
    worker.on("error", (error) => onNote?.(`queue: ${error.message}`));
    worker.on("failed", (job, error) => {
      this.result.failures++;
      if (!job) return;
      const { attemptsMade, opts, data } = job;
      onNote?.(`shard ${data.shard}, attempt ${attemptsMade} of ${opts.attempts ?? 1}: ${error.message}`);
    });
    worker.on("stalled", (id) =>
      onNote?.(`${id}: its worker gave no sign of life; it is given to another one`),
    );
    return worker;
  }

  /** Whether the queue still holds shards of this run. */
  private async isOurs(): Promise<boolean> {
    const [counts, queued] = await Promise.all([this.queue.counts(), this.queue.run()]);
    return !isSettled(counts) && queued?.id === this.run.id;
  }

  private async embed(job: ShardJob): Promise<void> {
    const { data } = job;
    if (data.run !== this.run.id)
      throw new TorchclipError("E_QUEUE", `shard ${data.shard} is of another run`);
    try {
      await this.embedOnce(job);
    } catch (error) {
      const known = toTorchclipError(error);
      if (known.code === "E_CLOSED") this.problem = known; // this process cannot go on
      throw known;
    }
  }

  private async embedOnce(job: ShardJob): Promise<void> {
    const { data: shard } = job;
    const started = performance.now();
    if (await readDone(this.store, shard.shard)) return; // delivered again after it was done
    const images = await readImages(this.store, this.run, shard);
    const aside = await this.asideOf(job, images);
    const { done, isOurs } = await embedShard(
      { clip: this.clip, store: this.store, run: this.run },
      shard,
      this.reader.source(images, aside),
    );
    if (!isOurs) return;
    const failed = done.errors.length;
    await this.queue.addProgress(done.rows, failed);
    this.result.shards++;
    this.result.rows += done.rows;
    this.result.failed += failed;
    const seconds = (performance.now() - started) / 1000;
    this.options.onShard?.({ shard: shard.shard, rows: done.rows, failed, seconds });
  }

  /** The images that are not embedded, because they ended workers. */
  private async asideOf(job: ShardJob, images: Parameters<typeof probe>[1]): Promise<ReadonlySet<number>> {
    if (job.stalledCounter < PROBE_AFTER) return new Set();
    const { shard } = job.data;
    this.options.onNote?.(
      `shard ${shard} ended ${job.stalledCounter} workers: its images are tried one by one`,
    );
    const { autoRotate, fastDecode, resizeOn, decodeOn } = this.run.settings;
    return probe(this.clip, images, {
      reader: this.reader,
      earlier: progressOf(job.progress),
      save: (progress) => job.updateProgress(progress),
      options: { ...limitsOf(this.run.settings), autoRotate, fastDecode, resizeOn, decodeOn },
    });
  }

  /** The worker that finds all shards done writes the manifest. Several may: they write the same bytes. */
  private async mergeLast(): Promise<void> {
    if (!isSettled(await this.queue.counts())) return;
    if (await this.store.read(MANIFEST)) return;
    const merged = await merge(this.store, this.run);
    if (merged) this.options.onNote?.(`wrote ${this.store.where}/${MANIFEST}`);
  }
}
