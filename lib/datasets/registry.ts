import { stat } from "node:fs/promises";
import { checkAborted, TorchclipError, toTorchclipError } from "../errors.js";
import { settings } from "../settings.js";
import { ARTICLE_PROMPTS, OPENAI_RENDERED_SST2_PROMPTS, type PromptSet } from "../text/prompts.js";
import type { Origin } from "../util/origin.js";
import { CLIP_SETS } from "./clip-sets/clip-sets.js";
import { renderedSst2, renderedSst2Folder } from "./clip-sets/rendered-sst2.js";
import { Dataset } from "./dataset.js";
import { renderedDemoFolder, scenesFolder } from "./demo/generate.js";
import { folderDataset } from "./formats/folder.js";
import { LIST_NAME } from "./formats/list-file.js";
import { manifestDataset } from "./formats/manifest.js";
import { isWebDataset, webDataset } from "./formats/webdataset.js";
import type { DatasetEntry, DatasetOptions } from "./types.js";

/** The data sets by name. */
export const DATASETS: readonly DatasetEntry[] = [
  drawnEntry(
    {
      name: "rendered-demo",
      description:
        "generated short film reviews in large letters, negative or positive; drawn on this machine",
      splits: "train 400, valid 160, test 640",
    },
    renderedDemoFolder,
    [ARTICLE_PROMPTS, OPENAI_RENDERED_SST2_PROMPTS],
  ),
  drawnEntry(
    {
      name: "scenes",
      description: "coloured shapes, 24 classes (colour and shape); drawn on this machine",
      splits: "train 240, valid 120, test 480",
    },
    scenesFolder,
    [ARTICLE_PROMPTS],
  ),
  {
    name: "rendered-sst2",
    description: "Rendered SST2 (OpenAI): film-review sentences as 448 × 448 images, negative or positive",
    splits: "train 6920, valid 872, test 1821",
    open: async (o) => {
      const { folder, origin } = await renderedSst2Folder(o);
      return withPrompts(
        await renderedSst2(folder, o.split ?? "test"),
        [ARTICLE_PROMPTS, OPENAI_RENDERED_SST2_PROMPTS],
        origin,
      );
    },
  },
  ...CLIP_SETS,
];

/**
 * A data set by name, by folder (a class a folder), by list (.csv, .tsv, .jsonl), or by WebDataset shards
 * (.tar).
 */
export async function loadDataset(nameOrPath: string, options: DatasetOptions = {}): Promise<Dataset> {
  if (typeof nameOrPath !== "string" || nameOrPath === "")
    throw new TorchclipError("E_ARGUMENT", "the data set must be a name or a path", {
      subject: "nameOrPath",
    });
  try {
    return await openDataset(nameOrPath, options);
  } catch (error) {
    checkAborted(options.signal); // a library's own error for it says less
    throw toTorchclipError(error, "E_DATASET_FORMAT", { subject: nameOrPath });
  }
}

async function openDataset(nameOrPath: string, options: DatasetOptions): Promise<Dataset> {
  const entry = DATASETS.find((d) => d.name === nameOrPath);
  if (entry) return entry.open(options);
  if (isWebDataset(nameOrPath)) return webDataset(nameOrPath, options);
  const info = await stat(nameOrPath).catch(() => undefined);
  if (info?.isDirectory()) return folderDataset(nameOrPath, options.split);
  if (info?.isFile() && LIST_NAME.test(nameOrPath)) return manifestDataset(nameOrPath, options);
  const names = DATASETS.map((d) => d.name).join(", ");
  throw new TorchclipError(
    "E_DATASET_NOT_FOUND",
    `"${nameOrPath}" is neither a known data set (${names}), ` +
      "a folder, a .csv, .tsv or .jsonl file, nor .tar shards",
    { subject: nameOrPath },
  );
}

/** A data set whose images `draw` draws into the cache. */
function drawnEntry(
  about: Omit<DatasetEntry, "open">,
  draw: typeof scenesFolder,
  prompts: readonly PromptSet[],
): DatasetEntry {
  return {
    ...about,
    open: async (o) => {
      const { cacheDir } = settings(o);
      const folder = await draw({ cacheDir, signal: o.signal, onProgress: o.onProgress });
      const data = await folderDataset(folder, o.split ?? "test", about.name);
      return withPrompts(data, prompts, { kind: "drawn", location: folder, hashKnown: false });
    },
  };
}

function withPrompts(data: Dataset, prompts: readonly PromptSet[], source: Origin): Dataset {
  const { name, split, classes, splits, notes } = data;
  return new Dataset({ name, split, classes, samples: [...data], splits, notes, prompts, source });
}
