import { stat } from "node:fs/promises";
import { resolve, basename, join, dirname } from "node:path";
import { TorchclipError } from "../../errors.js";
import type { TokenizerSource } from "./tokenizer.js";

/** The weights and their neighbours in a folder. */
export interface ImportSource extends TokenizerSource {
  /** A weight file, or the index of several. */
  weights: string;
  /** transformers' config.json, or open_clip_config.json. */
  config?: string;
  /** preprocessor_config.json. */
  preprocessor?: string;
  /**
   * processor_config.json, whose `image_processor` (transformers 5) comes before preprocessor_config.json.
   */
  processor?: string;
  /** Of the weights, where it is known already. */
  sha256?: string;
}

/** Names that folders of published models use, the preferred first. */
export const WEIGHT_NAMES = [
  "model.safetensors",
  "open_clip_model.safetensors",
  "model.safetensors.index.json",
  "pytorch_model.bin",
  "open_clip_pytorch_model.bin",
  "pytorch_model.bin.index.json",
  "onnx/model.onnx",
  "model.onnx",
  "model.pt",
];

export const CONFIG_NAMES = ["open_clip_config.json", "config.json"];

export const PREPROCESSOR_NAMES = ["preprocessor_config.json"];

export const PROCESSOR_NAMES = ["processor_config.json"];

export const TOKENIZER_NAMES = [
  "tokenizer.json",
  "spiece.model",
  "sentencepiece.bpe.model",
  "tokenizer.model",
];

export const TOKENIZER_CONFIG_NAMES = ["tokenizer_config.json"];

/**
 * What a model is called where nobody named it: its file, or its folder where the file is called as in every
 * other one ("model.safetensors"); in the hub's cache the repository.
 */
export function nameOf(path: string): string {
  const file = WEIGHT_NAMES.find((name) => `/${path.replaceAll("\\", "/")}`.endsWith(`/${name}`));
  const folder = file ? resolve(path, ...file.split("/").map(() => "..")) : resolve(path);
  const [, owner, repository] =
    /[\\/]models--([^\\/]+?)--([^\\/]+)[\\/]snapshots[\\/][^\\/]+$/.exec(folder) ?? [];
  return repository ? `${owner}/${repository}` : basename(folder);
}

/** Finds the weights in a path that the user gave, and what lies beside them. */
export async function findSource(path: string): Promise<ImportSource> {
  const info = await stat(path).catch(() => undefined);
  if (!info)
    throw new TorchclipError("E_MODEL_NOT_FOUND", `no such file or folder: ${path}`, { subject: path });
  const first = async (folder: string, names: readonly string[]): Promise<string | undefined> => {
    for (const name of names) {
      const file = join(folder, name);
      if ((await stat(file).catch(() => undefined))?.isFile()) return file;
    }
    return undefined;
  };
  const beside = async (folder: string) => ({
    config: await first(folder, CONFIG_NAMES),
    preprocessor: await first(folder, PREPROCESSOR_NAMES),
    processor: await first(folder, PROCESSOR_NAMES),
    tokenizer: await first(folder, TOKENIZER_NAMES),
    tokenizerConfig: await first(folder, TOKENIZER_CONFIG_NAMES),
  });
  if (info.isFile()) {
    // A config beside a file counts only where the file has a name that such a folder's weights have.
    const name = basename(path);
    if (WEIGHT_NAMES.includes(name)) return { weights: path, ...(await beside(dirname(path))) };
    return { weights: path };
  }
  const weights = await first(path, WEIGHT_NAMES);
  if (!weights)
    throw new TorchclipError("E_MODEL_NOT_FOUND", `${path} holds none of ${WEIGHT_NAMES.join(", ")}`, {
      subject: path,
    });
  return { weights, ...(await beside(path)) };
}
