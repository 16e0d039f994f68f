import { stat } from "node:fs/promises";
import { join } from "node:path";
import { extract } from "tar";
import { TorchclipError } from "../errors.js";
import { download } from "../models/download.js";
import { writeFolderWhole } from "../util/files.js";
import type { Dataset } from "./dataset.js";
import { folderDataset } from "./folder.js";

// As torchvision's RenderedSST2 (torchvision/datasets/rendered_sst2.py).
const URL = "https://openaipublic.azureedge.net/clip/data/rendered-sst2.tgz";
const MD5 = "2384d8e9dcfa4711f8b5ca10cbc5ca30";
/** Pictures of [negative, positive] in each split. */
export const RENDERED_SST2_COUNTS: Record<string, [number, number]> = { train: [3310, 3610], valid: [428, 444], test: [912, 909] };

export interface RenderedSst2Options {
  cacheDir: string;
  offline: boolean;
  /** A folder that holds train, valid and test, instead of the download. */
  root?: string;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number | undefined) => void;
}

/** Rendered SST2 from torchvision's folder layout, downloaded where it is missing; the counts are verified. */
export async function renderedSst2Folder(options: RenderedSst2Options): Promise<string> {
  if (options.root) return (await stat(join(options.root, "rendered-sst2")).catch(() => undefined)) ? join(options.root, "rendered-sst2") : options.root;
  const folder = join(options.cacheDir, "datasets", "rendered-sst2");
  if (await stat(folder).catch(() => undefined)) return folder;
  const archive = join(options.cacheDir, "datasets", "rendered-sst2.tgz");
  await download({ urls: [URL], target: archive, hash: `md5:${MD5}`, offline: options.offline, signal: options.signal, onProgress: options.onProgress });
  await writeFolderWhole(folder, async (temporary) => {
    await extract({ file: archive, cwd: temporary, strip: 1 });
  });
  return folder;
}

export async function renderedSst2(folder: string, split: string): Promise<Dataset> {
  const data = await folderDataset(folder, split, "rendered-sst2");
  for (const { split: name, byClass } of data.splits) {
    const expected = RENDERED_SST2_COUNTS[name === "val" ? "valid" : name];
    if (expected && expected.join() !== byClass.join()) {
      throw new TorchclipError(
        "E_DATASET_FORMAT",
        `${folder}: the split ${name} has ${byClass.join(" + ")} pictures (negative + positive), Rendered SST2 has ${expected.join(" + ")}`,
        {
          subject: folder,
        },
      );
    }
  }
  return data;
}
