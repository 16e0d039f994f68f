import type { ArtifactSpec } from "../../addon.js";
import type { Activation } from "../config.js";
import type { Rule } from "./types.js";

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

export function activationSource(activation: Activation, x: string): string {
  if (activation === "quick_gelu") return `${x} * torch.sigmoid(1.702 * ${x})`; // openai/CLIP, clip/model.py
  return activation === "gelu_tanh" ? `torch.gelu(${x}, approximate="tanh")` : `torch.gelu(${x})`;
}

export function norm(shapes: Map<string, number[]>, key: string, width: number): void {
  shapes.set(`${key}.weight`, [width]).set(`${key}.bias`, [width]);
}

export function linear(shapes: Map<string, number[]>, key: string, out: number, inner: number): void {
  shapes.set(`${key}.weight`, [out, inner]).set(`${key}.bias`, [out]);
}

export function normSource(x: string, key: string, width: number, eps: number): string {
  return `torch.layer_norm(${x}, [${width}], self.${key}.weight, self.${key}.bias, ${eps})`;
}

export function linearSource(x: string, key: string): string {
  return `torch.linear(${x}, self.${key}.weight, self.${key}.bias)`;
}

export function blockShapes(shapes: Map<string, number[]>, prefix: string, c: BlockConfig): void {
  for (let i = 0; i < c.layers; i++) {
    const block = `${prefix}.resblocks.${i}`;
    norm(shapes, `${block}.ln_1`, c.width);
    shapes.set(`${block}.attn.in_proj_weight`, [3 * c.width, c.width]).set(`${block}.attn.in_proj_bias`, [3 * c.width]);
    linear(shapes, `${block}.attn.out_proj`, c.width, c.width);
    norm(shapes, `${block}.ln_2`, c.width);
    linear(shapes, `${block}.mlp.c_fc`, c.mlpWidth, c.width);
    linear(shapes, `${block}.mlp.c_proj`, c.width, c.mlpWidth);
    if (c.layerScale) shapes.set(`${block}.ls_1.gamma`, [c.width]).set(`${block}.ls_2.gamma`, [c.width]);
  }
}

/** "none": all tokens see all; "causal": each sees itself and those before; "mask": an additive mask is passed in. */
export type Masking = "none" | "causal" | "mask";

function blockSource(c: BlockConfig, masking: Masking): string {
  const scaled = (key: string, x: string) => (c.layerScale ? `${x} * self.${key}.gamma` : x);
  const mask = masking === "mask" ? "mask" : "None";
  return `
def forward(self, x: Tensor${masking === "mask" ? ", mask: Tensor" : ""}) -> Tensor:
    b = x.size(0)
    n = x.size(1)
    y = ${normSource("x", "ln_1", c.width, c.eps)}
    qkv = torch.linear(y, self.attn.in_proj_weight, self.attn.in_proj_bias)
    qkv = qkv.view([b, n, 3, ${c.heads}, ${c.width / c.heads}]).permute([2, 0, 3, 1, 4])
    a = torch.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], ${mask}, 0.0, ${masking === "causal" ? "True" : "False"})
    a = a.transpose(1, 2).reshape([b, n, ${c.width}])
    a = ${linearSource("a", "attn.out_proj")}
    x = x + ${scaled("ls_1", "a")}
    y = ${normSource("x", "ln_2", c.width, c.eps)}
    h = ${linearSource("y", "mlp.c_fc")}
    h = ${activationSource(c.activation, "h")}
    h = ${linearSource("h", "mlp.c_proj")}
    return x + ${scaled("ls_2", "h")}
`;
}

export function stackSource(count: number, list: string, argument = ""): string {
  const more = argument ? `, ${argument}` : "";
  const calls = Array.from({ length: count }, (_, i) => `    x = getattr(self.${list}, "${i}").forward(x${more})\n`);
  return `\ndef forward(self, x: Tensor${argument ? `, ${argument}: Tensor` : ""}) -> Tensor:\n${calls.join("")}    return x\n`;
}

/** The modules of a stack of blocks. */
export function blockSources(prefix: string, c: BlockConfig, masking: Masking): ArtifactSpec["modules"] {
  const source = blockSource(c, masking);
  return [
    ...Array.from({ length: c.layers }, (_, i) => ({ path: `${prefix}.resblocks.${i}`, source })),
    { path: prefix, source: stackSource(c.layers, "resblocks", masking === "mask" ? "mask" : "") },
  ];
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
