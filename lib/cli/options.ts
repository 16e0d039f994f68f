import type { ImageLimits } from "../images/types.js";
import { InvalidArgumentError, Option, type Command } from "commander";
import type { Device, LoadOptions, Precision } from "../clip/options.js";
import type { ResolveOptions } from "../models/store/resolve.js";
import { progressBar, remark } from "./io.js";

/** The flags of `mirrorOptions`, and of the cache, where downloads go. */
export interface DownloadFlags {
  cacheDir?: string;
  offline?: boolean;
  mirror?: string;
  mirrorFallback?: boolean;
}

export interface ModelFlags extends DownloadFlags {
  model: string;
  device: Device;
  precision: Precision;
  threads: number;
  trustCode?: boolean;
  adapter?: string[];
}

/** The flags of `imageOptions`. */
export interface ImageFlags {
  maxPixels?: number;
  urls?: boolean;
  allowPrivate?: boolean;
}

/** The option --auto-rotate of commands that read images. */
export const AUTO_ROTATE = "turn images as their EXIF orientation says (CLIP's reference does not)";

/** The option --root of commands that read a data set. */
export const ROOT =
  "for a data set by name: the folder with its own files, unpacked, instead of the download";

/** The option --trust-code of commands that read models. */
export const TRUST_CODE =
  "let a TorchScript export of unknown layout run its own code, with your rights; " +
  "for files whose author you trust";

/** Parses a whole number in `least` to `most`. */
export function whole(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const n = Number(text);
    if (!Number.isInteger(n) || n < least || n > most)
      throw new InvalidArgumentError(`it must be a whole number of at least ${least}.`);
    return n;
  };
}

/** Parses different whole numbers of at least `least`, separated by commas. */
export function wholeList(least: number): (text: string) => number[] {
  const one = whole(least);
  return (text) => {
    const numbers = text.split(",").map((item) => one(item.trim() === "" ? "-1" : item));
    if (new Set(numbers).size < numbers.length) throw new InvalidArgumentError("a number stands twice.");
    return numbers;
  };
}

/** Parses a number in 0 to 1. */
export function probability(text: string): number {
  const value = text.trim() === "" ? NaN : Number(text);
  if (!(value >= 0 && value <= 1)) throw new InvalidArgumentError("it must be a number in 0 to 1.");
  return value;
}

/** Parses a number in −1 to 1. */
export function cosine(text: string): number {
  const value = text.trim() === "" ? NaN : Number(text);
  if (!(value >= -1 && value <= 1)) throw new InvalidArgumentError("it must be a number in -1 to 1.");
  return value;
}

/** Parses a positive number. */
export function positive(text: string): number {
  const value = text.trim() === "" ? NaN : Number(text);
  if (!(value > 0 && value < Infinity)) throw new InvalidArgumentError("it must be a positive number.");
  return value;
}

/** Parses a number of at least 0. */
export function nonNegative(text: string): number {
  const value = text.trim() === "" ? NaN : Number(text);
  if (!(value >= 0 && value < Infinity)) throw new InvalidArgumentError("it must be a number of at least 0.");
  return value;
}

/** Parses an option that may be repeated. */
export const collect = (value: string, before: string[] = []): string[] => [...before, value];

/** The option --batch-size. */
export function batchSizeOption(description: string): Option {
  return new Option("-b, --batch-size <n>", description).argParser(whole(1, 65536));
}

const FEATURES =
  "what the classifier is fitted on: the embedding, or the pooled feature before the projection (as in the CLIP paper)";

/** --features of commands that fit a classifier. */
export function featuresOption(): Option {
  return new Option("--features <kind>", FEATURES).choices(["embedding", "pooled"]).default("embedding");
}

const MIRROR =
  "base URL that is asked in place of the official addresses, whose paths it serves; " +
  "no other address is asked";

/** The flags of every command that may download. */
export function mirrorOptions(command: Command): Command {
  return command
    .option("--offline", "never use the network")
    .option("--mirror <url>", MIRROR)
    .option("--mirror-fallback", "ask the official address, too, where the mirror fails; a note says so");
}

/** What a download of models shows meanwhile: a progress bar, and what it says beside the result. */
export function shownDownload(what: string): Pick<ResolveOptions, "onNote" | "onProgress"> {
  const bar = progressBar(what);
  return {
    onNote: remark,
    onProgress: ({ done, total }) => {
      bar.update(done, total);
      if (done === total) bar.stop();
    },
  };
}

const DEVICE = "auto, cpu, cuda, cuda:N or cuda:all (a copy on each GPU)";
const PRECISION =
  "precision of the forward pass; auto: the fastest whose cosine to fp32 is at least 0.9995 on this machine";
const PRECISIONS = ["auto", "fp32", "bf16", "fp16", "int8", "fp8"];
const ADAPTER =
  "LoRA adapter of PEFT that is merged into the model (adapter_model.safetensors and its config); " +
  "may be given several times";
const THREADS = "compute threads on a CPU; 0: one a core";

/** The flags of every command that loads a model. Where none is named, a note says which is taken. */
export function modelOptions(command: Command): Command {
  const options = command
    .hook("preAction", noteDefaultModel)
    .option("-m, --model <name|path>", "model name, or path of an artifact or of weights", "tiny");
  return loadingOptions(options);
}

/** The flags of how models are loaded. */
export function loadingOptions(command: Command): Command {
  const options = command
    .addOption(new Option("-d, --device <device>", DEVICE).default("auto"))
    .addOption(new Option("--precision <type>", PRECISION).choices(PRECISIONS).default("fp32"))
    .addOption(new Option("--threads <n>", THREADS).argParser(whole(0, 1024)).default(0))
    .option("--trust-code", TRUST_CODE)
    .option("--adapter <folder>", ADAPTER, collect)
    .option("--cache-dir <folder>", "where models and generated data sets are kept");
  return mirrorOptions(options);
}

/** The flags of every command that loads the model that made an index, unless --model names another. */
export function indexModelOptions(command: Command, shownDefault = "the model that made the index"): Command {
  const options = modelOptions(command);
  // What the other commands take by default would be of another model.
  const model = options.options.find((option) => option.attributeName() === "model");
  model?.default(model.defaultValue, shownDefault);
  return options;
}

const MAX_PIXELS = "refuse images with more pixels; default 100,000,000";

/** The flags of every command that reads images of users. */
export function imageOptions(command: Command): Command {
  return command
    .addOption(new Option("--max-pixels <n>", MAX_PIXELS).argParser(whole(1)))
    .option("--no-urls", "do not fetch images that are named by a URL")
    .option("--allow-private", "let image URLs lead to addresses that are not public (intranet, localhost)");
}

/** What is said where no model was named. */
export const TINY_NOTE =
  "no --model was given, so this uses tiny, a toy that knows only coloured shapes and short reviews in " +
  "large letters. For other images name a model, such as --model ViT-B/32; `torchclip models` lists them.";

/**
 * Says which model is used, where the command line names none. Not for a command that finds its model
 * elsewhere (by --models, or by what it describes as its default) or that needs none (--compare).
 */
function noteDefaultModel(command: Command): void {
  const isDefault = command.getOptionValueSource("model") === "default";
  const option = command.options.find((candidate) => candidate.attributeName() === "model");
  const isElsewhere =
    ["models", "compare", "status", "merge"].some((name) => command.getOptionValue(name) !== undefined) ||
    option?.defaultValueDescription !== undefined;
  if (isDefault && !isElsewhere) remark(TINY_NOTE);
}

/** The limits of images, for what reads them again after the model. */
export function imageLimits(flags: ImageFlags): ImageLimits {
  return { maxPixels: flags.maxPixels, sources: { url: flags.urls, allowPrivate: flags.allowPrivate } };
}

export function loadOptions(flags: ModelFlags & ImageFlags, signal: AbortSignal): LoadOptions {
  return {
    ...shownDownload("download"),
    device: flags.device,
    precision: flags.precision,
    threads: flags.threads,
    cacheDir: flags.cacheDir,
    offline: flags.offline,
    mirror: flags.mirror,
    mirrorFallback: flags.mirrorFallback,
    trustCode: flags.trustCode,
    adapters: flags.adapter,
    ...imageLimits(flags),
    signal,
  };
}
