import { join } from "node:path";
import { readFloats } from "../models/formats/read-floats.js";
import type { StoredTensor } from "../models/formats/types.js";
import type { WrittenTensor } from "../models/formats/write-safetensors.js";
import { readArtifact, rewriteArtifact, type ArtifactContent } from "../models/import/rewrite.js";
import { saveHuggingFace } from "../models/hugging-face/save.js";
import { addAdapters, mergedMatrices } from "./lora.js";
import { savePeft } from "./peft.js";
import type { FinetuneMethod, Recipe } from "./recipes.js";
import type { Trainer } from "./trainer.js";

/** The files of a fine-tuned model. */
export interface SavedModel {
  /** The artifact, which `load` takes. */
  artifact: string;
  /** All files, the artifact first. */
  files: string[];
}

export interface ResultOptions {
  folder: string;
  method: FinetuneMethod;
  recipe: Recipe;
  /** WiSE-FT: the share of the trained weights; the rest is that of the weights before training. */
  share: number;
}

/**
 * Writes the model with its trained tensors; adapters are merged into the matrices that they change. With a
 * share below 1 each tensor is (1 - share) × before + share × after (WiSE-FT; Wortsman et al. 2022,
 * arXiv:2109.01903).
 */
export async function saveResult(
  from: ArtifactContent,
  trainer: Trainer,
  { folder, method, recipe, share }: ResultOptions,
): Promise<SavedModel> {
  const artifact = join(folder, "model.pt");
  const tuned = method === "lora" ? mergedTensors(from, trainer, recipe) : trainedTensorsOf(trainer);
  const changed = share === 1 ? tuned : tuned.map((tensor) => interpolated(from, tensor, share));
  await rewriteArtifact(from, artifact, changed, `${from.config.name} (fine-tuned)`);
  const transformers = await saveHuggingFace(join(folder, "transformers"), await readArtifact(artifact));
  const base = from.config.name;
  const adapters =
    method === "lora" ? await savePeft(join(folder, "adapter"), trainer, from.config, recipe.lora, base) : [];
  return { artifact, files: [artifact, ...transformers, ...adapters] };
}

/** Trained tensors as they are. */
function trainedTensorsOf(trainer: Trainer): WrittenTensor[] {
  return [...trainer.shapes].map(([name, shape]) => ({ name, shape, read: () => trainer.read(name) }));
}

/** The matrices of the model with their adapters. */
function mergedTensors(from: ArtifactContent, trainer: Trainer, { lora }: Recipe): WrittenTensor[] {
  return mergedMatrices(trainer).map((matrix) => {
    const stored = storedTensor(from, matrix.name);
    const read = async () => {
      const values = await readFloats(stored);
      await addAdapters(values, matrix, trainer, lora);
      return values;
    };
    return { name: matrix.name, shape: stored.shape, read };
  });
}

/** A tensor between the one before training and the trained one. */
function interpolated(from: ArtifactContent, tensor: WrittenTensor, share: number): WrittenTensor {
  const read = async () =>
    interpolate(await readFloats(storedTensor(from, tensor.name)), await tensor.read(), share);
  return { ...tensor, read };
}

/** (1 - share) × before + share × after. */
export function interpolate(before: Float32Array, after: Float32Array, share: number): Float32Array {
  return before.map((value, i) => (1 - share) * value + share * after[i]);
}

function storedTensor({ tensors, path }: ArtifactContent, name: string): StoredTensor {
  const stored = tensors.get(name);
  if (!stored) throw new RangeError(`${path} has no tensor ${name}`);
  return stored;
}
