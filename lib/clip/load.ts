import { addon } from "../addon.js";
import { checkAborted, toTorchclipError } from "../errors.js";
import { mergeLimits } from "../images/limits.js";
import { readArtifactConfig } from "../models/config.js";
import { locateModel } from "../models/store/resolve.js";
import { readOptions } from "../options.js";
import { settings } from "../settings.js";
import { Clip } from "./clip.js";
import { LOAD_CHECKS, type LoadOptions, type Precision } from "./options.js";
import { choosePrecision, type PrecisionChoice } from "./precision.js";

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
  const { artifact: path, origin } = await locateModel(model, options);
  checkAborted(options.signal);
  const requested = options.precision ?? "fp32";
  const open = async (precision: Precision) => {
    const engine = new (addon().Engine)();
    const { device = "auto", threads = 0, runner, deterministic = false } = options;
    try {
      return {
        engine,
        info: await engine.load(
          path,
          device,
          precision,
          threads,
          runner === "generic",
          deterministic,
          options.trustCode === true,
        ),
      };
    } catch (error) {
      await engine.close();
      throw error;
    }
  };
  let choice: PrecisionChoice | undefined;
  // A GPU computes everything in fp16 well; on a CPU it is measured.
  const onCpu = requested === "auto" && (options.device === "cpu" || addon().systemInfo().cudaDevices === 0);
  if (onCpu && options.runner !== "generic") {
    const { source } = await readArtifactConfig(path);
    choice = await choosePrecision(open, source.sha256, options.threads ?? 0, settings(options).cacheDir);
  }
  const { engine, info } = await open(
    choice?.chosen ?? (requested === "auto" && !onCpu ? "fp16" : requested),
  );
  try {
    const clip = new Clip(engine, path, info, requested, choice, mergeLimits(options), origin);
    checkAborted(options.signal);
    return clip;
  } catch (error) {
    await engine.close();
    throw error;
  }
}
