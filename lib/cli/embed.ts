import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import type { Clip } from "../clip/clip.js";
import { load } from "../clip/load.js";
import { embedImages, embedTexts, type EmbedOptions, type EmbedResult } from "../embed/embed.js";
import { imageSource } from "../embed/sources.js";
import { TorchclipError } from "../errors.js";
import { slowestStage } from "../report/text.js";
import { readText } from "../util/text-file.js";
import { interruptSignal, note, progressBar, remark, setFailedItems } from "./io.js";
import { refuseGiven } from "./option-rules.js";
import { loadOptions, type ImageFlags, type ModelFlags } from "./options.js";
import { QUEUE_OPTIONS, type QueueFlags } from "./queue-flags.js";

interface Flags extends ModelFlags, ImageFlags {
  out?: string;
  texts?: string;
  batchSize?: number;
  truncate?: boolean;
  autoRotate?: boolean;
  fastDecode?: boolean;
  resizeOn?: "cpu" | "device";
  decodeOn?: "cpu" | "device";
  json?: boolean;
}

/** What `torchclip embed` does. */
export async function run(
  input: string | undefined,
  flags: Flags & QueueFlags,
  command: Command,
): Promise<void> {
  if (flags.queue !== undefined) return (await import("./embed-queue.js")).runQueue(input, flags, command);
  refuseGiven(command, QUEUE_OPTIONS, "is for --queue REDIS");
  await embedFile(input, { ...flags, out: givenOut(flags.out) });
}

function givenOut(out: string | undefined): string {
  if (out !== undefined) return out;
  throw new TorchclipError("E_ARGUMENT", "give --out FILE", { subject: "out" });
}

/** Embeds into a file. */
async function embedFile(input: string | undefined, flags: Flags & { out: string }): Promise<void> {
  const signal = interruptSignal();
  const work = await workOf(input, flags);
  const towers = work.kind === "images" ? "image" : "text";
  const clip = await load(flags.model, { ...loadOptions(flags, signal), towers });
  const bar = progressBar("embed", `${work.kind}/s`);
  try {
    const options = {
      input: work.input,
      model: await lastingName(flags.model),
      batchSize: flags.batchSize,
      autoRotate: flags.autoRotate,
      fastDecode: flags.fastDecode,
      resizeOn: flags.resizeOn,
      decodeOn: flags.decodeOn,
      truncate: flags.truncate ? ("end" as const) : undefined,
      signal,
      onProgress: bar.update,
    };
    const result = await work.embed(clip, flags.out, options).finally(() => bar.stop());
    if (result.errors.length > 0) setFailedItems();
    work.notes().forEach(remark);
    if (flags.json) process.stdout.write(`${JSON.stringify(summary(result, clip, flags.out))}\n`);
    else report(result, clip, flags.out, work);
  } catch (error) {
    if (signal.aborted) note("Stopped. The same command goes on where it was.");
    throw error;
  } finally {
    await clip.close();
  }
}

/** What is embedded, and how. */
interface Work {
  /** As the command line names it. */
  input: string;
  kind: "images" | "texts";
  embed: (clip: Clip, out: string, options: EmbedOptions) => Promise<EmbedResult>;
  /** What was left out, when all is done. */
  notes: () => string[];
}

/** Images by the argument, or texts by --texts: one of them must be given. */
async function workOf(input: string | undefined, { texts: file }: Flags): Promise<Work> {
  if (input !== undefined && file === undefined) {
    const source = await imageSource(input);
    return {
      input,
      kind: "images",
      embed: (clip, out, options) => embedImages(clip, source, out, options),
      notes: () => source.notes(),
    };
  }
  if (input === undefined && file !== undefined) {
    const texts = (await readText(file, "E_READ")).split(/\r?\n/).filter((line) => line.length > 0);
    return {
      input: file,
      kind: "texts",
      embed: (clip, out, options) => embedTexts(clip, texts, out, options),
      notes: () => [],
    };
  }
  throw new TorchclipError("E_ARGUMENT", "give either images (a folder, list or .tar) or --texts FILE", {
    subject: "input",
  });
}

/** A model's name that holds in every folder: a path is made absolute. */
async function lastingName(model: string): Promise<string> {
  const isPath = (await stat(model).catch(() => undefined)) !== undefined;
  return isPath ? resolve(model) : model;
}

function perSecond({ rows, resumed, seconds }: EmbedResult): number {
  return (rows - resumed) / seconds;
}

/** What --json prints. */
function summary(result: EmbedResult, { info }: Clip, out: string) {
  const { precision, device } = info;
  return { ...result, failed: result.errors.length, out, perSecond: perSecond(result), precision, device };
}

const MOST_ERRORS = 10;

/** What is printed without --json. */
function report(result: EmbedResult, { info }: Clip, out: string, { kind }: Work): void {
  const { rows, errors, resumed: taken, times } = result;
  const { embedDim, device, precision } = info;
  for (const { index, code, message } of errors.slice(0, MOST_ERRORS))
    note(`row ${index}: ${code}: ${message}`);
  const more = errors.length - MOST_ERRORS;
  if (more > 0) note(`… and ${more} more that could not be read`);
  const failed = errors.length > 0 ? `, ${errors.length} of them failed (NaN)` : "";
  const resumed = taken > 0 ? `, ${taken} of them by an earlier run` : "";
  const slowest = kind === "images" ? `; slowest stage: ${slowestStage(times)}` : "";
  process.stdout.write(
    `${rows} rows of ${embedDim} in ${out}${failed}${resumed}; ` +
      `${perSecond(result).toFixed(1)} ${kind}/s on ${device}, ${precision}${slowest}\n`,
  );
}
