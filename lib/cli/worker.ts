import type { Clip } from "../clip/clip.js";
import { load } from "../clip/load.js";
import type { Device } from "../clip/options.js";
import { TorchclipError } from "../errors.js";
import type { Run } from "../queue/run.js";
import { limitsOf } from "../queue/shard-images.js";
import { ShardQueue } from "../queue/shard-queue.js";
import { work, type WorkedShard } from "../queue/worker.js";
import { interruptSignal, note, setFailedItems } from "./io.js";
import { shownDownload, type DownloadFlags } from "./options.js";
import type { ConnectionFlags } from "./queue-flags.js";

interface Flags extends DownloadFlags, ConnectionFlags {
  model?: string;
  device: Device;
  threads: number;
  trustCode?: boolean;
  concurrency?: number;
  heartbeat?: number;
  exitWhenDone?: boolean;
  json?: boolean;
}

/** What `torchclip worker` does. */
export async function run(flags: Flags): Promise<void> {
  if (flags.queue === undefined)
    throw new TorchclipError("E_ARGUMENT", "give --queue redis://HOST:PORT", { subject: "queue" });
  const signal = interruptSignal();
  process.on("SIGTERM", () => process.emit("SIGINT")); // as schedulers end what they move elsewhere
  signal.addEventListener("abort", () => note("Finishing the shards that were begun; Ctrl-C stops at once."));
  const queue = await ShardQueue.connect(flags.queue, flags.queueName);
  try {
    note(`Waiting for shards of the queue ${queue.name}.`);
    const { s3Endpoint: endpoint, concurrency, heartbeat, exitWhenDone } = flags;
    const result = await work(queue, {
      load: (of) => loadFor(of, flags),
      concurrency,
      heartbeat,
      exitWhenDone,
      s3: { endpoint },
      signal,
      onNote: note,
      onShard: (shard) => show(shard, flags.json),
    });
    const { shards, rows, failed } = result;
    note(`${shards} shards, ${rows} images, ${failed} of them failed (NaN)`);
    if (failed > 0) setFailedItems();
    const { failed: failedShards } = await queue.counts();
    if (failedShards > 0) {
      const message = `${failedShards} shards failed at every attempt; embed --status shows why`;
      throw new TorchclipError("E_QUEUE", message, { subject: "queue" });
    }
  } finally {
    await queue.close();
  }
}

/** The model of a run as this worker has it. */
async function loadFor({ settings }: Run, flags: Flags): Promise<Clip> {
  const { device, threads, cacheDir, offline, mirror, mirrorFallback, trustCode } = flags;
  const clip = await load(flags.model ?? settings.model, {
    ...shownDownload("download"),
    ...limitsOf(settings),
    precision: settings.precision,
    towers: "image",
    device,
    threads,
    cacheDir,
    offline,
    mirror,
    mirrorFallback,
    trustCode,
  });
  note(`${clip.info.config.name} on ${clip.info.device}, ${clip.info.precision}`);
  return clip;
}

function show(shard: WorkedShard, json = false): void {
  const { rows, failed, seconds } = shard;
  if (json) process.stdout.write(`${JSON.stringify(shard)}\n`);
  else {
    const bad = failed > 0 ? `, ${failed} failed (NaN)` : "";
    process.stdout.write(`shard ${shard.shard}: ${rows} images in ${seconds.toFixed(1)} s${bad}\n`);
  }
}
