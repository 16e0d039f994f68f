import { InvalidArgumentError, Option, type Command } from "commander";
import type { Device, LoadOptions, Precision } from "../clip.js";
import { progressBar } from "./io.js";

export interface ModelFlags {
  model: string;
  device: Device;
  precision: Precision;
  threads: number;
  cacheDir?: string;
  offline?: boolean;
  mirror?: string;
  trustCode?: boolean;
}

/** The flags of `imageOptions`. */
export interface ImageFlags {
  maxPixels?: number;
  urls?: boolean;
  allowPrivate?: boolean;
}

export function whole(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const n = Number(text);
    if (!Number.isInteger(n) || n < least || n > most) throw new InvalidArgumentError(`it must be a whole number of at least ${least}.`);
    return n;
  };
}

/** The flags of every command that loads a model. */
export function modelOptions(command: Command): Command {
  return command
    .option("-m, --model <name|path>", "model name, or path of an artifact or of weights", "tiny")
    .addOption(new Option("-d, --device <device>", "auto, cpu, cuda, cuda:N or cuda:all (a copy on each GPU)").default("auto"))
    .addOption(
      new Option("--precision <type>", "precision of the forward pass; auto: the fastest whose cosine to fp32 is at least 0.9995 on this machine")
        .choices(["auto", "fp32", "bf16", "fp16", "int8"])
        .default("fp32"),
    )
    .addOption(new Option("--threads <n>", "compute threads on a CPU; 0: one a core").argParser(whole(0, 1024)).default(0))
    .option("--trust-code", "let a TorchScript export of unknown layout run its own code, with your rights; for files whose author you trust")
    .option("--cache-dir <folder>", "where models and generated data sets are kept")
    .option("--offline", "never use the network")
    .option("--mirror <url>", "base URL that is tried before the official one");
}

/** The flags of every command that reads images of users. */
export function imageOptions(command: Command): Command {
  return command
    .addOption(new Option("--max-pixels <n>", "refuse images with more pixels; default 100,000,000").argParser(whole(1)))
    .option("--no-urls", "do not fetch images that are named by a URL")
    .option("--allow-private", "let image URLs lead to addresses that are not public (intranet, localhost)");
}

export function loadOptions(flags: ModelFlags & ImageFlags, signal: AbortSignal): LoadOptions {
  const bar = progressBar("download");
  return {
    device: flags.device,
    precision: flags.precision,
    threads: flags.threads,
    cacheDir: flags.cacheDir,
    offline: flags.offline,
    mirror: flags.mirror,
    trustCode: flags.trustCode,
    maxPixels: flags.maxPixels,
    sources: { url: flags.urls, allowPrivate: flags.allowPrivate },
    signal,
    onProgress: ({ done, total }) => {
      bar.update(done, total);
      if (done === total) bar.stop();
    },
  };
}
