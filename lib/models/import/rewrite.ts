import { basename, dirname, join } from "node:path";
import { rm } from "node:fs/promises";
import { addon, type ArtifactSpec, type TensorPart } from "../../addon.js";
import { TorchclipError, toTorchclipError } from "../../errors.js";
import { hashFile, makeFolder, temporaryFor, writeNamedWhole, writing } from "../../util/files.js";
import type { ModelConfig } from "../config-types.js";
import { readConfig } from "../config.js";
import { readSafetensors } from "../formats/safetensors.js";
import { readTorchArchive, TorchArchive } from "../formats/torch-zip.js";
import { elements, type StoredTensor } from "../formats/types.js";
import { writeSafetensors, type WrittenTensor } from "../formats/write-safetensors.js";

/** What an artifact is made of. */
export interface ArtifactContent {
  path: string;
  config: ModelConfig;
  /** tokenizer.json. */
  tokenizer: string;
  /** Where each tensor lies, by its dotted path. */
  tensors: Map<string, StoredTensor>;
}

/** Reads what an artifact is made of, without its weights. */
export async function readArtifact(path: string): Promise<ArtifactContent> {
  const archive = await TorchArchive.open(path);
  const config = readConfig((await archive.read("extra/torchclip.json")).toString("utf8"), path);
  const tokenizer = (await archive.read("extra/tokenizer.json")).toString("utf8");
  const { tensors } = await readTorchArchive(path);
  return { path, config, tokenizer, tensors };
}

/**
 * Writes an artifact again with some of its tensors changed; they are stored as float32, the others as they
 * were. Its `source.sha256` is a hash of the former one and of the changes, so that what is kept by the
 * weights (features, precision) is never taken for that of the former model.
 *
 * @param changed Tensors of the model, in the shapes that they have there.
 * @param name Name that results show.
 */
export async function rewriteArtifact(
  from: ArtifactContent,
  output: string,
  changed: readonly WrittenTensor[],
  name: string,
): Promise<ModelConfig> {
  checkShapes(from, changed);
  await writing(output, () => makeFolder(dirname(output)));
  const values = await temporaryFor(join(dirname(output), `${basename(output)}.tensors`));
  try {
    await writeSafetensors(values, changed);
    const sha256 = await hashFile(values, "sha256", undefined, from.config.source.sha256);
    const config = { ...from.config, name, source: { ...from.config.source, sha256 } };
    const spec = specOf({ ...from, config }, (await readSafetensors(values)).tensors);
    await writeNamedWhole(output, (temporary) => addon().writeArtifact(spec, temporary));
    return config;
  } catch (error) {
    throw toTorchclipError(error, "E_WRITE", { subject: output });
  } finally {
    await rm(values, { force: true });
  }
}

function checkShapes({ path, tensors }: ArtifactContent, changed: readonly WrittenTensor[]): void {
  for (const { name, shape } of changed) {
    const stored = tensors.get(name);
    if (stored && elements(stored.shape) === elements(shape)) continue;
    const message = `${path} has no tensor ${name} of shape [${shape.join(", ")}]`;
    throw new TorchclipError("E_MODEL_CORRUPT", message, { subject: name });
  }
}

function specOf(from: ArtifactContent, changed: ReadonlyMap<string, StoredTensor>): ArtifactSpec {
  const tensors = [...from.tensors].map(([name, stored]) => {
    const { stored: order, ...place } = changed.get(name) ?? stored;
    const part: TensorPart = order === "transposed" ? { ...place, transpose: true } : place;
    return { name, parts: [part], dtype: storedAs(place.dtype) };
  });
  return { config: JSON.stringify(from.config, null, 2), tokenizer: from.tokenizer, tensors };
}

const storedAs = (dtype: string): "F32" | "F16" | "BF16" =>
  dtype === "F16" || dtype === "BF16" ? dtype : "F32";
