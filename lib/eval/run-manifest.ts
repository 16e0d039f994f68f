import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { addon, packageVersion, type NativeLibtorch } from "../addon.js";
import type { Clip } from "../clip.js";
import type { Dataset } from "../datasets/dataset.js";
import { isFast } from "../models/runner.js";
import type { ZeroShotResult } from "./zero-shot.js";

/** How an evaluation was run. */
export interface RunSettings {
  seed: number;
  batchSize: number;
  autoRotate: boolean;
  /** Parameters of the model, as `countParameters` counts them in its artifact. */
  parameters?: number;
}

/** Everything that a reader needs to repeat a result, or to see why another differs. */
export function runManifest(clip: Clip, data: Dataset, result: ZeroShotResult, run: RunSettings) {
  const { config, origin, device, deviceNote, precision, logitScale } = clip.info;
  const { cpuFeatures } = addon().systemInfo();
  const libtorch = libtorchOf(clip);
  return {
    model: {
      name: config.name,
      architecture: config.architecture,
      activation: "activation" in config.image ? config.image.activation : undefined,
      loss: config.loss,
      weights: { ...config.source, origin },
      parameters: run.parameters,
      logitScale,
    },
    device,
    ...(deviceNote ? { deviceNote } : {}),
    precision,
    preprocessing: {
      ...config.preprocessing,
      imageSize: config.image.imageSize,
      exifOrientation: run.autoRotate ? "applied" : "ignored",
    },
    prompts: { ...result.prompts, classNames: result.classNames },
    dataset: {
      name: data.name,
      split: data.split,
      source: data.source,
      notes: data.notes,
      classes: data.classes,
      splits: data.splits,
    },
    counts: { images: data.length, evaluated: result.predictions.length, skipped: result.skipped.length },
    seed: run.seed,
    batchSize: run.batchSize,
    seconds: result.times,
    machine: {
      cpu: cpus()[0]?.model.trim() ?? "unknown",
      cores: cpus().length,
      cpuFeatures,
      libtorchKernels: libtorch?.cpuCapability,
    },
    versions: {
      torchclip: packageVersion(),
      node: process.version,
      libtorch: libtorch?.version,
      sharp: versionOf("sharp"),
    },
  };
}

/** The libtorch that ran a tower; undefined where torchclip's own kernels ran both on a CPU. */
function libtorchOf(clip: Clip): NativeLibtorch | undefined {
  const { device, imageRunner, textRunner } = clip.info;
  if (device === "cpu" && isFast(imageRunner) && isFast(textRunner)) return undefined;
  return addon().libtorchInfo();
}

export type RunManifest = ReturnType<typeof runManifest>;

/** The version of an installed dependency, from the package.json above its entry point. */
export function versionOf(name: string): string {
  let folder = dirname(createRequire(import.meta.url).resolve(name));
  for (;;) {
    try {
      const found = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
        name?: string;
        version?: string;
      };
      if (found.name === name && found.version) return found.version;
    } catch {
      // Not in this folder: look above.
    }
    if (dirname(folder) === folder) return "unknown";
    folder = dirname(folder);
  }
}
