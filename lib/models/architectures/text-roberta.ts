import type { ArtifactSpec } from "../../addon.js";
import { linear, linearSource, norm, normSource, stackSource } from "./blocks.js";
import type { Tower } from "./types.js";

/** RoBERTa and XLM-R (Conneau et al. 2019) as open_clip's text encoder: mean of the tokens, then a projection. */
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
          from: new RegExp(`^text\\.transformer\\.encoder\\.layer\\.(\\d+)\\.attention\\.self\\.${name}\\.(weight|bias)$`),
          to: `text.layers.$1.attn.in_proj_$2#${part}`,
        })),
        { from: /^text\.transformer\.encoder\.layer\.(\d+)\.attention\.output\.dense\./, to: "text.layers.$1.attn.out_proj." },
        { from: /^text\.transformer\.encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\./, to: "text.layers.$1.ln_1." },
        { from: /^text\.transformer\.encoder\.layer\.(\d+)\.intermediate\.dense\./, to: "text.layers.$1.mlp.c_fc." },
        { from: /^text\.transformer\.encoder\.layer\.(\d+)\.output\.dense\./, to: "text.layers.$1.mlp.c_proj." },
        { from: /^text\.transformer\.encoder\.layer\.(\d+)\.output\.LayerNorm\./, to: "text.layers.$1.ln_2." },
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

  shapes(c, embedDim) {
    const shapes = new Map<string, number[]>();
    shapes.set("text.embeddings.word", [c.vocabSize, c.width]).set("text.embeddings.position", [c.positions, c.width]);
    shapes.set("text.embeddings.token_type", [1, c.width]);
    norm(shapes, "text.embeddings.norm", c.width);
    for (let i = 0; i < c.layers; i++) {
      const layer = `text.layers.${i}`;
      shapes.set(`${layer}.attn.in_proj_weight`, [3 * c.width, c.width]).set(`${layer}.attn.in_proj_bias`, [3 * c.width]);
      linear(shapes, `${layer}.attn.out_proj`, c.width, c.width);
      norm(shapes, `${layer}.ln_1`, c.width);
      linear(shapes, `${layer}.mlp.c_fc`, c.mlpWidth, c.width);
      linear(shapes, `${layer}.mlp.c_proj`, c.width, c.mlpWidth);
      norm(shapes, `${layer}.ln_2`, c.width);
    }
    if (c.projection === "linear") shapes.set("text.proj.0", [embedDim, c.width]);
    else shapes.set("text.proj.0", [c.projectionWidth, c.width]).set("text.proj.2", [embedDim, c.projectionWidth]);
    return shapes;
  },

  sources(c) {
    const modules: ArtifactSpec["modules"] = Array.from({ length: c.layers }, (_, i) => ({ path: `text.layers.${i}`, source: layerSource(c) }));
    modules.push({ path: "text.layers", source: stackSource(c.layers, "", "mask").replaceAll("self.,", "self,") });
    const project = (n: string) => `torch.linear(x, getattr(self.proj, "${n}"))`;
    modules.push({
      path: "text",
      source: `
def forward(self, text: Tensor) -> Tensor:
    seen = text != ${c.padId}
    ones = seen.to(text.dtype)
    at = ones.cumsum(1) * ones + ${c.padId}
    x = torch.embedding(self.embeddings.word, text) + self.embeddings.token_type[0]
    x = x + torch.embedding(self.embeddings.position, at)
    x = ${normSource("x", "embeddings.norm", c.width, c.eps)}
    mask = torch.zeros_like(text, dtype=x.dtype).masked_fill(text == ${c.padId}, float("-inf")).view([text.size(0), 1, 1, text.size(1)])
    x = self.layers.forward(x, mask)
    ${c.pool === "cls" ? "x = x.select(1, 0)" : "w = seen.to(x.dtype).unsqueeze(2)\n    x = (x * w).sum([1]) / w.sum([1])"}
    x = ${project("0")}
    ${c.projection === "mlp" ? `x = torch.gelu(x)\n    x = ${project("2")}` : ""}
    return x
`,
    });
    return modules;
  },
};

function layerSource(c: RobertaConfig): string {
  return `
def forward(self, x: Tensor, mask: Tensor) -> Tensor:
    b = x.size(0)
    n = x.size(1)
    qkv = torch.linear(x, self.attn.in_proj_weight, self.attn.in_proj_bias)
    qkv = qkv.view([b, n, 3, ${c.heads}, ${c.width / c.heads}]).permute([2, 0, 3, 1, 4])
    a = torch.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], mask)
    a = ${linearSource(`a.transpose(1, 2).reshape([b, n, ${c.width}])`, "attn.out_proj")}
    x = ${normSource("x + a", "ln_1", c.width, c.eps)}
    h = torch.gelu(${linearSource("x", "mlp.c_fc")})
    return ${normSource(`x + ${linearSource("h", "mlp.c_proj")}`, "ln_2", c.width, c.eps)}
`;
}
