import { huggingFaceBlockRules, timmBlockRules, type BlockConfig } from "./blocks.js";
import { squareImageSize } from "./grid.js";
import type { Shapes, Tower, TowerHints } from "./types.js";

/**
 * The Vision Transformer in all the forms that CLIP models use: OpenAI's (Radford et al. 2021; openai/CLIP,
 * clip/model.py), open_clip's H, g, bigG, CLIPA and CoCa, and SigLIP's with its attention pooling (Zhai et
 * al. 2023).
 */
export interface VitConfig extends BlockConfig {
  kind: "vit";
  patchSize: number;
  imageSize: number;
  patchBias: boolean;
  /**
   * Kernel (and stride) of each convolution of the stem that makes the patches (MobileCLIP-B); empty: one
   * convolution.
   */
  stem: { kernel: number; width: number }[];
  /** A learned token before the patches. */
  classToken: boolean;
  /** The class token has a position of its own. */
  classPosition: boolean;
  /** A layer norm before the first block. */
  preNorm: boolean;
  /**
   * What becomes the embedding: "token" the class token, "average" of the patches, "map" one learned query
   * attends to all (SigLIP), "queries" the first of many such (CoCa).
   */
  pool: "token" | "average" | "map" | "queries";
  /** The last layer norm comes after pooling instead of before (the same for "token"). */
  normAfterPool: boolean;
  poolHeads: number;
  /** Width of the MLP after "map" pooling. */
  poolMlpWidth: number;
  /** A matrix to the embedding dimension at the end. */
  projection: boolean;
  projectionBias: boolean;
}

const LN_EPS = 1e-5; // torch.nn.LayerNorm's default
/** timm's and SigLIP's; timm's ViTs of CLIP's kind, which have a norm before the blocks, take 1e-5. */
const TIMM_EPS = 1e-6;
const HEAD_WIDTH = 64; // heads = width / 64 in clip/model.py

/** How the tokens become one vector. */
function poolOf(w: Shapes, hints: TowerHints): VitConfig["pool"] {
  if (w.has("visual.attn_pool.query")) return "queries";
  if (w.has("visual.attn_pool.latent")) return "map";
  return hints.pool === "avg" ? "average" : "token";
}

export const imageVit: Tower<VitConfig> = {
  kind: "vit",
  layouts: [
    {
      // OpenAI's and open_clip's own names are the canonical ones.
      name: "open_clip",
      probe: /^visual\.conv1\.weight$/,
      rules: [{ from: /^visual\.(?!trunk\.)(?!layer\d)/, to: "visual." }],
    },
    {
      name: "huggingface",
      probe: /^vision_model\.embeddings\.patch_embedding\.weight$/,
      rules: [
        { from: /^vision_model\.embeddings\.position_ids$/, to: "" },
        { from: /^vision_model\.embeddings\.class_embedding$/, to: "visual.class_embedding" },
        { from: /^vision_model\.embeddings\.patch_embedding\./, to: "visual.conv1." },
        { from: /^vision_model\.embeddings\.position_embedding\.weight$/, to: "visual.positional_embedding" },
        { from: /^vision_model\.pre_layrnorm\./, to: "visual.ln_pre." },
        { from: /^vision_model\.post_layernorm\./, to: "visual.ln_post." },
        { from: /^visual_projection\.weight$/, to: "visual.proj", transpose: true },
        { from: /^vision_model\.head\.probe$/, to: "visual.attn_pool.latent", squeeze: true },
        { from: /^vision_model\.head\.attention\./, to: "visual.attn_pool." },
        { from: /^vision_model\.head\.layernorm\./, to: "visual.attn_pool.norm." },
        { from: /^vision_model\.head\.mlp\./, to: "visual.attn_pool.mlp." },
        ...huggingFaceBlockRules("vision_model", "visual.transformer"),
      ],
    },
    {
      name: "timm",
      probe: /^visual\.trunk\.blocks\.0\.attn\.qkv\.weight$/,
      rules: [
        { from: /num_batches_tracked$/, to: "" },
        { from: /^visual\.trunk\.patch_embed\.backbone\./, to: "visual.stem." },
        { from: /^visual\.trunk\.cls_token$/, to: "visual.class_embedding", squeeze: true },
        { from: /^visual\.trunk\.pos_embed$/, to: "visual.positional_embedding", squeeze: true },
        { from: /^visual\.trunk\.patch_embed\.proj\./, to: "visual.conv1." },
        { from: /^visual\.trunk\.norm_pre\./, to: "visual.ln_pre." },
        { from: /^visual\.trunk\.norm\./, to: "visual.ln_post." },
        { from: /^visual\.trunk\.head\.weight$/, to: "visual.proj", transpose: true },
        { from: /^visual\.trunk\.head\.bias$/, to: "visual.proj_bias" },
        { from: /^visual\.head\.proj\.weight$/, to: "visual.proj", transpose: true },
        { from: /^visual\.trunk\.attn_pool\.latent$/, to: "visual.attn_pool.latent", squeeze: true },
        { from: /^visual\.trunk\.attn_pool\.q\.(weight|bias)$/, to: "visual.attn_pool.in_proj_$1#0" },
        { from: /^visual\.trunk\.attn_pool\.kv\.(weight|bias)$/, to: "visual.attn_pool.in_proj_$1#1" },
        { from: /^visual\.trunk\.attn_pool\.proj\./, to: "visual.attn_pool.out_proj." },
        { from: /^visual\.trunk\.attn_pool\.(norm|mlp\.fc\d)\./, to: "visual.attn_pool.$1." },
        ...timmBlockRules("visual\\.trunk", "visual.transformer"),
      ],
    },
  ],

  configure(w, hints) {
    const steps = w.has("visual.stem.0.conv.weight") ? w.count("visual.stem", "conv.weight") : 0;
    const stem = Array.from({ length: steps }, (_, i) => {
      const [width, , kernel] = w.shape(`visual.stem.${i}.conv.weight`, 4);
      return { kernel, width };
    });
    const [positions, width] = w.shape("visual.positional_embedding", 2);
    const patchSize = steps ? stem.reduce((n, s) => n * s.kernel, 1) : w.shape("visual.conv1.weight", 4)[2];
    const classToken = w.has("visual.class_embedding");
    const fromTimm = w.has("visual.attn_pool.latent") || (hints.model ?? "").startsWith("vit_");
    // timm alone has class tokens without a position.
    const classPosition = classToken && !(fromTimm && Number.isInteger(Math.sqrt(positions)));
    const imageSize = squareImageSize(positions - (classPosition ? 1 : 0), patchSize, hints);
    const preNorm = w.has("visual.ln_pre.weight") || w.has("visual.ln_pre.bias");
    const queries = w.has("visual.attn_pool.query");
    const map = w.has("visual.attn_pool.latent");
    const heads = hints.heads ?? (map && width === 1152 ? 16 : width / (hints.headWidth ?? HEAD_WIDTH));
    return {
      kind: "vit",
      width,
      layers: w.count("visual.transformer.resblocks", "ln_1.weight"),
      heads,
      mlpWidth: w.shape("visual.transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
      activation: hints.activation ?? "gelu",
      eps: hints.eps ?? (fromTimm && !preNorm ? TIMM_EPS : LN_EPS),
      layerScale: w.has("visual.transformer.resblocks.0.ls_1.gamma"),
      patchSize,
      imageSize,
      patchBias: w.has("visual.conv1.bias"),
      stem,
      classToken,
      classPosition,
      preNorm,
      pool: poolOf(w, hints),
      normAfterPool: hints.normAfterPool ?? false,
      poolHeads: hints.poolHeads ?? (queries ? 8 : heads),
      poolMlpWidth: map ? w.shape("visual.attn_pool.mlp.fc1.weight", 2)[0] : 0,
      projection: w.has("visual.proj"),
      projectionBias: w.has("visual.proj_bias"),
    };
  },
};
