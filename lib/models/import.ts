import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { addon, type ArtifactSpec } from "../addon.js";
import { TorchclipError, toTorchclipError } from "../errors.js";
import type { TokenizerJson } from "../text/bpe.js";
import { clipTokenizerJson } from "../text/clip-vocabulary.js";
import { hashFile, writeWhole } from "../util/files.js";
import * as clipVit from "./architectures/clip-vit.js";
import { CLIP_MEAN, CLIP_STD, type ModelConfig } from "./config.js";
import { readSafetensors } from "./formats/safetensors.js";
import { readTorchArchive } from "./formats/torch-zip.js";
import type { WeightFile } from "./formats/types.js";

export interface ImportOptions {
  /** Name that results show. Default: the file's. */
  name?: string;
  /** Asked for only where neither the checkpoint's config nor its known source says it. */
  activation?: ModelConfig["activation"];
  signal?: AbortSignal;
}

/** The weights and their neighbours: a file, or a folder with model.safetensors, config.json, tokenizer.json. */
export interface ImportSource {
  weights: string;
  config?: string;
  tokenizer?: string;
  /** Of the weights, where it is known already. */
  sha256?: string;
}

/** Finds the weights in a path that the user gave. */
export async function findSource(path: string): Promise<ImportSource> {
  const info = await stat(path).catch(() => undefined);
  if (!info) throw new TorchclipError("E_MODEL_NOT_FOUND", `no such file or folder: ${path}`, { subject: path });
  const beside = async (folder: string, name: string) => ((await stat(join(folder, name)).catch(() => undefined))?.isFile() ? join(folder, name) : undefined);
  if (info.isFile()) {
    const folder = dirname(path);
    // A config beside a file counts only where the file has the name that such a folder's weights have.
    const inFolder = basename(path) === "model.safetensors";
    return inFolder ? { weights: path, config: await beside(folder, "config.json"), tokenizer: await beside(folder, "tokenizer.json") } : { weights: path };
  }
  const weights = (await beside(path, "model.safetensors")) ?? (await beside(path, "model.pt"));
  if (!weights) throw new TorchclipError("E_MODEL_NOT_FOUND", `${path} holds neither model.safetensors nor model.pt`, { subject: path });
  return { weights, config: await beside(path, "config.json"), tokenizer: await beside(path, "tokenizer.json") };
}

/** Reads weights in any known format and writes the artifact to `output`, whole or not at all. */
export async function importModel(source: ImportSource, output: string, options: ImportOptions = {}): Promise<ModelConfig> {
  const file = source.weights;
  const weights = await readWeights(file);
  const layout = clipVit.layoutOf(weights);
  if (!layout) {
    const some = [...weights.tensors.keys()].slice(0, 3).join(", ");
    throw new TorchclipError("E_MODEL_UNSUPPORTED", `${file} is no architecture that this version knows; its first keys are ${some || "none"}`, {
      subject: file,
    });
  }
  const mapped = clipVit.mapKeys(weights);
  const hints = await readHints(source, weights, layout, options);
  const sizes = clipVit.sizes(mapped, file, hints);
  const tokenizer = await readTokenizer(source, sizes.text.vocabSize);
  const stored = weights.tensors.get(layout === "openai" ? "visual.conv1.weight" : "vision_model.embeddings.patch_embedding.weight")!.dtype;
  const config: ModelConfig = {
    formatVersion: 1,
    architecture: clipVit.name,
    name: options.name ?? basename(file),
    activation: hints.activation,
    ...sizes,
    preprocessing: { resize: "shortest-edge", interpolation: "bicubic", crop: "center", mean: CLIP_MEAN, std: CLIP_STD },
    storedDtype: stored === "F16" ? "fp16" : "fp32",
    source: { file: basename(file), sha256: source.sha256 ?? (await hashFile(file, "sha256", options.signal)), format: `${weights.format}/${layout}` },
  };
  const spec: ArtifactSpec = {
    modules: clipVit.sources(config),
    tensors: clipVit.artifactTensors(config, mapped, file),
    attributes: {
      image_size: config.vision.imageSize,
      context_length: config.text.contextLength,
      embed_dim: config.embedDim,
      vocab_size: config.text.vocabSize,
      image_mean: config.preprocessing.mean,
      image_std: config.preprocessing.std,
    },
    extraFiles: { "torchclip.json": JSON.stringify(config, null, 2), "tokenizer.json": JSON.stringify(tokenizer) },
  };
  try {
    await writeWhole(output, (temporary) => addon().writeArtifact(spec, temporary));
  } catch (error) {
    throw toTorchclipError(error, "E_WRITE", { subject: output });
  }
  return config;
}

async function readWeights(file: string): Promise<WeightFile> {
  if (file.endsWith(".safetensors")) return readSafetensors(file);
  return readTorchArchive(file);
}

interface HfConfig {
  vision_config?: { hidden_act?: string; num_attention_heads?: number };
  text_config?: { hidden_act?: string; num_attention_heads?: number };
}

/** Activation and heads: from the checkpoint's config, else from its known source, else from the caller. */
async function readHints(
  source: ImportSource,
  weights: WeightFile,
  layout: "openai" | "huggingface",
  options: ImportOptions,
): Promise<clipVit.Hints & { activation: ModelConfig["activation"] }> {
  const known = (a: string | undefined) => (a === "quick_gelu" || a === "gelu" ? a : undefined);
  const hints: clipVit.Hints = {};
  if (source.config) {
    const config = JSON.parse(await readFile(source.config, "utf8")) as HfConfig;
    // transformers' defaults for CLIP: quick_gelu; vision 12 heads, text 8.
    hints.activation = known(config.vision_config?.hidden_act ?? "quick_gelu");
    hints.visionHeads = config.vision_config?.num_attention_heads;
    hints.textHeads = config.text_config?.num_attention_heads;
  } else if (weights.metadata.config) {
    const config = JSON.parse(weights.metadata.config) as { activation?: string; vision_heads?: number; text_heads?: number };
    hints.activation = known(config.activation);
    hints.visionHeads = config.vision_heads;
    hints.textHeads = config.text_heads;
  } else if (layout === "openai" && weights.metadata.torchscript) {
    hints.activation = "quick_gelu"; // OpenAI's own archives; nobody else publishes this layout with code
  }
  const activation = hints.activation ?? options.activation;
  if (!activation) {
    throw new TorchclipError(
      "E_MODEL_UNSUPPORTED",
      `${source.weights}: nothing says whether its activation is QuickGELU or GELU; put its config.json beside it, or say activation: "quick_gelu" or "gelu"`,
      { subject: source.weights },
    );
  }
  if (options.activation && options.activation !== activation) {
    throw new TorchclipError("E_ARGUMENT", `activation "${options.activation}" was asked for, the checkpoint's own config says "${activation}"`, {
      subject: "activation",
    });
  }
  return { ...hints, activation };
}

async function readTokenizer(source: ImportSource, vocabSize: number): Promise<TokenizerJson> {
  const json = source.tokenizer ? (JSON.parse(await readFile(source.tokenizer, "utf8")) as TokenizerJson) : clipTokenizerJson();
  const count = Object.keys(json.model?.vocab ?? {}).length;
  if (count !== vocabSize) {
    throw new TorchclipError(
      "E_MODEL_CORRUPT",
      `${source.tokenizer ?? "CLIP's own vocabulary"} has ${count} tokens, the model's embedding has ${vocabSize} rows${source.tokenizer ? "" : "; put its tokenizer.json beside it"}`,
      { subject: source.tokenizer },
    );
  }
  return json;
}
