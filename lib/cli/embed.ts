import { resolve } from "node:path";
import type { Command } from "commander";
import type { Clip } from "../clip/clip.js";
import { load } from "../clip/load.js";
import type { EmbedOptions } from "../embed/embed.js";
import { parseTarget, type Target } from "../embed/sinks/target.js";
import { TorchclipError } from "../errors.js";
import { report, reportDatabase, summary, summaryDatabase } from "./embed-report.js";
import { lastingName, workOf, type Work } from "./embed-work.js";
import { interruptSignal, note, progressBar, remark, setFailedItems } from "./io.js";
import { refuseGiven } from "./option-rules.js";
import { loadOptions, type ImageFlags, type ModelFlags } from "./options.js";
import { QUEUE_OPTIONS, type QueueFlags } from "./queue-flags.js";
import { FolderWatch } from "./watch.js";

interface Flags extends ModelFlags, ImageFlags {
  out?: string;
  to?: string;
  texts?: string;
  update?: boolean;
  watch?: boolean;
  create?: boolean;
  prune?: boolean;
  batchBytes?: number;
  batchSize?: number;
  truncate?: boolean;
  autoRotate?: boolean;
  fastDecode?: boolean;
  resizeOn?: "cpu" | "device";
  decodeOn?: "cpu" | "device";
  json?: boolean;
}

const NOT_QUEUED = ["to", "update", "watch", "create", "prune", "batch-bytes"];

/** What `torchclip embed` does. */
export async function run(
  input: string | undefined,
  flags: Flags & QueueFlags,
  command: Command,
): Promise<void> {
  if (flags.queue !== undefined) {
    refuseGiven(command, NOT_QUEUED, "cannot be given with --queue");
    return (await import("./embed-queue.js")).runQueue(input, flags, command);
  }
  refuseGiven(command, QUEUE_OPTIONS, "is for --queue REDIS");
  await embedHere(input, flags);
}

/** Embeds in this process. */
async function embedHere(input: string | undefined, flags: Flags): Promise<void> {
  const signal = interruptSignal();
  const target = targetOf(flags);
  const watch = flags.watch ? await FolderWatch.open(input, signal) : undefined;
  const work = await workOf(input, flags.texts);
  const towers = work.kind === "images" ? "image" : "text";
  const clip = await load(flags.model, { ...loadOptions(flags, signal), towers });
  try {
    await embedOnce(clip, work, target, flags, signal);
    while (watch && (await watch.changed())) {
      await embedOnce(clip, await workOf(input, flags.texts), target, { ...flags, update: true }, signal);
    }
  } finally {
    watch?.close();
    await clip.close();
  }
}

/** Where the embeddings go: --out FILE, or --to with a file or a database. */
function targetOf({ out, to, create, prune, update, batchBytes }: Flags): Target {
  if ((out === undefined) === (to === undefined))
    throw argument("out", "give either --out FILE or --to TARGET");
  const target = to === undefined ? ({ kind: "file", path: out ?? "" } as const) : parseTarget(to);
  const isFile = target.kind === "file";
  const ofDatabases = { "--create": create, "--prune": prune, "--batch-bytes": batchBytes };
  const wrong = Object.entries(ofDatabases).find(([, value]) => value !== undefined)?.[0];
  if (isFile && wrong) throw argument("to", `${wrong} is for a database, not for ${target.path}`);
  if (!isFile && update)
    throw argument("update", "--update is for a file; a database is always brought up to date");
  return target;
}

/** One pass over the input. */
async function embedOnce(
  clip: Clip,
  work: Work,
  target: Target,
  flags: Flags,
  signal: AbortSignal,
): Promise<void> {
  const bar = progressBar("embed", `${work.kind}/s`);
  const options = { ...(await optionsOf(work, flags, signal)), onProgress: bar.update };
  try {
    if (target.kind === "file") {
      const result = await work.embed(clip, target.path, options).finally(() => bar.stop());
      finish(work, result.errors);
      if (flags.json) print(summary(result, clip, target.path));
      else report(result, clip, target.path, work);
    } else {
      const { create, prune, batchBytes } = flags;
      const source = resolve(work.input);
      const given = { ...options, source, create, prune, batchBytes };
      const result = await work.embedTo(clip, target, given).finally(() => bar.stop());
      finish(work, result.errors);
      const to = flags.to ?? "";
      if (flags.json) print(summaryDatabase(result, clip, to));
      else reportDatabase(result, clip, to, work);
    }
  } catch (error) {
    if (signal.aborted) note("Stopped. The same command goes on where it was.");
    throw error;
  }
}

async function optionsOf(work: Work, flags: Flags, signal: AbortSignal): Promise<EmbedOptions> {
  return {
    input: work.input,
    model: await lastingName(flags.model),
    batchSize: flags.batchSize,
    autoRotate: flags.autoRotate,
    fastDecode: flags.fastDecode,
    resizeOn: flags.resizeOn,
    decodeOn: flags.decodeOn,
    truncate: flags.truncate ? "end" : undefined,
    update: flags.update,
    signal,
  };
}

function finish(work: Work, errors: readonly object[]): void {
  if (errors.length > 0) setFailedItems();
  work.notes().forEach(remark);
}

function print(result: object): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

function argument(subject: string, message: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", message, { subject });
}
