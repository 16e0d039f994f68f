import { huggingFaceBlockRules, type BlockConfig } from "./blocks.js";
import type { Tower } from "./types.js";

export const TEXT_POOLS = ["argmax", "last", "first", "eos"] as const;

/** CLIP's text encoder (openai/CLIP, clip/model.py; open_clip's TextTransformer; SigLIP's). */
export interface TextTransformerConfig extends BlockConfig {
  kind: "transformer";
  contextLength: number;
  vocabSize: number;
  /** Tokens see only themselves and those before: then padding after the end never matters. */
  causal: boolean;
  /**
   * Which token becomes the embedding: the one with the highest id (CLIP's end), the last, the first "eos".
   */
  pool: (typeof TEXT_POOLS)[number];
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
        {
          from: /^(token_embedding\.|positional_embedding$|transformer\.|ln_final\.|text_projection$)/,
          to: "text.$1",
        },
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
    const said = TEXT_POOLS.find((pool) => pool === hints.pool);
    const pool = said === "eos" && endId >= vocabSize ? "argmax" : said;
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
};
