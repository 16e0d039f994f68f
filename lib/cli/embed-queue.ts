import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { checkAborted, TorchclipError } from "../errors.js";
import { enqueue } from "../queue/enqueue.js";
import { parseLocation } from "../queue/location.js";
import { merge } from "../queue/merge.js";
import { readRun, type RunSettings } from "../queue/run.js";
import { ShardQueue } from "../queue/shard-queue.js";
import { statusOf, type QueueStatus } from "../queue/status.js";
import { openStore } from "../queue/open-store.js";
import { lastingName } from "./embed-work.js";
import { interruptSignal, note, progressBar, remark, setFailedItems } from "./io.js";
import { refuseGiven } from "./option-rules.js";
import type { ImageFlags, ModelFlags } from "./options.js";
import type { QueueFlags } from "./queue-flags.js";

interface Flags
  extends
    ModelFlags,
    ImageFlags,
    QueueFlags,
    Pick<RunSettings, "batchSize" | "autoRotate" | "fastDecode" | "resizeOn" | "decodeOn"> {
  out?: string;
  texts?: string;
  json?: boolean;
}

const OF_WORKERS = ["device", "threads", "trust-code", "cache-dir", "offline", "mirror", "mirror-fallback"];
const POLL = 500; // ms

/** What `torchclip embed --queue` does: one or several of --enqueue, --merge and --status. */
export async function runQueue(input: string | undefined, flags: Flags, command: Command): Promise<void> {
  check(input, flags, command);
  const signal = interruptSignal();
  if (flags.merge) await mergeAgain(flags);
  if (flags.enqueue === undefined && !flags.status) return;
  const queue = await ShardQueue.connect(flags.queue ?? "", flags.queueName);
  try {
    if (flags.enqueue !== undefined) await put(queue, flags.enqueue, flags);
    if (flags.wait) await waitFor(queue, flags, signal);
    if (flags.status || flags.wait) await showStatus(queue, flags);
  } finally {
    await queue.close();
  }
}

function check(input: string | undefined, flags: Flags, command: Command): void {
  refuseGiven(command, OF_WORKERS, "belongs to `torchclip worker`, not to --queue");
  refuseGiven(command, ["texts"], "has no meaning with --queue, which embeds images");
  if (input !== undefined) throw argument("input", `give ${input} as --enqueue ${input}`);
  if (flags.enqueue === undefined && !flags.status && !flags.merge)
    throw argument("queue", "give --enqueue INPUT, --status or --merge beside --queue");
  if ((flags.enqueue !== undefined || flags.merge) && flags.out === undefined)
    throw argument("out", "give --out, a folder that all workers see or s3://bucket/prefix");
  if (flags.wait && flags.enqueue === undefined && !flags.status)
    throw argument("wait", "--wait stands beside --status or --enqueue");
}

async function put(queue: ShardQueue, input: string, flags: Flags): Promise<void> {
  const { shardBytes, s3Endpoint: endpoint } = flags;
  const out = flags.out ?? "";
  const settings = await settingsOf(flags);
  const enqueued = await enqueue(queue, input, out, { settings, shardBytes, s3: { endpoint } });
  const { run, done, resumed, notes } = enqueued;
  notes.forEach(remark);
  if (done === run.shards) await mergeAgain(flags);
  const before = resumed ? `, ${done} of them by an earlier run` : "";
  const text = `${run.rows} images in ${run.shards} shards on the queue ${queue.name}${before}; out: ${enqueued.out}`;
  if (flags.json && !flags.wait && !flags.status) {
    const { id, rows, shards } = run;
    process.stdout.write(`${JSON.stringify({ run: id, out: enqueued.out, rows, shards, done, resumed })}\n`);
  } else note(text);
}

async function settingsOf(flags: Flags): Promise<RunSettings> {
  const { precision, format = "parquet", batchSize, autoRotate, fastDecode, resizeOn, decodeOn } = flags;
  const { maxPixels, urls, allowPrivate } = flags;
  const model = await lastingName(flags.model);
  const embedding = { precision, format, batchSize, autoRotate, fastDecode, resizeOn, decodeOn };
  return { model, ...embedding, maxPixels, urls, allowPrivate };
}

async function mergeAgain({ out = "", s3Endpoint: endpoint }: Flags): Promise<void> {
  const store = await openStore(parseLocation(out, "out"), { endpoint });
  const run = await readRun(store);
  if (!run) throw argument("out", `${store.where} holds no run`);
  const merged = await merge(store, run);
  if (!merged) {
    const message = `${store.where}: not all of the ${run.shards} shards are done; enqueue it again`;
    throw new TorchclipError("E_QUEUE", message, { subject: "out" });
  }
  note(
    `${merged.rows} images in ${merged.shards} shards, ${merged.failed} failed: ${store.where}/manifest.json`,
  );
}

/** Shows a bar until no shard is left. Nobody may be working; then it waits for a worker. */
async function waitFor(
  queue: ShardQueue,
  { s3Endpoint: endpoint }: Flags,
  signal: AbortSignal,
): Promise<void> {
  const bar = progressBar("embed", "images/s");
  try {
    for (;;) {
      const status = await statusOf(queue, { endpoint });
      if (!status || status.state === "failed" || status.state === "finished") return;
      bar.update(status.rows.done, status.rows.total);
      await sleep(POLL, undefined, { signal }).catch(() => undefined);
      checkAborted(signal);
    }
  } finally {
    bar.stop();
  }
}

async function showStatus(queue: ShardQueue, { json, s3Endpoint: endpoint }: Flags): Promise<void> {
  const status = await statusOf(queue, { endpoint });
  if (!status) throw new TorchclipError("E_QUEUE", `nothing was put on the queue ${queue.name}`);
  process.stdout.write(json ? `${JSON.stringify(status)}\n` : statusText(status));
  for (const { shard, attempts, message } of json ? [] : status.failures)
    note(`shard ${shard} failed ${attempts} times: ${message}`);
  if (status.shards.failed > 0 || status.rows.failed > 0) setFailedItems();
}

const BAR = 30; // letters

function statusText({ out, state, shards, rows, workers }: QueueStatus): string {
  const share = shards.total > 0 ? shards.done / shards.total : 0;
  const filled = Math.round(share * BAR);
  const bar = `[${"=".repeat(filled)}${" ".repeat(BAR - filled)}] ${Math.floor(share * 100)}%`;
  const { waiting, active, delayed, failed } = shards;
  const others = [
    `${waiting} waiting`,
    `${active} worked on`,
    `${delayed} to be tried again`,
    `${failed} failed`,
  ].filter((text) => !text.startsWith("0 "));
  const bad = rows.failed > 0 ? `, ${rows.failed} of them failed (NaN)` : "";
  return [
    `${bar} ${shards.done} of ${shards.total} shards${others.length > 0 ? `; ${others.join(", ")}` : ""}`,
    `${rows.done} of ${rows.total} images${bad}; workers: ${workers}; ${state}: ${out}`,
    "",
  ].join("\n");
}

function argument(subject: string, message: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", message, { subject });
}
