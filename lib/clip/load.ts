import { addon } from "../addon.js";
import { checkAborted, toTorchclipError } from "../errors.js";
import { mergeLimits } from "../images/limits.js";
import { readArtifactConfig } from "../models/config.js";
import { artifactWithAdapters, checkAdapters } from "../models/store/adapters.js";
import { locateModel } from "../models/store/resolve.js";
import { readOptions } from "../options.js";
import { settings } from "../settings.js";
import { Clip } from "./clip.js";
import { LOAD_CHECKS, type LoadOptions, type Precision } from "./options.js";
import { choosePrecision, type PrecisionChoice } from "./precision.js";
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
  const { artifact, origin } = await locateModel(model, options);
  const path = await withAdapters(artifact, options);
  checkAborted(options.signal);
  const requested = options.precision ?? "fp32";
  const autoOnCpu = requested === "auto" && isOnCpu(options);
  const choice = autoOnCpu ? await measuredChoice(path, options) : undefined;
  // A GPU computes everything in fp16 well.
  const unmeasured = requested === "auto" && !autoOnCpu ? "fp16" : requested;
  const { engine, info } = await open(path, choice?.chosen ?? unmeasured, options);
  try {
    const clip = new Clip(engine, path, info, requested, choice, mergeLimits(options), origin);
    checkAborted(options.signal);
    return clip;
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** The artifact that is loaded: the model's, or one with the adapters merged in. */
async function withAdapters(artifact: string, options: LoadOptions): Promise<string> {
  const { adapters } = options;
  if (adapters === undefined) return artifact;
  checkAdapters(adapters);
  if (adapters.length === 0) return artifact;
  return artifactWithAdapters(artifact, adapters, settings(options).cacheDir);
}

async function open(path: string, precision: Precision, options: LoadOptions) {
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

/** What "auto" measures on a CPU, with both towers; undefined where nothing is to be measured. */
async function measuredChoice(path: string, options: LoadOptions): Promise<PrecisionChoice | undefined> {
  if (options.runner === "generic") return undefined;
  const { source } = await readArtifactConfig(path);
  return choosePrecision(
    (precision) => open(path, precision, { ...options, towers: "both" }),
    source.sha256,
    options.threads ?? 0,
    settings(options).cacheDir,
  );
}

function isOnCpu({ device }: LoadOptions): boolean {
  return device === "cpu" || addon().systemInfo().cudaDevices === 0;
}
