import { blockShapes, blockSources, huggingFaceBlockRules, norm, normSource, type BlockConfig } from "./blocks.js";
import type { Tower } from "./types.js";

/** CLIP's text encoder (openai/CLIP, clip/model.py; open_clip's TextTransformer; SigLIP's). */
export interface TextTransformerConfig extends BlockConfig {
  kind: "transformer";
  contextLength: number;
  vocabSize: number;
  /** Tokens see only themselves and those before: then padding after the end never matters. */
  causal: boolean;
  /** Which token becomes the embedding: the one with the highest id (CLIP's end), the last, the first "eos". */
  pool: "argmax" | "last" | "first" | "eos";
  /** Id of the end token, for pool "eos". */
  endId: number;
  /** A learned token after the text becomes the embedding (CoCa), whatever `pool` says. */
  appendedToken: boolean;
  padId: number;
  projection: boolean;
  projectionBias: boolean;
}

const LN_EPS = 1e-5;

export const textTransformer: Tower<TextTransformerConfig> = {
  kind: "transformer",
  layouts: [
    {
      name: "openai",
      probe: /^token_embedding\.weight$/,
      rules: [
        { from: /^attn_mask$/, to: "" },
        { from: /^(token_embedding\.|positional_embedding$|transformer\.|ln_final\.|text_projection$)/, to: "text.$1" },
      ],
    },
    {
      name: "open_clip",
      probe: /^text\.token_embedding\.weight$/,
      rules: [
        { from: /^text\.attn_mask$/, to: "" },
        { from: /^text\.text_projection\.weight$/, to: "text.text_projection", transpose: true },
        { from: /^text\.text_projection\.bias$/, to: "text.text_projection_bias" },
        { from: /^text\./, to: "text." },
      ],
    },
    {
      name: "huggingface",
      probe: /^text_model\.embeddings\.token_embedding\.weight$/,
      rules: [
        { from: /^text_model\.embeddings\.position_ids$/, to: "" },
        { from: /^text_model\.embeddings\.token_embedding\./, to: "text.token_embedding." },
        { from: /^text_model\.embeddings\.position_embedding\.weight$/, to: "text.positional_embedding" },
        { from: /^text_model\.final_layer_norm\./, to: "text.ln_final." },
        { from: /^text_projection\.weight$/, to: "text.text_projection", transpose: true },
        { from: /^text_model\.head\.weight$/, to: "text.text_projection", transpose: true },
        { from: /^text_model\.head\.bias$/, to: "text.text_projection_bias" },
        ...huggingFaceBlockRules("text_model", "text.transformer"),
      ],
    },
  ],

  configure(w, hints) {
    const [vocabSize, width] = w.shape("text.token_embedding.weight", 2);
    const [positions] = w.shape("text.positional_embedding", 2);
    const appendedToken = w.has("text.cls_emb");
    const projectionBias = w.has("text.text_projection_bias");
    // SigLIP's text encoder is the one with a biased projection: not causal, 16 heads at width 1152.
    const endId = hints.endId ?? vocabSize - 1;
    // An end token beyond the vocabulary is a default that the config left standing (CLIPTextConfig's 49407).
    const pool = hints.pool === "eos" && endId >= vocabSize ? "argmax" : (hints.pool as TextTransformerConfig["pool"] | undefined);
    return {
      kind: "transformer",
      width,
      layers: w.count("text.transformer.resblocks", "ln_1.weight"),
      heads: hints.heads ?? (width === 1152 ? 16 : width / 64),
      mlpWidth: w.shape("text.transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
      activation: hints.activation ?? "gelu",
      eps: hints.eps ?? LN_EPS,
      layerScale: w.has("text.transformer.resblocks.0.ls_1.gamma"),
      contextLength: positions - (appendedToken ? 1 : 0),
      vocabSize,
      causal: hints.causal ?? !projectionBias,
      pool: pool ?? (projectionBias ? "last" : "argmax"),
      endId,
      appendedToken,
      padId: hints.padId ?? 0,
      projection: w.has("text.text_projection"),
      projectionBias,
    };
  },

  shapes(c, embedDim) {
    const shapes = new Map<string, number[]>();
    shapes.set("text.token_embedding.weight", [c.vocabSize, c.width]);
    if (c.appendedToken) shapes.set("text.cls_emb", [c.width]);
    shapes.set("text.positional_embedding", [c.contextLength + (c.appendedToken ? 1 : 0), c.width]);
    blockShapes(shapes, "text.transformer", c);
    norm(shapes, "text.ln_final", c.width);
    if (c.projection) shapes.set("text.text_projection", [c.width, embedDim]);
    if (c.projectionBias) shapes.set("text.text_projection_bias", [embedDim]);
    return shapes;
  },

  sources(c) {
    const masked = c.appendedToken;
    const modules = blockSources("text.transformer", c, masked ? "mask" : c.causal ? "causal" : "none");
    const wide = `.view([-1, 1, 1]).expand([-1, 1, ${c.width}])`;
    const pools = {
      argmax: `x = x.gather(1, text.argmax(1)${wide}).squeeze(1)`,
      eos: `x = x.gather(1, (text == ${c.endId}).to(text.dtype).argmax(1)${wide}).squeeze(1)`,
      last: "x = x.select(1, x.size(1) - 1)",
      first: "x = x.select(1, 0)",
    };
    const lines = [
      "x = torch.embedding(self.token_embedding.weight, text)",
      ...(masked
        ? [
            `x = torch.cat([x, self.cls_emb.expand([x.size(0), 1, ${c.width}])], 1)`,
            "n = x.size(1)",
            // As open_clip trained CoCa: key j is seen where token j - 1 is no padding, and key 0 always.
            `seen = torch.cat([torch.ones_like(text.narrow(1, 0, 1)), (text != ${c.padId}).to(text.dtype)], 1)`,
            "rows = torch.ones([n, n], dtype=x.dtype, device=x.device).tril()",
            "keep = rows.unsqueeze(0) * seen.to(x.dtype).unsqueeze(1)",
            'mask = torch.zeros_like(keep).masked_fill(keep == 0, float("-inf")).unsqueeze(1)',
          ]
        : []),
      "x = x + self.positional_embedding.narrow(0, 0, x.size(1))",
      `x = self.transformer.forward(x${masked ? ", mask" : ""})`,
      masked ? pools.last : pools[c.pool],
      `x = ${normSource("x", "ln_final", c.width, c.eps)}`, // of one token alone: the same before and after pooling
      c.projection && "x = torch.matmul(x, self.text_projection)",
      c.projectionBias && "x = x + self.text_projection_bias",
      "return x",
    ];
    modules.push({
      path: "text",
      source: `\ndef forward(self, text: Tensor) -> Tensor:\n${lines
        .filter((l) => l)
        .map((l) => `    ${l}\n`)
        .join("")}`,
    });
    return modules;
  },
};
