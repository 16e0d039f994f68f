import type { Activation, Rule } from "./types.js";

/** The pre-norm Transformer block that CLIP's towers share; canonical names are open_clip's. */
export interface BlockConfig {
  width: number;
  layers: number;
  heads: number;
  mlpWidth: number;
  activation: Activation;
  /** Of the layer norms. */
  eps: number;
  /** Each residual branch is multiplied by a learned vector (LayerScale). */
  layerScale: boolean;
}

/** Hugging Face's names inside a block (CLIPEncoderLayer, SiglipEncoderLayer). */
export function huggingFaceBlockRules(from: string, to: string): Rule[] {
  const layer = `^${from}\\.encoder\\.layers\\.(\\d+)\\.`;
  const block = `${to}.resblocks.$1`;
  return [
    ...["q", "k", "v"].map((letter, part) => ({
      from: new RegExp(`${layer}self_attn\\.${letter}_proj\\.(weight|bias)$`),
      to: `${block}.attn.in_proj_$2#${part}`,
    })),
    { from: new RegExp(`${layer}self_attn\\.out_proj\\.`), to: `${block}.attn.out_proj.` },
    { from: new RegExp(`${layer}layer_norm(\\d)\\.`), to: `${block}.ln_$2.` },
    { from: new RegExp(`${layer}mlp\\.fc1\\.`), to: `${block}.mlp.c_fc.` },
    { from: new RegExp(`${layer}mlp\\.fc2\\.`), to: `${block}.mlp.c_proj.` },
  ];
}

/** timm's names inside a block (timm/models/vision_transformer.py, Block). */
export function timmBlockRules(from: string, to: string): Rule[] {
  const layer = `^${from}\\.blocks\\.(\\d+)\\.`;
  const block = `${to}.resblocks.$1`;
  return [
    { from: new RegExp(`${layer}norm(\\d)\\.`), to: `${block}.ln_$2.` },
    { from: new RegExp(`${layer}attn\\.qkv\\.(weight|bias)$`), to: `${block}.attn.in_proj_$2` },
    { from: new RegExp(`${layer}attn\\.proj\\.`), to: `${block}.attn.out_proj.` },
    { from: new RegExp(`${layer}mlp\\.fc1\\.`), to: `${block}.mlp.c_fc.` },
    { from: new RegExp(`${layer}mlp\\.fc2\\.`), to: `${block}.mlp.c_proj.` },
    { from: new RegExp(`${layer}ls(\\d)\\.gamma$`), to: `${block}.ls_$2.gamma` },
  ];
}
