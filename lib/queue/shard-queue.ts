import type { Job, Queue } from "bullmq";
import type { Redis } from "ioredis";
import { TorchclipError } from "../errors.js";
import { chunks } from "../util/iterate.js";
import { importOptional } from "../util/optional-package.js";
import { connectRedis } from "./redis.js";
import type { Shard } from "./run.js";

/** Prefix of BullMQ's keys. */
export const PREFIX = "torchclip";
export const DEFAULT_QUEUE = "embed";
const FEATURE = "torchclip embed --queue";
/** Attempts of a shard that fails, the first one included. */
const ATTEMPTS = 6;
/** Before the second attempt, ms; it doubles from one to the next. Up to half of it is left to chance. */
const BACKOFF = { type: "exponential", delay: 1000, jitter: 0.5 };
const ADDED_AT_ONCE = 1000;

/** What a job in Redis holds: numbers, no paths. */
export interface ShardData extends Shard {
  /** Id of the run. */
  run: string;
}

/** What a job keeps from one attempt to the next; see probe.ts. */
export interface ShardProgress {
  /** The image that was being embedded alone. */
  suspect: number;
  /** How many workers in a row ended at it. */
  ended: number;
  /** The images that are set aside. */
  aside: number[];
}

export type ShardJob = Job<ShardData>;

/** The run that a queue works on. */
export interface QueuedRun {
  id: string;
  /** The store, as `parseLocation` reads it. */
  out: string;
  shards: number;
  rows: number;
}

/** Jobs by their states. What is done is not kept. */
export interface ShardCounts {
  waiting: number;
  active: number;
  /** They failed, and wait for their next attempt. */
  delayed: number;
  /** They failed at every attempt. */
  failed: number;
}

export interface FailedShard {
  shard: number;
  message: string;
  attempts: number;
}

/** Loads BullMQ; E_PACKAGE_MISSING where it is not installed. */
export function bullmq(): Promise<typeof import("bullmq")> {
  return importOptional("bullmq", FEATURE, () => import("bullmq"));
}

/** The jobs of one run in Redis. A queue works on one run at a time. */
export class ShardQueue {
  private constructor(
    readonly name: string,
    readonly redis: Redis,
    private readonly queue: Queue<ShardData>,
  ) {}

  /** E_ARGUMENT, E_QUEUE, E_PACKAGE_MISSING: see `connectRedis`. */
  static async connect(url: string, name = DEFAULT_QUEUE): Promise<ShardQueue> {
    if (!/^[\w.-]{1,100}$/.test(name))
      throw new TorchclipError("E_ARGUMENT", `--queue-name ${name}: give letters, digits, ".", "_" and "-"`, {
        subject: "queueName",
      });
    const { Queue: BullQueue } = await bullmq();
    const redis = await connectRedis(url);
    const queue = new BullQueue<ShardData>(name, { connection: redis, prefix: PREFIX });
    queue.on("error", () => undefined); // calls reject with it as well
    return new ShardQueue(name, redis, queue);
  }

  async close(): Promise<void> {
    await this.queue.close();
    this.redis.disconnect();
  }

  /** The run that was put on the queue last; undefined before the first one. */
  async run(): Promise<QueuedRun | undefined> {
    const { id, out, shards, rows } = await this.redis.hgetall(this.runKey);
    if (!id || !out) return undefined;
    return { id, out, shards: Number(shards), rows: Number(rows) };
  }

  /**
   * Makes a run the one of this queue; false where it is already. E_QUEUE while another one has shards that
   * are not done.
   */
  async begin(run: QueuedRun): Promise<boolean> {
    const there = await this.run();
    if (there?.id === run.id) return false;
    const counts = await this.counts();
    if (there && !isSettled(counts)) {
      const message =
        `the queue ${this.name} still works on ${there.out}; ` +
        "wait for it (--status --wait) or take another --queue-name";
      throw new TorchclipError("E_QUEUE", message, { subject: "queue" });
    }
    if (counts.failed > 0) await this.forgetFailed();
    await this.redis.del(this.runKey);
    await this.redis.hset(this.runKey, { ...run });
    return true;
  }

  /** Adds jobs; a shard that is on the queue already is not added twice. Failed ones begin anew. */
  async add(run: string, shards: Iterable<Shard>): Promise<void> {
    await this.forgetFailed();
    const opts = { attempts: ATTEMPTS, backoff: BACKOFF, removeOnComplete: true, stackTraceLimit: 0 };
    for await (const some of chunks(shards, ADDED_AT_ONCE)) {
      const jobs = some.map((shard) => ({
        name: "shard",
        data: { run, ...shard },
        opts: { ...opts, jobId: `${run}-${shard.shard}` },
      }));
      await this.queue.addBulk(jobs);
    }
  }

  async counts(): Promise<ShardCounts> {
    const found = await this.queue.getJobCounts("wait", "active", "delayed", "failed");
    const { wait = 0, active = 0, delayed = 0, failed = 0 } = found;
    return { waiting: wait, active, delayed, failed };
  }

  /** The first shards that failed at every attempt. */
  async failures(most: number): Promise<FailedShard[]> {
    const jobs = (await this.queue.getFailed(0, most - 1)) as ShardJob[];
    return jobs.map(({ data, failedReason, attemptsMade }) => ({
      shard: data.shard,
      message: failedReason,
      attempts: attemptsMade,
    }));
  }

  /** Processes that wait for jobs or work on them. */
  async workers(): Promise<number> {
    return this.queue.getWorkersCount();
  }

  /** Counts images that are done, for the display alone: a worker may end before it counts. */
  async addProgress(rows: number, failed: number): Promise<void> {
    await this.redis.hincrby(this.runKey, "done", rows);
    await this.redis.hincrby(this.runKey, "bad", failed);
  }

  /** Images that `addProgress` counted. */
  async progress(): Promise<{ rows: number; failed: number }> {
    const [rows, failed] = await this.redis.hmget(this.runKey, "done", "bad");
    return { rows: Number(rows ?? 0), failed: Number(failed ?? 0) };
  }

  private async forgetFailed(): Promise<void> {
    await this.queue.clean(0, 0, "failed");
  }

  private get runKey(): string {
    return `${PREFIX}-run:${this.name}`;
  }
}

/** Whether no shard waits, is worked on or will be tried again. */
export function isSettled({ waiting, active, delayed }: ShardCounts): boolean {
  return waiting + active + delayed === 0;
}
