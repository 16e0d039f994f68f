import type { Clip } from "../clip/clip.js";
import type { RunSettings } from "../eval/run-manifest.js";
import { countParameters } from "../models/parameters.js";

interface Flags {
  seed: number;
  batchSize: number;
  autoRotate?: boolean;
}

/** How a command ran a model, for the manifest of its results. */
export async function runSettings(
  { info }: Clip,
  { seed, batchSize, autoRotate = false }: Flags,
): Promise<RunSettings> {
  // A third-party export may hold tensors that cannot be read as data; it runs all the same.
  const parameters = await countParameters(info.path).catch(() => undefined);
  return { seed, batchSize, autoRotate, parameters };
}
