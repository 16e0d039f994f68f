import type { ArtifactSpec } from "../../addon.js";
import { linear, linearSource, norm, normSource, stackSource } from "./blocks.js";
import { gridOf, squareImageSize } from "./grid.js";
import type { Tower } from "./types.js";

/**
 * EVA (Fang et al. 2022, 2023) as timm names it: EVA01-g, EVA02-B/L with rotary positions, a gated MLP and norms inside
 * (sub-LN), EVA02-E with its norms after the branches.
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
const ROTARY_GRID = 16; // positions are scaled to the 16 × 16 grid of the training (timm's ref_feat_shape)
const TEMPERATURE = 10000;
const FLOAT = 6; // at::kFloat: sources that C++ compiles have no torch.float
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
        { from: /^visual\.trunk\.blocks\.(\d+)\.attn\.qkv\.weight$/, to: "visual.blocks.$1.attn.in_proj_weight" },
        ...["q", "k", "v"].map((letter, part) => ({
          from: new RegExp(`^visual\\.trunk\\.blocks\\.(\\d+)\\.attn\\.${letter}_proj\\.weight$`),
          to: `visual.blocks.$1.attn.in_proj_weight#${part}`,
        })),
        { from: /^visual\.trunk\.blocks\.(\d+)\.attn\.([qv])_proj\.bias$/, to: "visual.blocks.$1.attn.$2_bias" },
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
      postNorm: /enormous/.test(hints.model ?? "") || width === 1792,
      projection: w.has("visual.proj"),
    };
  },

  shapes(c, embedDim) {
    const shapes = new Map<string, number[]>();
    shapes.set("visual.conv1.weight", [c.width, 3, c.patchSize, c.patchSize]).set("visual.conv1.bias", [c.width]);
    shapes.set("visual.class_embedding", [c.width]);
    shapes.set("visual.positional_embedding", [gridOf(c) ** 2 + 1, c.width]);
    for (let i = 0; i < c.layers; i++) {
      const block = `visual.blocks.${i}`;
      norm(shapes, `${block}.norm1`, c.width);
      shapes.set(`${block}.attn.in_proj_weight`, [3 * c.width, c.width]);
      shapes.set(`${block}.attn.q_bias`, [c.width]).set(`${block}.attn.v_bias`, [c.width]);
      if (c.innerNorm) norm(shapes, `${block}.attn.norm`, c.width);
      linear(shapes, `${block}.attn.proj`, c.width, c.width);
      norm(shapes, `${block}.norm2`, c.width);
      for (const name of c.gated ? ["fc1_g", "fc1_x"] : ["fc1"]) linear(shapes, `${block}.mlp.${name}`, c.mlpWidth, c.width);
      if (c.gated) norm(shapes, `${block}.mlp.norm`, c.mlpWidth);
      linear(shapes, `${block}.mlp.fc2`, c.width, c.mlpWidth);
    }
    norm(shapes, "visual.ln_post", c.width);
    if (c.projection) shapes.set("visual.proj", [c.width, embedDim]).set("visual.proj_bias", [embedDim]);
    return shapes;
  },

  sources(c) {
    const modules: ArtifactSpec["modules"] = [];
    for (let i = 0; i < c.layers; i++) modules.push({ path: `visual.blocks.${i}`, source: blockSource(c) });
    modules.push({ path: "visual.blocks", source: stackSource(c.layers, "", "rope").replaceAll("self.,", "self,") });
    modules.push({
      path: "visual",
      source: `${c.rotary ? ropeSource(c) : ""}
def forward(self, image: Tensor) -> Tensor:
    x = torch.conv2d(image, self.conv1.weight, self.conv1.bias, [${c.patchSize}, ${c.patchSize}])
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([self.class_embedding.expand([x.size(0), 1, ${c.width}]), x], 1)
    x = x + self.positional_embedding
    x = self.blocks.forward(x, ${c.rotary ? "self.rope(x)" : "x"})
    x = x.select(1, 0)
    x = ${normSource("x", "ln_post", c.width, c.eps)}
    return ${c.projection ? "torch.matmul(x, self.proj) + self.proj_bias" : "x"}
`,
    });
    return modules;
  },
};

function blockSource(c: EvaConfig): string {
  const head = c.width / c.heads;
  const rotate = `
def rotate(self, x: Tensor, rope: Tensor) -> Tensor:
    first = x.narrow(2, 0, 1)
    p = x.narrow(2, 1, x.size(2) - 1)
    pairs = p.unflatten(3, [-1, 2])
    turned = torch.stack([-pairs.select(4, 1), pairs.select(4, 0)], -1).flatten(3)
    return torch.cat([first, (p * rope[1] + turned * rope[0]).to(x.dtype)], 2)
`;
  const mlp = c.gated
    ? `
    h = torch.silu(${linearSource("y", "mlp.fc1_g")}) * ${linearSource("y", "mlp.fc1_x")}
    h = ${normSource("h", "mlp.norm", c.mlpWidth, c.eps)}
    h = ${linearSource("h", "mlp.fc2")}`
    : `
    h = torch.gelu(${linearSource("y", "mlp.fc1")})
    h = ${linearSource("h", "mlp.fc2")}`;
  return `${c.rotary ? rotate : ""}
def forward(self, x: Tensor, rope: Tensor) -> Tensor:
    b = x.size(0)
    n = x.size(1)
    y = ${c.postNorm ? "x" : normSource("x", "norm1", c.width, c.eps)}
    bias = torch.cat([self.attn.q_bias, torch.zeros_like(self.attn.q_bias), self.attn.v_bias])
    qkv = torch.linear(y, self.attn.in_proj_weight, bias).view([b, n, 3, ${c.heads}, ${head}]).permute([2, 0, 3, 1, 4])
    q = ${c.rotary ? "self.rotate(qkv[0], rope)" : "qkv[0]"}
    k = ${c.rotary ? "self.rotate(qkv[1], rope)" : "qkv[1]"}
    a = torch.scaled_dot_product_attention(q, k, qkv[2]).transpose(1, 2).reshape([b, n, ${c.width}])
    ${c.innerNorm ? `a = ${normSource("a", "attn.norm", c.width, c.eps)}` : ""}
    a = ${linearSource("a", "attn.proj")}
    x = x + ${c.postNorm ? normSource("a", "norm1", c.width, c.eps) : "a"}
    y = ${c.postNorm ? "x" : normSource("x", "norm2", c.width, c.eps)}${mlp}
    return x + ${c.postNorm ? normSource("h", "norm2", c.width, c.eps) : "h"}
`;
}

/** [2, patches, head width]: sine and cosine of each patch's angles, in fp32 (timm's RotaryEmbeddingCat). */
function ropeSource(c: EvaConfig): string {
  const grid = gridOf(c);
  return `
def rope(self, x: Tensor) -> Tensor:
    bands = torch.pow(${TEMPERATURE}.0, -torch.arange(${c.width / c.heads / 4}, dtype=${FLOAT}, device=x.device) / ${c.width / c.heads / 4})
    at = torch.arange(${grid}, dtype=${FLOAT}, device=x.device) / ${grid} * ${ROTARY_GRID}
    rows = at.view([-1, 1, 1]).expand([-1, ${grid}, 1]) * bands
    columns = at.view([1, -1, 1]).expand([${grid}, -1, 1]) * bands
    angle = torch.cat([rows, columns], -1).flatten(0, 1).repeat_interleave(2, 1)
    return torch.stack([angle.sin(), angle.cos()])

`;
}
