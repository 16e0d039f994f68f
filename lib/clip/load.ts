import { addon } from "../addon.js";
import { checkAborted, toTorchclipError } from "../errors.js";
import { mergeLimits } from "../images/limits.js";
import { readArtifactConfig } from "../models/config.js";
import { locateModel, type LocatedModel } from "../models/store/resolve.js";
import { readOptions } from "../options.js";
import { settings } from "../settings.js";
import { Clip } from "./clip.js";
import { LOAD_CHECKS, type LoadOptions, type Precision } from "./options.js";
import { openOnGpu } from "./gpu-precision.js";
import { choosePrecision, type Opened, type PrecisionChoice } from "./precision.js";
import { TOWERS } from "./towers.js";

/** Loads a model by name, alias or path. See LoadOptions. */
export async function load(model: string, given: LoadOptions = {}): Promise<Clip> {
  try {
    return await loadChecked(model, readOptions(given, LOAD_CHECKS));
  } catch (error) {
    throw toTorchclipError(error, "E_INTERNAL", { subject: model });
  }
}

async function loadChecked(model: string, options: LoadOptions): Promise<Clip> {
  checkAborted(options.signal);
  const { artifact: path, origin } = await locateWithAdapters(model, options);
  checkAborted(options.signal);
  const requested = options.precision ?? "fp32";
  const opened = requested === "auto" ? openFastest(path, options) : open(path, requested, options);
  const { engine, info, choice } = await opened;
  try {
    const clip = new Clip(engine, path, info, requested, choice, mergeLimits(options), origin);
    checkAborted(options.signal);
    return clip;
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** What is loaded: the artifact of a model, or one with the adapters merged into it. */
export async function locateWithAdapters(model: string, options: LoadOptions): Promise<LocatedModel> {
  const located = await locateModel(model, options);
  const { adapters } = options;
  if (adapters === undefined || adapters.length === 0) return located;
  const { artifactWithAdapters } = await import("../models/store/adapters.js");
  const artifact = await artifactWithAdapters(located.artifact, adapters, settings(options).cacheDir);
  return { ...located, artifact };
}

type Loaded = Opened & { choice?: PrecisionChoice };

async function open(path: string, precision: Precision, options: LoadOptions): Promise<Loaded> {
  const { device = "auto", threads = 0, runner, deterministic = false, trustCode = false } = options;
  const isGeneric = runner === "generic";
  const towers = TOWERS[options.towers ?? "both"];
  const engine = new (addon().Engine)();
  try {
    const info = await engine.load(
      path,
      device,
      precision,
      threads,
      isGeneric,
      deterministic,
      trustCode,
      towers,
    );
    return { engine, info };
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** What "auto" means on this machine; precisions are measured with both towers. */
async function openFastest(path: string, options: LoadOptions): Promise<Loaded> {
  const onCpu = isOnCpu(options);
  if (options.runner === "generic") return open(path, onCpu ? "fp32" : "fp16", options);
  const { source } = await readArtifactConfig(path);
  const { cacheDir } = settings(options);
  const openAsked = (precision: Precision) => open(path, precision, options);
  const openBoth = (precision: Precision) => open(path, precision, { ...options, towers: "both" });
  if (!onCpu) {
    const { device = "auto" } = options;
    return openOnGpu({ open: openAsked, openBoth }, source.sha256, device, cacheDir);
  }
  const choice = await choosePrecision(openBoth, source.sha256, options.threads ?? 0, cacheDir);
  return { ...(await openAsked(choice.chosen)), choice };
}

function isOnCpu({ device }: LoadOptions): boolean {
  return device === "cpu" || addon().systemInfo().cudaDevices === 0;
}
