import type { Tower } from "./types.js";

/**
 * RoBERTa and XLM-R (Conneau et al. 2019) as open_clip's text encoder: mean of the tokens, then a projection.
 */
export interface RobertaConfig {
  kind: "roberta";
  width: number;
  layers: number;
  heads: number;
  mlpWidth: number;
  eps: number;
  contextLength: number;
  vocabSize: number;
  positions: number;
  padId: number;
  pool: "mean" | "cls";
  projection: "linear" | "mlp";
  projectionWidth: number;
}

const EPS = 1e-5; // layer_norm_eps of roberta-base and xlm-roberta
const PAD_ID = 1;

export const textRoberta: Tower<RobertaConfig> = {
  kind: "roberta",
  layouts: [
    {
      name: "open_clip",
      probe: /^text\.transformer\.embeddings\.word_embeddings\.weight$/,
      rules: [
        { from: /^text\.transformer\.embeddings\.position_ids$/, to: "" },
        { from: /^text\.transformer\.embeddings\.token_type_ids$/, to: "" },
        { from: /^text\.transformer\.pooler\./, to: "" }, // HF's own pooler, which open_clip does not use
        { from: /^text\.transformer\.embeddings\.LayerNorm\./, to: "text.embeddings.norm." },
        { from: /^text\.transformer\.embeddings\.(\w+)_embeddings\.weight$/, to: "text.embeddings.$1" },
        ...["query", "key", "value"].map((name, part) => ({
          from: new RegExp(
            `^text\\.transformer\\.encoder\\.layer\\.(\\d+)\\.attention\\.self\\.${name}\\.(weight|bias)$`,
          ),
          to: `text.layers.$1.attn.in_proj_$2#${part}`,
        })),
        {
          from: /^text\.transformer\.encoder\.layer\.(\d+)\.attention\.output\.dense\./,
          to: "text.layers.$1.attn.out_proj.",
        },
        {
          from: /^text\.transformer\.encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\./,
          to: "text.layers.$1.ln_1.",
        },
        {
          from: /^text\.transformer\.encoder\.layer\.(\d+)\.intermediate\.dense\./,
          to: "text.layers.$1.mlp.c_fc.",
        },
        {
          from: /^text\.transformer\.encoder\.layer\.(\d+)\.output\.dense\./,
          to: "text.layers.$1.mlp.c_proj.",
        },
        {
          from: /^text\.transformer\.encoder\.layer\.(\d+)\.output\.LayerNorm\./,
          to: "text.layers.$1.ln_2.",
        },
        { from: /^text\.proj\.weight$/, to: "text.proj.0" },
        { from: /^text\.proj\.0\.weight$/, to: "text.proj.0" },
        { from: /^text\.proj\.2\.weight$/, to: "text.proj.2" },
      ],
    },
  ],

  configure(w, hints) {
    const [vocabSize, width] = w.shape("text.embeddings.word", 2);
    const [positions] = w.shape("text.embeddings.position", 2);
    return {
      kind: "roberta",
      width,
      layers: w.count("text.layers", "ln_1.weight"),
      heads: hints.heads ?? width / 64,
      mlpWidth: w.shape("text.layers.0.mlp.c_fc.weight", 2)[0],
      eps: hints.eps ?? EPS,
      contextLength: hints.contextLength ?? 77,
      vocabSize,
      positions,
      padId: hints.padId ?? PAD_ID,
      pool: hints.pool === "cls" ? "cls" : "mean",
      projection: w.has("text.proj.2") ? "mlp" : "linear",
      projectionWidth: w.shape("text.proj.0", 2)[0],
    };
  },
};
