import type { Activation } from "../config.js";
import {
  activationSource,
  blockShapes,
  blockSources,
  huggingFaceBlockRules,
  linear,
  linearSource,
  norm,
  normSource,
  timmBlockRules,
  type BlockConfig,
} from "./blocks.js";
import { gridOf, squareImageSize } from "./grid.js";
import type { Tower } from "./types.js";

/**
 * The Vision Transformer in all the forms that CLIP models use: OpenAI's (Radford et al. 2021; openai/CLIP,
 * clip/model.py), open_clip's H, g, bigG, CLIPA and CoCa, and SigLIP's with its attention pooling (Zhai et al. 2023).
 */
export interface VitConfig extends BlockConfig {
  kind: "vit";
  patchSize: number;
  imageSize: number;
  patchBias: boolean;
  /** Kernel (and stride) of each convolution of the stem that makes the patches (MobileCLIP-B); empty: one convolution. */
  stem: { kernel: number; width: number }[];
  /** A learned token before the patches. */
  classToken: boolean;
  /** The class token has a position of its own. */
  classPosition: boolean;
  /** A layer norm before the first block. */
  preNorm: boolean;
  /**
   * What becomes the embedding: "token" the class token, "average" of the patches, "map" one learned query attends to
   * all (SigLIP), "queries" the first of many such (CoCa).
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
const TIMM_EPS = 1e-6; // timm's and SigLIP's; timm's ViTs of CLIP's kind, which have a norm before the blocks, take 1e-5
const HEAD_WIDTH = 64; // heads = width / 64 in clip/model.py

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
    const stem = Array.from({ length: steps }, (_, i) => w.shape(`visual.stem.${i}.conv.weight`, 4)).map(([width, , kernel]) => ({ kernel, width }));
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
      pool: queries ? "queries" : map ? "map" : hints.pool === "avg" ? "average" : "token",
      normAfterPool: hints.normAfterPool ?? false,
      poolHeads: hints.poolHeads ?? (queries ? 8 : heads),
      poolMlpWidth: map ? w.shape("visual.attn_pool.mlp.fc1.weight", 2)[0] : 0,
      projection: w.has("visual.proj"),
      projectionBias: w.has("visual.proj_bias"),
    };
  },

  shapes(c, embedDim) {
    const shapes = new Map<string, number[]>();
    if (c.stem.length === 0) shapes.set("visual.conv1.weight", [c.width, 3, c.patchSize, c.patchSize]);
    c.stem.forEach(({ kernel, width }, i) => {
      shapes.set(`visual.stem.${i}.conv.weight`, [width, i ? c.stem[i - 1].width : 3, kernel, kernel]);
      if (i === c.stem.length - 1) shapes.set(`visual.stem.${i}.conv.bias`, [width]);
      else for (const part of ["weight", "bias", "running_mean", "running_var"]) shapes.set(`visual.stem.${i}.bn.${part}`, [width]);
    });
    if (c.patchBias) shapes.set("visual.conv1.bias", [c.width]);
    if (c.classToken) shapes.set("visual.class_embedding", [c.width]);
    shapes.set("visual.positional_embedding", [gridOf(c) ** 2 + (c.classPosition ? 1 : 0), c.width]);
    if (c.preNorm) norm(shapes, "visual.ln_pre", c.width);
    blockShapes(shapes, "visual.transformer", c);
    const last = c.pool === "queries" ? embedDim : c.width;
    norm(shapes, "visual.ln_post", last);
    const pool = "visual.attn_pool";
    if (c.pool === "map") {
      shapes.set(`${pool}.latent`, [1, c.width]);
      shapes.set(`${pool}.in_proj_weight`, [3 * c.width, c.width]).set(`${pool}.in_proj_bias`, [3 * c.width]);
      linear(shapes, `${pool}.out_proj`, c.width, c.width);
      norm(shapes, `${pool}.norm`, c.width);
      linear(shapes, `${pool}.mlp.fc1`, c.poolMlpWidth, c.width);
      linear(shapes, `${pool}.mlp.fc2`, c.width, c.poolMlpWidth);
    } else if (c.pool === "queries") {
      shapes.set(`${pool}.query`, [-1, embedDim]); // as many as there are; the first one counts
      norm(shapes, `${pool}.ln_q`, embedDim);
      norm(shapes, `${pool}.ln_k`, c.width);
      shapes.set(`${pool}.attn.q_proj_weight`, [embedDim, embedDim]);
      shapes.set(`${pool}.attn.k_proj_weight`, [embedDim, c.width]).set(`${pool}.attn.v_proj_weight`, [embedDim, c.width]);
      shapes.set(`${pool}.attn.in_proj_bias`, [3 * embedDim]);
      linear(shapes, `${pool}.attn.out_proj`, embedDim, embedDim);
    }
    if (c.projection) shapes.set("visual.proj", [last, embedDim]);
    if (c.projectionBias) shapes.set("visual.proj_bias", [embedDim]);
    return shapes;
  },

  sources(c) {
    const modules = blockSources("visual.transformer", c, "none");
    if (c.pool === "map") modules.push({ path: "visual.attn_pool", source: mapPoolSource(c.width, c.poolHeads, c.activation, c.eps) });
    if (c.pool === "queries") modules.push({ path: "visual.attn_pool", source: queryPoolSource(c.width, c.poolHeads, c.eps) });
    const lines = [
      ...(c.stem.length
        ? ["x = image", ...stemLines(c)]
        : [`x = torch.conv2d(image, self.conv1.weight, ${c.patchBias ? "self.conv1.bias" : "None"}, [${c.patchSize}, ${c.patchSize}])`]),
      "x = x.flatten(2).transpose(1, 2)",
      !c.classPosition && "x = x + self.positional_embedding",
      c.classToken && `x = torch.cat([self.class_embedding.expand([x.size(0), 1, ${c.width}]), x], 1)`,
      c.classPosition && "x = x + self.positional_embedding",
      c.preNorm && `x = ${normSource("x", "ln_pre", c.width, c.eps)}`,
      "x = self.transformer.forward(x)",
      ...poolLines(c),
      c.projection && "x = torch.matmul(x, self.proj)",
      c.projectionBias && "x = x + self.proj_bias",
      "return x",
    ];
    modules.push({
      path: "visual",
      source: `\ndef forward(self, image: Tensor) -> Tensor:\n${lines
        .filter((l) => l)
        .map((l) => `    ${l}\n`)
        .join("")}`,
    });
    return modules;
  },
};

function stemLines(c: VitConfig): string[] {
  return c.stem.flatMap(({ kernel }, i) => {
    const at = `getattr(self.stem, "${i}")`;
    const last = i === c.stem.length - 1;
    const conv = `torch.conv2d(x, ${at}.conv.weight, ${last ? `${at}.conv.bias` : "None"}, [${kernel}, ${kernel}])`;
    if (last) return [`x = ${conv}`];
    return [`x = torch.gelu(torch.batch_norm(${conv}, ${at}.bn.weight, ${at}.bn.bias, ${at}.bn.running_mean, ${at}.bn.running_var, False, 0.1, 1e-05, False))`];
  });
}

function poolLines(c: VitConfig): string[] {
  const post = `x = ${normSource("x", "ln_post", c.width, c.eps)}`;
  const patches = c.classToken ? "x.narrow(1, 1, x.size(1) - 1)" : "x";
  switch (c.pool) {
    case "token": // a layer norm works on each token alone, so before and after are the same
      return ["x = x.select(1, 0)", post];
    case "average":
      return c.normAfterPool ? [`x = ${patches}.mean([1])`, post] : [post, `x = ${patches}.mean([1])`];
    case "map":
      return [post, "x = self.attn_pool.forward(x)"];
    case "queries":
      return ["x = self.attn_pool.forward(x)", "x = torch.layer_norm(x, [x.size(1)], self.ln_post.weight, self.ln_post.bias, " + `${c.eps})`];
  }
}

/** One learned query attends to all tokens, then a residual MLP (big_vision's MAPHead). */
function mapPoolSource(width: number, heads: number, activation: Activation, eps: number): string {
  const head = width / heads;
  return `
def forward(self, x: Tensor) -> Tensor:
    b = x.size(0)
    n = x.size(1)
    wq = self.in_proj_weight.narrow(0, 0, ${width})
    bq = self.in_proj_bias.narrow(0, 0, ${width})
    wkv = self.in_proj_weight.narrow(0, ${width}, ${2 * width})
    bkv = self.in_proj_bias.narrow(0, ${width}, ${2 * width})
    q = torch.linear(self.latent, wq, bq).view([1, 1, ${heads}, ${head}]).transpose(1, 2).expand([b, ${heads}, 1, ${head}])
    kv = torch.linear(x, wkv, bkv).view([b, n, 2, ${heads}, ${head}]).permute([2, 0, 3, 1, 4])
    a = torch.scaled_dot_product_attention(q, kv[0], kv[1])
    a = ${linearSource(`a.transpose(1, 2).reshape([b, ${width}])`, "out_proj")}
    h = ${normSource("a", "norm", width, eps)}
    h = ${linearSource("h", "mlp.fc1")}
    h = ${activationSource(activation, "h")}
    return a + ${linearSource("h", "mlp.fc2")}
`;
}

/** open_clip's AttentionalPooler; only the first query reaches the contrastive embedding. */
function queryPoolSource(width: number, heads: number, eps: number): string {
  return `
def forward(self, x: Tensor) -> Tensor:
    b = x.size(0)
    n = x.size(1)
    d = self.query.size(1)
    x = ${normSource("x", "ln_k", width, eps)}
    q = torch.layer_norm(self.query.narrow(0, 0, 1), [d], self.ln_q.weight, self.ln_q.bias, ${eps})
    q = torch.linear(q, self.attn.q_proj_weight, self.attn.in_proj_bias.narrow(0, 0, d))
    k = torch.linear(x, self.attn.k_proj_weight, self.attn.in_proj_bias.narrow(0, d, d))
    v = torch.linear(x, self.attn.v_proj_weight, self.attn.in_proj_bias.narrow(0, 2 * d, d))
    q = q.view([1, 1, ${heads}, -1]).transpose(1, 2).expand([b, -1, -1, -1])
    k = k.view([b, n, ${heads}, -1]).transpose(1, 2)
    v = v.view([b, n, ${heads}, -1]).transpose(1, 2)
    a = torch.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape([b, d])
    return ${linearSource("a", "attn.out_proj")}
`;
}
