// What users call of lib/eval, with the addon's similarity and description of the machine handed in.
import { addon } from "../addon.js";
import type { Clip } from "../clip/clip.js";
import type { Dataset } from "../datasets/dataset.js";
import { similarity } from "../embeddings.js";
import { manifestOf, type RunManifest, type RunSettings } from "./run-manifest.js";
import { evaluate, type ZeroShotOptions, type ZeroShotResult } from "./zero-shot.js";

/** Classifies every image of the set by its nearest class prompt (Radford et al. 2021, section 3.1). */
export async function zeroShot(
  clip: Clip,
  data: Dataset,
  options: ZeroShotOptions = {},
): Promise<ZeroShotResult> {
  return evaluate(clip, data, similarity, options);
}

/** Everything that a reader needs to repeat a result, or to see why another differs. */
export function runManifest(
  clip: Clip,
  data: Dataset,
  result: ZeroShotResult,
  run: RunSettings,
): RunManifest {
  return manifestOf(clip, data, result, run, {
    cpuFeatures: addon().systemInfo().cpuFeatures,
    libtorch: () => addon().libtorchInfo(),
  });
}
