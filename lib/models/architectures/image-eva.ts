import { squareImageSize } from "./grid.js";
import type { Tower } from "./types.js";

/**
 * EVA (Fang et al. 2022, 2023) as timm names it: EVA01-g, EVA02-B/L with rotary positions, a gated MLP and
 * norms inside (sub-LN), EVA02-E with its norms after the branches.
 */
export interface EvaConfig {
  kind: "eva";
  width: number;
  layers: number;
  heads: number;
  mlpWidth: number;
  eps: number;
  patchSize: number;
  imageSize: number;
  /** Rotary position embedding on queries and keys of the patches. */
  rotary: boolean;
  /** MLP of SiLU(gate) × value with a norm between. */
  gated: boolean;
  /** A norm on what attention gives, before its projection. */
  innerNorm: boolean;
  /** Norms come after attention and MLP instead of before. */
  postNorm: boolean;
  projection: boolean;
}

const EPS = 1e-6;
const WIDE_HEADS = new Map([
  [1408, 16],
  [1792, 16],
]);

export const imageEva: Tower<EvaConfig> = {
  kind: "eva",
  layouts: [
    {
      name: "timm",
      probe: /^visual\.trunk\.blocks\.0\.attn\.(q_bias|q_proj\.bias)$/,
      rules: [
        { from: /^visual\.trunk\.cls_token$/, to: "visual.class_embedding", squeeze: true },
        { from: /^visual\.trunk\.pos_embed$/, to: "visual.positional_embedding", squeeze: true },
        { from: /^visual\.trunk\.patch_embed\.proj\./, to: "visual.conv1." },
        { from: /^visual\.trunk\.norm\./, to: "visual.ln_post." },
        { from: /^visual\.trunk\.head\.weight$/, to: "visual.proj", transpose: true },
        { from: /^visual\.trunk\.head\.bias$/, to: "visual.proj_bias" },
        { from: /^visual\.trunk\.rope\./, to: "" },
        {
          from: /^visual\.trunk\.blocks\.(\d+)\.attn\.qkv\.weight$/,
          to: "visual.blocks.$1.attn.in_proj_weight",
        },
        ...["q", "k", "v"].map((letter, part) => ({
          from: new RegExp(`^visual\\.trunk\\.blocks\\.(\\d+)\\.attn\\.${letter}_proj\\.weight$`),
          to: `visual.blocks.$1.attn.in_proj_weight#${part}`,
        })),
        {
          from: /^visual\.trunk\.blocks\.(\d+)\.attn\.([qv])_proj\.bias$/,
          to: "visual.blocks.$1.attn.$2_bias",
        },
        { from: /^visual\.trunk\.blocks\./, to: "visual.blocks." },
      ],
    },
  ],

  configure(w, hints) {
    const [width, , patchSize] = w.shape("visual.conv1.weight", 4);
    const [positions] = w.shape("visual.positional_embedding", 2);
    const gated = w.has("visual.blocks.0.mlp.fc1_g.weight");
    return {
      kind: "eva",
      width,
      layers: w.count("visual.blocks", "norm1.weight"),
      heads: hints.heads ?? WIDE_HEADS.get(width) ?? width / 64,
      mlpWidth: w.shape(`visual.blocks.0.mlp.${gated ? "fc1_g" : "fc1"}.weight`, 2)[0],
      eps: hints.eps ?? EPS,
      patchSize,
      imageSize: squareImageSize(positions - 1, patchSize, hints),
      rotary: gated,
      gated,
      innerNorm: w.has("visual.blocks.0.attn.norm.weight"),
      postNorm: (hints.model ?? "").includes("enormous") || width === 1792,
      projection: w.has("visual.proj"),
    };
  },
};
