import { basename } from "node:path";
import { addon, type ArtifactSpec, type NativeLayout } from "../../addon.js";
import { checkAborted, TorchclipError, toTorchclipError } from "../../errors.js";
import { hashFile, writeNamedWhole } from "../../util/files.js";
import { readJsonFile } from "../../util/json.js";
import { isObject, Untrusted, type JsonObject } from "../../util/untrusted.js";
import type { ImageTowerConfig, TextTowerConfig } from "../architectures/towers.js";
import type { Activation } from "../architectures/types.js";
import { namedArchitecture } from "../catalog/open-clip-architectures.js";
import { checkConfig } from "../check-config.js";
import { CLIP_PREPROCESSING, type ForeignTextConfig, type ModelConfig } from "../config-types.js";
import { readWeights, type WeightFile } from "../formats/index.js";
import { huggingFaceHints, openClipHints, ownHints, type Hints } from "./checkpoint-config.js";
import { checkFields } from "./fields.js";
import { artifactTensors, orientedShape, recognise, type Recognised } from "./recognise.js";
import { nameOf, type ImportSource } from "./source.js";
import { readTokenizer } from "./tokenizer.js";
import { foreignSizes, untrusted, wrapForeign } from "./torchscript-export.js";

export interface ImportOptions {
  /** Name that results show. Default: the file's. */
  name?: string;
  /**
   * open_clip's name of the architecture, such as "ViT-H-14-quickgelu", where no config lies beside the
   * weights.
   */
  arch?: string;
  /** For a TorchScript export of unknown layout whose weights do not show its input's side, pixels. */
  imageSize?: number;
  /** For such an export whose weights do not show the number of token ids of one text. */
  contextLength?: number;
  /**
   * A TorchScript export of unknown layout runs its own code, which has all rights of this process: it can
   * read and write files, for one. Only with true is it loaded; else E_MODEL_UNSAFE. For a path alone, never
   * for a model of a hub.
   */
  trustCode?: boolean;
  /** Asked for only where neither the checkpoint's config, `arch` nor its known source says it. */
  activation?: Activation;
  signal?: AbortSignal;
}

/** Reads weights in any known format and writes the artifact to `output`, whole or not at all. */
export async function importModel(
  source: ImportSource,
  output: string,
  options: ImportOptions = {},
): Promise<ModelConfig> {
  if (!isSource(source) || typeof output !== "string" || output === "")
    throw new TorchclipError(
      "E_ARGUMENT",
      "importModel takes { weights: path } and the path of the artifact",
      { subject: "source" },
    );
  try {
    return await importChecked(source, output, options);
  } catch (error) {
    checkAborted(options.signal);
    throw toTorchclipError(error, "E_INTERNAL", { subject: source.weights });
  }
}

// Callers in JavaScript may give anything.
const isSource = (value: unknown): boolean => isObject(value) && typeof value.weights === "string";

async function importChecked(
  source: ImportSource,
  output: string,
  options: ImportOptions,
): Promise<ModelConfig> {
  const file = source.weights;
  const weights = await readWeights(file);
  const found = tryRecognise(weights, file);
  if (!found) return importForeign(source, weights, output, options);
  const hints = await readHints(source, weights, found, options);
  const image = found.image.tower.configure(found.image.shapes, hints.image);
  const text = found.text.tower.configure(found.text.shapes, hints.text);
  const embedDim = embeddingDimension(found, image, text);
  const { json, config: tokenizer } = await readTokenizer(source, found.text.layout, text, hints);
  const sigmoid = found.root.has("logit_bias");
  const config: ModelConfig = {
    formatVersion: 2,
    architecture: `${image.kind}+${text.kind}`,
    name: options.name ?? nameOf(file),
    embedDim,
    image,
    text,
    loss: sigmoid ? "sigmoid" : "softmax",
    preprocessing: { ...CLIP_PREPROCESSING, ...hints.preprocessing },
    tokenizer,
    storedDtype: storedDtype(weights),
    source: {
      file: basename(file),
      sha256: source.sha256 ?? (await hashFile(file, "sha256", options.signal)),
      format: `${weights.format}/${found.image.layout}+${found.text.layout}`,
    },
  };
  checkConfig(config, source.config ?? file);
  const tensors = new Map([...found.image.tensors, ...found.text.tensors, ...found.root]);
  const spec: ArtifactSpec = {
    config: JSON.stringify(config, null, 2),
    tokenizer: JSON.stringify(json),
    tensors: artifactTensors(layoutOf(config, file).shapes, tensors, file),
  };
  try {
    await writeNamedWhole(output, (temporary) => addon().writeArtifact(spec, temporary));
  } catch (error) {
    throw toTorchclipError(error, "E_WRITE", { subject: output });
  }
  return config;
}

function layoutOf(config: ModelConfig, file: string): NativeLayout {
  try {
    return addon().modelLayout(JSON.stringify(config));
  } catch (error) {
    throw toTorchclipError(error, "E_MODEL_CORRUPT", { subject: file });
  }
}

/** The towers, or undefined for a TorchScript export of another layout: its own code can run. */
function tryRecognise(weights: WeightFile, file: string): Recognised | undefined {
  try {
    return recognise(weights, file);
  } catch (error) {
    if (weights.metadata.torchscript && (error as TorchclipError).code === "E_MODEL_UNSUPPORTED")
      return undefined;
    throw error;
  }
}

async function importForeign(
  source: ImportSource,
  weights: WeightFile,
  output: string,
  options: ImportOptions,
): Promise<ModelConfig> {
  const file = source.weights;
  if (!options.trustCode) throw untrusted(file);
  const { imageSize, contextLength, vocabSize } = foreignSizes(weights, options, file);
  const text: ForeignTextConfig = { kind: "torchscript", contextLength, vocabSize };
  const { json, config: tokenizer } = await readTokenizer(source, undefined, text, {
    clean: "openai",
    dialect: "openai",
    text: {},
  });
  const about = {
    name: options.name ?? nameOf(file),
    image: { kind: "torchscript" as const, imageSize },
    text,
    tokenizer,
    source: {
      file: basename(file),
      sha256: source.sha256 ?? (await hashFile(file, "sha256", options.signal)),
      format: "torchscript",
    },
  };
  return wrapForeign(file, output, about, json);
}

/** Width of the last matrix of either tower; they must agree. */
function embeddingDimension(found: Recognised, image: ImageTowerConfig, text: TextTowerConfig): number {
  const last = (tensors: Recognised["image"]["tensors"], names: readonly string[]): number | undefined => {
    for (const name of names) {
      const part = tensors.get(name)?.parts.at(0);
      if (!part) continue;
      const [rows, columns] = orientedShape(part);
      return name.endsWith("proj") || name.endsWith("text_projection") ? columns : rows;
    }
    return undefined;
  };
  const projections = [
    "visual.proj",
    "visual.attnpool.c_proj.weight",
    "visual.project.proj.weight",
    "visual.project.mlp.fc2.weight",
    "visual.project.weight",
  ];
  const dimension =
    last(found.image.tensors, projections) ??
    last(found.text.tensors, ["text.text_projection", "text.proj.2", "text.proj.0"]) ??
    ("width" in image && typeof image.width === "number" ? image.width : undefined);
  if (dimension) return dimension;
  return text.width;
}

/** The type that most bytes are stored in. */
function storedDtype(weights: WeightFile): ModelConfig["storedDtype"] {
  const bytes = new Map<string, number>();
  for (const t of weights.tensors.values()) bytes.set(t.dtype, (bytes.get(t.dtype) ?? 0) + t.bytes);
  const [most] = [...bytes].sort((a, b) => b[1] - a[1]);
  if (most?.[0] === "F16") return "fp16";
  return most?.[0] === "BF16" ? "bf16" : "fp32";
}

/**
 * What the shapes do not tell: from the config beside the weights, from `arch`, from what torchclip itself or
 * OpenAI wrote. The activation is never guessed (open_clip #771, #915): where nothing says it, it is asked
 * for.
 */
async function readHints(
  source: ImportSource,
  weights: WeightFile,
  found: Recognised,
  options: ImportOptions,
): Promise<Hints> {
  const hints = await knownHints(source, weights, found, options);
  const needed = found.image.tower.kind === "vit" || found.text.tower.kind === "transformer";
  const said = hints?.text.activation ?? hints?.image.activation;
  const { activation } = options;
  if (activation && hints && said && activation !== said) {
    throw new TorchclipError(
      "E_ARGUMENT",
      `activation "${activation}" was asked for, ${hints.source} says "${said}"`,
      { subject: "activation" },
    );
  }
  if (hints && (said || !needed)) return hints;
  if (needed && !activation) {
    throw new TorchclipError(
      "E_MODEL_UNSUPPORTED",
      `${source.weights}: nothing says whether its activation is QuickGELU or GELU; ` +
        'put its config beside it, name its architecture (arch: "ViT-B-32-quickgelu", --arch), ' +
        'or say activation: "quick_gelu" or "gelu"',
      { subject: source.weights },
    );
  }
  return {
    image: { activation, ...hints?.image },
    text: { activation, ...hints?.text },
    preprocessing: {},
    clean: "openai",
    ...hints,
    source: "the options",
  };
}

async function knownHints(
  source: ImportSource,
  weights: WeightFile,
  found: Recognised,
  options: ImportOptions,
): Promise<Hints | undefined> {
  if (options.arch) {
    const { model, preprocess } = namedArchitecture(options.arch);
    return openClipHints(model, preprocess, `architecture ${options.arch}`);
  }
  if (source.config) {
    const config = await readJsonFile(source.config);
    if (config.model_cfg) {
      checkFields("open_clip", config, source.config);
      const check = new Untrusted("E_MODEL_CORRUPT", source.config);
      const model = check.object(config.model_cfg, "model_cfg");
      return openClipHints(model, check.object(config.preprocess_cfg ?? {}, "preprocess_cfg"), source.config);
    }
    if (config.vision_config || config.vision_config_dict || config.model_type) {
      return huggingFaceHints(config, await imageProcessor(source), source.config);
    }
  }
  const own = weights.metadata.config; // scripts/train-tiny
  if (own) return ownHints(own, source.weights);
  // OpenAI's own archives: nobody else publishes this layout with code.
  if (weights.metadata.torchscript && found.text.layout === "openai") {
    return {
      image: { activation: "quick_gelu" },
      text: { activation: "quick_gelu" },
      preprocessing: {},
      clean: "openai",
      dialect: "openai",
      source: "OpenAI's archive",
    };
  }
  return undefined;
}

/**
 * The config of transformers' image processor. Where both files have one, that of processor_config.json
 * counts (transformers 5, image_processing_base.py, `get_image_processor_dict`).
 */
async function imageProcessor({
  processor,
  preprocessor,
}: ImportSource): Promise<{ config: JsonObject; file: string } | undefined> {
  if (processor) {
    const whole = await readJsonFile(processor);
    if (whole.image_processor || !preprocessor) checkFields("processor", whole, processor);
    if (whole.image_processor) {
      const check = new Untrusted("E_MODEL_CORRUPT", processor);
      return { config: check.object(whole.image_processor, "image_processor"), file: processor };
    }
  }
  return preprocessor ? { config: await readJsonFile(preprocessor), file: preprocessor } : undefined;
}
