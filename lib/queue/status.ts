import { parseLocation } from "./location.js";
import { MANIFEST } from "./run.js";
import type { S3Options } from "./s3.js";
import { isSettled, type FailedShard, type ShardCounts, type ShardQueue } from "./shard-queue.js";
import { openStore } from "./open-store.js";

const MOST_FAILURES = 10;

/** How far a run is. */
export interface QueueStatus {
  queue: string;
  /** Where the run writes. */
  out: string;
  /**
   * "working"; "failed": shards failed at every attempt; "unmerged": all shards are done, and the manifest
   * is not written yet; "finished": it is.
   */
  state: "working" | "failed" | "finished" | "unmerged";
  shards: ShardCounts & { total: number; done: number };
  /** Images that are done, counted in Redis; exact only once the manifest is there. */
  rows: { total: number; done: number; failed: number };
  /** Processes. */
  workers: number;
  /** Shards that failed, at most ten of them. */
  failures: FailedShard[];
}

/** The state of a queue's run; undefined where there was none. E_QUEUE, E_READ. */
export async function statusOf(queue: ShardQueue, s3: S3Options = {}): Promise<QueueStatus | undefined> {
  const run = await queue.run();
  if (!run) return undefined;
  const [counts, progress, workers] = await Promise.all([queue.counts(), queue.progress(), queue.workers()]);
  const { waiting, active, delayed, failed } = counts;
  const failures = failed > 0 ? await queue.failures(MOST_FAILURES) : [];
  const state = isSettled(counts) ? await endOf(run.out, failed, s3) : "working";
  const isFinished = state === "finished";
  return {
    queue: queue.name,
    out: run.out,
    state,
    shards: { total: run.shards, done: run.shards - waiting - active - delayed - failed, ...counts },
    rows: {
      total: run.rows,
      done: isFinished ? run.rows : Math.min(run.rows, progress.rows),
      failed: progress.failed,
    },
    workers,
    failures,
  };
}

async function endOf(out: string, failed: number, s3: S3Options): Promise<QueueStatus["state"]> {
  if (failed > 0) return "failed";
  const store = await openStore(parseLocation(out, "out"), s3);
  return (await store.read(MANIFEST)) ? "finished" : "unmerged";
}
