import { cpus } from "node:os";
import type { NativeLibtorch } from "../addon.js";
import type { Clip } from "../clip/clip.js";
import type { Dataset } from "../datasets/dataset.js";
import { isFast } from "../models/runner.js";
import { packageVersion, versionOf } from "../util/package.js";
import type { ZeroShotResult } from "./zero-shot.js";

/** How an evaluation was run. */
export interface RunSettings {
  seed: number;
  batchSize: number;
  autoRotate: boolean;
  /** Parameters of the model, as `countParameters` counts them in its artifact. */
  parameters?: number;
}

/** What the addon says of this machine. */
export interface SystemDescription {
  cpuFeatures: string[];
  /** Opens libtorch. */
  libtorch: () => NativeLibtorch;
}

/** What `runManifest` gives, with the machine described by `system`. */
export function manifestOf(
  clip: Clip,
  data: Dataset,
  result: ZeroShotResult,
  run: RunSettings,
  system: SystemDescription,
) {
  const { config, origin, device, deviceNote, precision, logitScale } = clip.info;
  const libtorch = libtorchOf(clip, system);
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
      cpu: cpus().at(0)?.model.trim() ?? "unknown",
      cores: cpus().length,
      cpuFeatures: system.cpuFeatures,
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
function libtorchOf(clip: Clip, system: SystemDescription): NativeLibtorch | undefined {
  const { device, imageRunner, textRunner } = clip.info;
  if (device === "cpu" && isFast(imageRunner) && isFast(textRunner)) return undefined;
  return system.libtorch();
}

export type RunManifest = ReturnType<typeof manifestOf>;
