import type { TokenizerConfig } from "../../text/types.js";
import { Untrusted, type JsonObject } from "../../util/untrusted.js";
import type { Activation, TowerHints } from "../architectures/types.js";
import { TEXT_POOLS } from "../architectures/text-transformer.js";
import { CLIP_MEAN, CLIP_STD, type Preprocessing } from "../config-types.js";
import { channelsOf, defined, numberOf, objectOf, oneOf, squareSize, textOf } from "./config-values.js";
import { checkFields, unsupportedField } from "./fields.js";
import { imageProcessorHints } from "./image-processor.js";

/** What a checkpoint's own config says, in the terms of the towers. */
export interface Hints {
  image: TowerHints;
  text: TowerHints;
  preprocessing: Partial<Preprocessing>;
  clean?: TokenizerConfig["clean"];
  /** Of a CLIP vocabulary: the library whose tokenizer this model is used with. */
  dialect?: TokenizerConfig["dialect"];
  stripEnd?: boolean;
  /** Where this comes from, for messages. */
  source: string;
}

const ACTIVATIONS: readonly Activation[] = ["quick_gelu", "gelu", "gelu_tanh"];

/**
 * hidden_act of transformers' configs (ACT2CLS in activations.py) that this version computes; several names
 * are one function.
 */
const HF_ACTIVATIONS = new Map<string, Activation>([
  ["quick_gelu", "quick_gelu"],
  ["gelu", "gelu"],
  ["gelu_python", "gelu"],
  ["gelu_pytorch_tanh", "gelu_tanh"],
  ["gelu_python_tanh", "gelu_tanh"],
  ["gelu_accurate", "gelu_tanh"],
  ["gelu_new", "gelu_tanh"],
  ["gelu_fast", "gelu_tanh"],
]);

/**
 * Where a family of transformers' configs leaves a field out (configuration_clip.py, _metaclip_2.py,
 * _siglip.py).
 */
interface FamilyDefaults {
  siglip: boolean;
  activation: Activation;
  eps: number;
  textHeads: number;
  /** Values of *_config_dict win over those of *_config. */
  dicts: boolean;
}

const CLIP_FAMILY: FamilyDefaults = {
  siglip: false,
  activation: "quick_gelu",
  eps: 1e-5,
  textHeads: 8,
  dicts: true,
};
const SIGLIP_FAMILY: FamilyDefaults = {
  siglip: true,
  activation: "gelu_tanh",
  eps: 1e-6,
  textHeads: 12,
  dicts: false,
};
const HF_FAMILIES = new Map<string, FamilyDefaults>([
  ["clip", CLIP_FAMILY],
  ["metaclip_2", CLIP_FAMILY],
  ["siglip", SIGLIP_FAMILY],
]);
const IMAGE_HEADS = 12;
const IMAGE_SIZE = 224;
const CLIP_END = 49407; // eos_token_id of CLIPTextConfig
/** What CLIP's configs said before transformers 4.31; it stands for the token with the highest id. */
const OLD_END = 2;

/**
 * transformers' config.json with the image processor's config, where there is one. Throws
 * E_MODEL_UNSUPPORTED.
 */
export function huggingFaceHints(
  config: JsonObject,
  processor: { config: JsonObject; file: string } | undefined,
  source: string,
): Hints {
  const type = textOf(config.model_type) ?? "clip";
  const family = familyOf(type, source);
  checkFields("transformers", config, source);
  // A *_config_dict replaces the whole: what it leaves out has the class's default (CLIPConfig.__init__).
  const part = (name: "text" | "vision") =>
    objectOf((family.dicts ? config[`${name}_config_dict`] : undefined) ?? config[`${name}_config`]);
  const vision = part("vision");
  const words = part("text");
  for (const name of ["text", "vision"] as const) {
    checkFields(`transformers ${name}`, objectOf(config[`${name}_config`]), source);
    checkFields(`transformers ${name}`, part(name), source);
  }
  const imageSize = squareSize(vision.image_size, "image_size", source) ?? IMAGE_SIZE;
  const { siglip } = family;
  return {
    image: { ...huggingFaceTower(vision, family, IMAGE_HEADS, source), imageSize },
    text: {
      ...huggingFaceTower(words, family, family.textHeads, source),
      ...textPooling(words, type, siglip),
      padId: numberOf(words.pad_token_id),
    },
    preprocessing: processor
      ? imageProcessorHints(processor.config, siglip, imageSize, processor.file)
      : imageProcessorHints({ size: imageSize, crop_size: imageSize }, siglip, imageSize, source),
    clean: siglip ? "siglip" : "none",
    dialect: "transformers",
    source,
  };
}

function familyOf(type: string, source: string): FamilyDefaults {
  const family = HF_FAMILIES.get(type);
  if (family) return family;
  const known = [...HF_FAMILIES.keys()].join(", ");
  const hint = type === "siglip2" ? " (siglip2 is NaFlex: images of any shape)" : "";
  throw unsupportedField(source, "model_type", type, `the families known are ${known}${hint}`);
}

/** Which token of a text becomes its embedding. */
function textPooling(
  words: JsonObject,
  type: string,
  siglip: boolean,
): Pick<TowerHints, "pool" | "causal" | "endId"> {
  if (siglip) return { pool: "last", causal: false };
  const end = numberOf(words.eos_token_id) ?? CLIP_END;
  return type === "clip" && end === OLD_END ? {} : { pool: "eos", endId: end };
}

function huggingFaceTower(c: JsonObject, family: FamilyDefaults, heads: number, source: string): TowerHints {
  const named = textOf(c.hidden_act);
  const activation = named === undefined ? family.activation : HF_ACTIVATIONS.get(named);
  if (!activation) {
    const known = [...HF_ACTIVATIONS.keys()].join(", ");
    throw unsupportedField(source, "hidden_act", named, `the activations computed are ${known}`);
  }
  // SiglipVisionModel attends with as many heads in its pooling head as in its layers.
  return {
    activation,
    heads: numberOf(c.num_attention_heads) ?? heads,
    eps: numberOf(c.layer_norm_eps) ?? family.eps,
  };
}

const RESIZES: Record<string, Preprocessing["resize"]> = {
  shortest: "shortest",
  squash: "squash",
  longest: "longest",
};
/**
 * "random" chooses for training alone; images are then prepared with the bicubic filter
 * (open_clip/transform.py).
 */
const OPEN_CLIP_FILTERS: Record<string, Preprocessing["interpolation"]> = {
  bicubic: "bicubic",
  bilinear: "bilinear",
  random: "bicubic",
};
const CLEANS: Record<string, TokenizerConfig["clean"]> = {
  lower: "openai",
  whitespace: "whitespace",
  whitespace_underscore: "whitespace_underscore",
  canonicalize: "canonicalize",
};
const IMAGE_POOLS: readonly unknown[] = ["tok", "avg"];
/**
 * open_clip's poolers over a Hugging Face text model. "cls_pooler" runs that model's own dense layer, which
 * is not computed.
 */
const HF_POOLS: Record<string, string> = { mean_pooler: "mean", cls_last_hidden_state_pooler: "cls" };

/**
 * open_clip's model config (`model_cfg` of open_clip_config.json) with its `preprocess_cfg`. Throws
 * E_MODEL_UNSUPPORTED.
 */
export function openClipHints(model: JsonObject, preprocess: JsonObject, source: string): Hints {
  const vision = objectOf(model.vision_cfg);
  const words = objectOf(model.text_cfg);
  checkFields("open_clip model", model, source);
  checkFields("open_clip vision", vision, source);
  checkFields("open_clip text", words, source);
  checkFields("open_clip preprocess", preprocess, source);
  const quick: Activation = model.quick_gelu === true ? "quick_gelu" : "gelu";
  const siglip = (textOf(vision.timm_model_name) ?? "").includes("siglip");
  return {
    image: openClipImage(vision, quick, source),
    text: openClipText(words, quick, source),
    preprocessing: defined<Partial<Preprocessing>>({
      resize: oneOf(preprocess, "resize_mode", RESIZES, source) ?? (siglip ? "squash" : undefined),
      interpolation: oneOf(preprocess, "interpolation", OPEN_CLIP_FILTERS, source),
      mean: channels(preprocess, "mean", source) ?? (siglip ? [0.5, 0.5, 0.5] : CLIP_MEAN),
      std: channels(preprocess, "std", source) ?? (siglip ? [0.5, 0.5, 0.5] : CLIP_STD),
      fill: greyLevel(preprocess, source),
    }),
    ...openClipTokenizer(words, source),
    source,
  };
}

function openClipImage(vision: JsonObject, quick: Activation, source: string): TowerHints {
  const timm = textOf(vision.timm_model_name);
  if (timm) checkTimm(timm, vision, source);
  const pool = vision.pool_type;
  if (pool !== undefined && !IMAGE_POOLS.includes(pool)) {
    const known = IMAGE_POOLS.join(" and ");
    throw unsupportedField(source, "vision_cfg.pool_type", pool, `${known} are computed`);
  }
  return defined<TowerHints>({
    activation: timm ? (timmActivation(timm) ?? "gelu") : activationOf(vision, quick, source),
    headWidth: numberOf(vision.head_width),
    heads: timm ? timmHeads(timm) : undefined,
    eps: normEps(vision, source),
    imageSize: squareSize(vision.image_size, "vision_cfg.image_size", source),
    pool: textOf(vision.pool_type),
    normAfterPool: vision.final_ln_after_pool === true,
    poolHeads: numberOf(vision.attn_pooler_heads),
    model: timm,
  });
}

function openClipText(words: JsonObject, quick: Activation, source: string): TowerHints {
  const model = textOf(words.hf_model_name);
  if (model && !/roberta/i.test(model))
    throw unsupportedField(source, "text_cfg.hf_model_name", model, "RoBERTa and XLM-R are computed");
  const pooler = model ? (oneOf(words, "hf_pooler_type", HF_POOLS, source) ?? "mean") : undefined;
  const pool = textOf(words.pool_type);
  if (!model && pool !== undefined && !TEXT_POOLS.some((known) => known === pool)) {
    throw unsupportedField(source, "text_cfg.pool_type", pool, `${TEXT_POOLS.join(", ")} are computed`);
  }
  return defined<TowerHints>({
    activation: activationOf(words, quick, source),
    heads: numberOf(words.heads),
    eps: normEps(words, source),
    contextLength: numberOf(words.context_length),
    pool: pooler ?? pool,
    causal: words.no_causal_mask === undefined ? undefined : words.no_causal_mask !== true,
    padId: numberOf(words.pad_id),
    endId: numberOf(words.eos_id),
    model,
  });
}

/** open_clip/factory.py get_tokenizer: SimpleTokenizer, or transformers' where the config names one. */
function openClipTokenizer(words: JsonObject, source: string): Pick<Hints, "clean" | "dialect" | "stripEnd"> {
  const { clean, strip_sep_token: stripEnd, ...others } = objectOf(words.tokenizer_kwargs);
  for (const [name, value] of Object.entries(others))
    throw unsupportedField(source, `text_cfg.tokenizer_kwargs.${name}`, value, "it is not known");
  const transformers =
    textOf(words.hf_tokenizer_name) !== undefined || textOf(words.hf_model_name) !== undefined;
  const named = oneOf({ clean }, "clean", CLEANS, source) ?? (transformers ? "whitespace" : "openai");
  if (!transformers && named.startsWith("whitespace")) {
    throw unsupportedField(
      source,
      "text_cfg.tokenizer_kwargs.clean",
      clean,
      "capital letters have no tokens in CLIP's own vocabulary",
    );
  }
  return { clean: named, dialect: transformers ? "transformers" : "open_clip", stripEnd: stripEnd === true };
}

function channels(config: JsonObject, field: string, source: string): number[] | undefined {
  const value = config[field];
  if (value === undefined || value === null) return undefined;
  const list = typeof value === "number" ? [value, value, value] : channelsOf(value);
  if (!list) throw unsupportedField(source, field, value, "three numbers are expected");
  return list;
}

function greyLevel(config: JsonObject, source: string): number | undefined {
  const value = config.fill_color;
  if (value === undefined || value === null) return undefined;
  const level = numberOf(value);
  if (level !== undefined && Number.isInteger(level) && level >= 0 && level <= 255) return level;
  throw unsupportedField(source, "fill_color", value, "a grey level of 0 to 255 is expected");
}

/** Of an open_clip tower: its nn.GELU may be the tanh form (act_kwargs). */
function activationOf(config: JsonObject, quick: Activation, source: string): Activation {
  const { approximate, ...others } = objectOf(config.act_kwargs);
  if (Object.keys(others).length)
    throw unsupportedField(source, "act_kwargs", config.act_kwargs, "approximate alone is known");
  if (approximate === undefined || approximate === null || approximate === "none") return quick;
  if (approximate === "tanh" && quick === "gelu") return "gelu_tanh";
  throw unsupportedField(source, "act_kwargs", config.act_kwargs, "GELU's tanh form alone is known");
}

function normEps(config: JsonObject, source: string): number | undefined {
  const { eps, ...others } = objectOf(config.norm_kwargs);
  if (Object.keys(others).length)
    throw unsupportedField(source, "norm_kwargs", config.norm_kwargs, "eps alone is known");
  return numberOf(eps);
}

/** Models of timm that this version computes, and how each is pooled there. */
const TIMM_MODELS: readonly { names: RegExp; pools: readonly unknown[] }[] = [
  { names: /^vit_\w*siglip/, pools: ["map", ""] },
  { names: /^vit_\w*(mci|clip)/, pools: ["token", ""] },
  { names: /^eva(02)?_/, pools: ["token", ""] },
  { names: /^convnext/, pools: ["", "avg"] },
  { names: /^fastvit/, pools: ["avg", ""] },
];

function checkTimm(name: string, vision: JsonObject, source: string): void {
  const known = TIMM_MODELS.find((m) => m.names.test(name));
  if (!known)
    throw unsupportedField(
      source,
      "timm_model_name",
      name,
      "timm's ViT for CLIP and SigLIP, EVA, ConvNeXt and FastViT are computed",
    );
  const pool = vision.timm_pool;
  if (pool !== undefined && pool !== null && !known.pools.includes(pool))
    throw unsupportedField(source, "timm_pool", pool, "another is computed");
}

/** Models of timm whose activation is not the plain GELU (timm/models/vision_transformer.py). */
function timmActivation(model: string): Activation | undefined {
  if (model.includes("quickgelu")) return "quick_gelu";
  return /^vit_base_patch32_siglip|^vit_giantopt_patch16_siglip/.test(model) ? "gelu_tanh" : undefined;
}

/** Number of heads where it is not width / 64. */
function timmHeads(model: string): number | undefined {
  if (/so400m|giantopt|eva_giant|enormous|eva02_large|vit_large/.test(model)) return 16;
  return undefined;
}

/** What scripts/train-tiny writes into a safetensors file's `__metadata__`. */
export function ownHints(text: string, file: string): Hints {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const config = check.object(check.json(text, "__metadata__.config"), "__metadata__.config");
  const activation =
    config.activation === undefined
      ? undefined
      : check.choice(config.activation, ACTIVATIONS, "the activation in its metadata");
  return {
    image: { activation, heads: numberOf(config.vision_heads) },
    text: { activation, heads: numberOf(config.text_heads) },
    preprocessing: {},
    clean: "none",
    source: "its metadata",
  };
}
