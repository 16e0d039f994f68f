import { cpus } from "node:os";
import type { NativeLibtorch } from "../addon.js";
import type { Clip } from "../clip/clip.js";
import type { CaptionSet } from "../datasets/captions/caption-set.js";
import type { Dataset } from "../datasets/dataset.js";
import { isFast } from "../models/runner.js";
import { packageVersion, versionOf } from "../util/package.js";
import type { RetrievalResult } from "./retrieval.js";
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
  return {
    ...modelOf(clip, run),
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
    ...machineOf(clip, system),
  };
}

/** What `retrievalManifest` gives, with the machine described by `system`. */
export function retrievalManifestOf(
  clip: Clip,
  data: CaptionSet,
  result: RetrievalResult,
  run: RunSettings,
  system: SystemDescription,
) {
  return {
    ...modelOf(clip, run),
    dataset: { name: data.name, split: data.split, source: data.source, notes: data.notes ?? [] },
    counts: {
      images: data.images.length,
      evaluated: result.images.length,
      captions: result.captions.length,
      truncated: result.truncated,
      skipped: result.skipped.length,
    },
    resumed: result.resumed,
    seed: run.seed,
    batchSize: run.batchSize,
    seconds: result.times,
    ...machineOf(clip, system),
  };
}

/** The model, and how it was run. */
function modelOf(clip: Clip, run: RunSettings) {
  const { config, origin, device, deviceNote, precision, logitScale } = clip.info;
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
  };
}

function machineOf(clip: Clip, system: SystemDescription) {
  const libtorch = libtorchOf(clip, system);
  return {
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

export type RetrievalManifest = ReturnType<typeof retrievalManifestOf>;
