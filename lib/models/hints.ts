import { Untrusted } from "../util/untrusted.js";
import type { Activation, Preprocessing, TokenizerConfig } from "./config.js";
import { CLIP_MEAN, CLIP_STD } from "./config.js";
import type { TowerHints } from "./architectures/index.js";

/** What a checkpoint's own config says, in the terms of the towers. */
export interface Hints {
  image: TowerHints;
  text: TowerHints;
  preprocessing: Partial<Preprocessing>;
  clean?: TokenizerConfig["clean"];
  stripEnd?: boolean;
  /** Where this comes from, for messages. */
  source: string;
}

type Json = Record<string, unknown>;
const ACTIVATIONS: readonly Activation[] = ["quick_gelu", "gelu", "gelu_tanh"];
const object = (v: unknown): Json => (v && typeof v === "object" && !Array.isArray(v) ? (v as Json) : {});
const number = (v: unknown): number | undefined => (typeof v === "number" && Number.isFinite(v) ? v : undefined);
const text = (v: unknown): string | undefined => (typeof v === "string" ? v : undefined);
const numbers = (v: unknown): number[] | undefined => (Array.isArray(v) && v.length === 3 && v.every((n) => Number.isFinite(n)) ? (v as number[]) : undefined);

/** A table for names out of files: "constructor" is none of its keys. */
function named<T>(table: Record<string, T>): Record<string, T> {
  return Object.assign(Object.create(null) as Record<string, T>, table);
}

/** hidden_act of transformers' configs. */
const HF_ACTIVATIONS: Record<string, Activation> = named({ quick_gelu: "quick_gelu", gelu: "gelu", gelu_pytorch_tanh: "gelu_tanh", gelu_new: "gelu_tanh" });

/** transformers' config.json and preprocessor_config.json (CLIPConfig, SiglipConfig; defaults from there). */
export function huggingFaceHints(config: Json, preprocessor: Json | undefined, source: string): Hints {
  const siglip = (text(config.model_type) ?? "").startsWith("siglip");
  const tower = (value: unknown, heads: number): TowerHints => {
    const c = object(value);
    return {
      activation: HF_ACTIVATIONS[text(c.hidden_act) ?? (siglip ? "gelu_pytorch_tanh" : "quick_gelu")],
      heads: number(c.num_attention_heads) ?? heads,
      eps: number(c.layer_norm_eps) ?? (siglip ? 1e-6 : 1e-5),
    };
  };
  const image = tower(config.vision_config, 12);
  const words = tower(config.text_config, siglip ? 12 : 8);
  // SiglipVisionModel attends with as many heads in its pooling head as in its layers.
  if (siglip) Object.assign(words, { pool: "last", causal: false, padId: number(object(config.text_config).pad_token_id) });
  const p = preprocessor ?? {};
  const size = object(p.size);
  const squash = size.shortest_edge === undefined && size.height !== undefined;
  const centred = p.do_center_crop !== false && !squash;
  return {
    image,
    text: words,
    preprocessing: {
      resize: preprocessor ? (centred ? "shortest" : "squash") : siglip ? "squash" : "shortest",
      interpolation: number(p.resample) === 2 ? "bilinear" : "bicubic", // PIL's numbers
      mean: numbers(p.image_mean) ?? (siglip ? [0.5, 0.5, 0.5] : CLIP_MEAN),
      std: numbers(p.image_std) ?? (siglip ? [0.5, 0.5, 0.5] : CLIP_STD),
    },
    clean: config.model_type === "siglip2" ? "lower" : siglip ? "siglip" : "none",
    source,
  };
}

/** open_clip's model config (`model_cfg` of open_clip_config.json) with its `preprocess_cfg`. */
export function openClipHints(model: Json, preprocess: Json, source: string): Hints {
  const vision = object(model.vision_cfg);
  const words = object(model.text_cfg);
  const timm = text(vision.timm_model_name);
  const quick: Activation = model.quick_gelu === true ? "quick_gelu" : "gelu";
  const tanh = object(words.act_kwargs).approximate === "tanh";
  const resize: Record<string, Preprocessing["resize"]> = named({ shortest: "shortest", squash: "squash", longest: "longest" });
  const siglip = timm !== undefined && /siglip/.test(timm);
  const defined = <T extends object>(o: T): T => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as T;
  return {
    image: defined<TowerHints>({
      activation: timm ? (timmActivation(timm) ?? "gelu") : quick,
      headWidth: number(vision.head_width),
      heads: timm ? timmHeads(timm) : undefined,
      eps: number(object(vision.norm_kwargs).eps),
      imageSize: number(vision.image_size),
      pool: text(vision.pool_type),
      normAfterPool: vision.final_ln_after_pool === true,
      poolHeads: number(vision.attn_pooler_heads),
      model: timm,
    }),
    text: defined<TowerHints>({
      activation: tanh ? "gelu_tanh" : quick,
      heads: number(words.heads),
      eps: number(object(words.norm_kwargs).eps),
      contextLength: number(words.context_length),
      pool: text(words.hf_pooler_type) === "cls_pooler" ? "cls" : text(words.pool_type),
      causal: words.no_causal_mask === undefined ? undefined : words.no_causal_mask !== true,
      padId: number(words.pad_id),
      endId: number(words.eos_id),
      model: text(words.hf_model_name),
    }),
    preprocessing: defined<Partial<Preprocessing>>({
      resize: resize[text(preprocess.resize_mode) ?? ""] ?? (siglip ? "squash" : undefined),
      interpolation: text(preprocess.interpolation) === "bilinear" ? "bilinear" : text(preprocess.interpolation) === "bicubic" ? "bicubic" : undefined,
      mean: numbers(preprocess.mean) ?? (siglip ? [0.5, 0.5, 0.5] : undefined),
      std: numbers(preprocess.std) ?? (siglip ? [0.5, 0.5, 0.5] : undefined),
      fill: number(preprocess.fill_color),
    }),
    clean: object(words.tokenizer_kwargs).clean === "canonicalize" ? "canonicalize" : "openai",
    stripEnd: object(words.tokenizer_kwargs).strip_sep_token === true,
    source,
  };
}

/** Models of timm whose activation is not the plain GELU (timm/models/vision_transformer.py). */
function timmActivation(model: string): Activation | undefined {
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
  const activation = config.activation === undefined ? undefined : check.choice(config.activation, ACTIVATIONS, "the activation in its metadata");
  return {
    image: { activation, heads: number(config.vision_heads) },
    text: { activation, heads: number(config.text_heads) },
    preprocessing: {},
    clean: "none",
    source: "its metadata",
  };
}
