import type { TextTransformerConfig } from "../architectures/text-transformer.js";
import type { VitConfig } from "../architectures/image-vit.js";
import type { ModelConfig } from "../config-types.js";

/** The classes of transformers that hold models of CLIP's kind. */
export type HuggingFaceClass = "CLIPModel" | "SiglipModel";

/** A tensor of an artifact under its name in transformers. */
export interface ExportedName {
  name: string;
  /** The matrix is stored [out, in] there and [in, out] here. */
  transpose?: boolean;
  /** Its axes there, where they differ in leading axes of size 1. */
  shape?: number[];
}

/** The towers of a model, where they are those of the class. */
interface Towers {
  image: VitConfig;
  text: TextTransformerConfig;
}

/** The class of transformers that holds a model without a difference; undefined where none does. */
export function huggingFaceClass(config: ModelConfig): HuggingFaceClass | undefined {
  const towers = towersOf(config);
  if (!towers) return undefined;
  if (isClip(towers)) return "CLIPModel";
  return isSiglip(towers) ? "SiglipModel" : undefined;
}

function towersOf({ image, text }: ModelConfig): Towers | undefined {
  return image.kind === "vit" && text.kind === "transformer" ? { image, text } : undefined;
}

function isPlain({ image, text }: Towers): boolean {
  const { stem } = image as Partial<VitConfig>; // artifacts of former versions leave it out
  const hasExtras = image.layerScale || text.layerScale || image.projectionBias || text.appendedToken;
  return !hasExtras && (stem === undefined || stem.length === 0);
}

function isClip(towers: Towers): boolean {
  const { image, text } = towers;
  const { classPosition } = image as Partial<VitConfig>;
  const ofImage = (classPosition ?? image.classToken) && image.preNorm && image.pool === "token";
  const ofText = text.causal && (text.pool === "argmax" || text.pool === "eos");
  const projections = image.projection && text.projection && !text.projectionBias;
  return isPlain(towers) && ofImage && ofText && projections && !image.patchBias;
}

function isSiglip(towers: Towers): boolean {
  const { image, text } = towers;
  const ofImage = !image.classToken && !image.preNorm && image.pool === "map" && !image.normAfterPool;
  const ofText = !text.causal && text.pool === "last" && text.projectionBias;
  return isPlain(towers) && ofImage && ofText && !image.projection && image.patchBias;
}

const NAMES: readonly (readonly [from: RegExp, to: string])[] = [
  [/^visual\.class_embedding$/, "vision_model.embeddings.class_embedding"],
  [/^visual\.conv1\./, "vision_model.embeddings.patch_embedding."],
  [/^visual\.positional_embedding$/, "vision_model.embeddings.position_embedding.weight"],
  [/^visual\.ln_pre\./, "vision_model.pre_layrnorm."],
  [/^visual\.ln_post\./, "vision_model.post_layernorm."],
  [/^visual\.attn_pool\.latent$/, "vision_model.head.probe"],
  [/^visual\.attn_pool\.norm\./, "vision_model.head.layernorm."],
  [/^visual\.attn_pool\.mlp\./, "vision_model.head.mlp."],
  [/^visual\.attn_pool\./, "vision_model.head.attention."],
  [/^visual\.proj$/, "visual_projection.weight"],
  [/^visual\.transformer\.resblocks\./, "vision_model.encoder.layers."],
  [/^text\.token_embedding\./, "text_model.embeddings.token_embedding."],
  [/^text\.positional_embedding$/, "text_model.embeddings.position_embedding.weight"],
  [/^text\.ln_final\./, "text_model.final_layer_norm."],
  [/^text\.text_projection_bias$/, "text_model.head.bias"],
  [/^text\.transformer\.resblocks\./, "text_model.encoder.layers."],
];

const IN_BLOCKS: readonly (readonly [from: string, to: string])[] = [
  [".attn.out_proj.", ".self_attn.out_proj."],
  [".ln_1.", ".layer_norm1."],
  [".ln_2.", ".layer_norm2."],
  [".mlp.c_fc.", ".mlp.fc1."],
  [".mlp.c_proj.", ".mlp.fc2."],
];

/**
 * The name, or for the joined query, key and value the three names, of a tensor in transformers; the parts
 * are consecutive rows.
 */
export function huggingFaceNames(name: string, class_: HuggingFaceClass, width: number): ExportedName[] {
  if (name === "text.text_projection") {
    return [
      { name: class_ === "CLIPModel" ? "text_projection.weight" : "text_model.head.weight", transpose: true },
    ];
  }
  const rule = NAMES.find(([from]) => from.test(name));
  let renamed = rule ? name.replace(rule[0], rule[1]) : name;
  if (renamed === "visual_projection.weight") return [{ name: renamed, transpose: true }];
  if (renamed === "vision_model.head.probe") return [{ name: renamed, shape: [1, 1, width] }];
  if (!renamed.includes(".encoder.layers.")) return [{ name: renamed }];
  for (const [from, to] of IN_BLOCKS) renamed = renamed.replace(from, to);
  const [, block, kind] = /^(.*)\.attn\.in_proj_(weight|bias)$/.exec(renamed) ?? [];
  if (!block) return [{ name: renamed }];
  return ["q", "k", "v"].map((letter) => ({ name: `${block}.self_attn.${letter}_proj.${kind}` }));
}

const ACTIVATIONS = { quick_gelu: "quick_gelu", gelu: "gelu", gelu_tanh: "gelu_pytorch_tanh" } as const;

/** transformers' value for "the token with the highest id is pooled" (modeling_clip.py). */
const ARGMAX_EOS = 2;

/** config.json of transformers for a model. */
export function huggingFaceConfig(config: ModelConfig, class_: HuggingFaceClass): object | undefined {
  const towers = towersOf(config);
  if (!towers) return undefined;
  const { image, text } = towers;
  const tower = ({ width, mlpWidth, layers, heads, activation, eps }: VitConfig | TextTransformerConfig) => ({
    hidden_size: width,
    intermediate_size: mlpWidth,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    hidden_act: ACTIVATIONS[activation],
    layer_norm_eps: eps,
  });
  const kind = class_ === "CLIPModel" ? "clip" : "siglip";
  const projection = class_ === "CLIPModel" ? { projection_dim: config.embedDim } : {};
  const end = text.pool === "argmax" ? ARGMAX_EOS : text.endId;
  return {
    architectures: [class_],
    model_type: kind,
    ...projection,
    text_config: {
      model_type: `${kind}_text_model`,
      ...tower(text),
      ...projection,
      max_position_embeddings: text.contextLength,
      vocab_size: text.vocabSize,
      eos_token_id: end,
      pad_token_id: text.padId,
      ...(class_ === "SiglipModel" ? { projection_size: config.embedDim } : {}),
    },
    vision_config: {
      model_type: `${kind}_vision_model`,
      ...tower(image),
      ...projection,
      image_size: image.imageSize,
      patch_size: image.patchSize,
    },
  };
}
