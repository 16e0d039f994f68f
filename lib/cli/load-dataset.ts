import { loadDataset, type Dataset } from "../datasets/index.js";
import type { DatasetOptions } from "../datasets/types.js";
import { TorchclipError } from "../errors.js";
import { progressBar, remark } from "./io.js";
import type { DownloadFlags } from "./options.js";

interface Flags extends DownloadFlags {
  dataset: string;
  root?: string;
}

/** The data set of --dataset, with a progress bar. */
export async function datasetOf(
  flags: Flags,
  options: Pick<DatasetOptions, "classes" | "split" | "signal">,
): Promise<Dataset> {
  const bar = progressBar("data set");
  const { root, cacheDir, offline, mirror, mirrorFallback } = flags;
  const places = { root, cacheDir, offline, mirror, mirrorFallback };
  const shown = { onNote: remark, onProgress: bar.update };
  return loadDataset(flags.dataset, { ...options, ...places, ...shown }).finally(() => bar.stop());
}

/** Throws E_ARGUMENT for a data set whose images may have several classes, where each needs one. */
export function requireSingleLabel(data: Dataset, what: string): void {
  if (!data.isMultiLabel) return;
  const message = `${data.name} has images of several classes, and ${what} needs one class of each image`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: data.name });
}
