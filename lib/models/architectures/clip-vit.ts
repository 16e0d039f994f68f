import type { ArtifactSpec, TensorPart } from "../../addon.js";
import { TorchclipError } from "../../errors.js";
import type { ModelConfig } from "../config.js";
import type { WeightFile } from "../formats/types.js";

/**
 * OpenAI's CLIP with a Vision Transformer (Radford et al. 2021; openai/CLIP, clip/model.py): its key names in the two
 * layouts in which it is published, its shapes, and its TorchScript source. Parameters keep OpenAI's names.
 */
export const name = "clip-vit";

const HEAD_WIDTH = 64; // heads = width / 64 in clip/model.py
const EPS = 1e-5;

type Tensors = ArtifactSpec["tensors"];
export interface Mapped {
  /** OpenAI's name to the parts that make the tensor. */
  tensors: Map<string, { parts: TensorPart[]; transpose: boolean }>;
}

/** Whether the file's keys are this architecture's, and in which layout. */
export function layoutOf(weights: WeightFile): "openai" | "huggingface" | undefined {
  if (weights.tensors.has("visual.conv1.weight") && weights.tensors.has("visual.class_embedding")) return "openai";
  if (weights.tensors.has("vision_model.embeddings.patch_embedding.weight")) return "huggingface";
  return undefined;
}

export function mapKeys(weights: WeightFile): Mapped {
  return layoutOf(weights) === "openai" ? mapOpenai(weights) : mapHuggingFace(weights);
}

function mapOpenai(weights: WeightFile): Mapped {
  const tensors: Mapped["tensors"] = new Map();
  for (const [key, part] of weights.tensors) tensors.set(key, { parts: [part], transpose: false });
  return { tensors };
}

const HF_NAMES: [RegExp, string][] = [
  [/^vision_model\.embeddings\.class_embedding$/, "visual.class_embedding"],
  [/^vision_model\.embeddings\.patch_embedding\.weight$/, "visual.conv1.weight"],
  [/^vision_model\.embeddings\.position_embedding\.weight$/, "visual.positional_embedding"],
  [/^vision_model\.pre_layrnorm\./, "visual.ln_pre."],
  [/^vision_model\.post_layernorm\./, "visual.ln_post."],
  [/^vision_model\.encoder\.layers\./, "visual.transformer.resblocks."],
  [/^visual_projection\.weight$/, "visual.proj"],
  [/^text_model\.embeddings\.token_embedding\.weight$/, "token_embedding.weight"],
  [/^text_model\.embeddings\.position_embedding\.weight$/, "positional_embedding"],
  [/^text_model\.encoder\.layers\./, "transformer.resblocks."],
  [/^text_model\.final_layer_norm\./, "ln_final."],
  [/^text_projection\.weight$/, "text_projection"],
  [/^logit_scale$/, "logit_scale"],
];
const HF_BLOCK_NAMES: [string, string][] = [
  [".layer_norm1.", ".ln_1."],
  [".layer_norm2.", ".ln_2."],
  [".self_attn.out_proj.", ".attn.out_proj."],
  [".mlp.fc1.", ".mlp.c_fc."],
  [".mlp.fc2.", ".mlp.c_proj."],
];

function mapHuggingFace(weights: WeightFile): Mapped {
  const tensors: Mapped["tensors"] = new Map();
  for (const [key, part] of weights.tensors) {
    const rule = HF_NAMES.find(([pattern]) => pattern.test(key));
    if (!rule) continue;
    let to = key.replace(rule[0], rule[1]);
    for (const [from, name] of HF_BLOCK_NAMES) to = to.replace(from, name);
    const qkv = /^(.*)\.self_attn\.([qkv])_proj\.(weight|bias)$/.exec(to);
    if (!qkv) {
      // Hugging Face's projections are Linear layers: [out, in] where OpenAI multiplies by [in, out].
      tensors.set(to, { parts: [part], transpose: to === "visual.proj" || to === "text_projection" });
    } else if (qkv[2] === "q") {
      const parts = ["q", "k", "v"].map((letter) => {
        const name = key.replace(".q_proj.", `.${letter}_proj.`);
        const found = weights.tensors.get(name);
        if (!found) throw new TorchclipError("E_MODEL_CORRUPT", `${part.file}: ${name} is missing`, { subject: part.file });
        return found;
      });
      tensors.set(`${qkv[1]}.attn.in_proj_${qkv[3]}`, { parts, transpose: false });
    }
  }
  return { tensors };
}

export interface Hints {
  activation?: ModelConfig["activation"];
  visionHeads?: number;
  textHeads?: number;
}

/** Sizes from the shapes of the weights; the number of heads by OpenAI's rule unless the checkpoint's config says it. */
export function sizes({ tensors }: Mapped, file: string, hints: Hints): Pick<ModelConfig, "embedDim" | "vision" | "text"> {
  const shape = (key: string, rank: number): number[] => {
    const entry = tensors.get(key);
    if (!entry) throw new TorchclipError("E_MODEL_CORRUPT", `${file}: ${key} is missing`, { subject: file });
    const s = entry.parts[0].shape;
    if (s.length !== rank) throw new TorchclipError("E_MODEL_CORRUPT", `${file}: ${key} has shape [${s.join(", ")}], expected ${rank} axes`, { subject: file });
    return entry.transpose ? s.slice().reverse() : s;
  };
  const layers = (prefix: string) => {
    let n = 0;
    while (tensors.has(`${prefix}.resblocks.${n}.ln_1.weight`)) n++;
    return n;
  };
  const [visionWidth, , patchSize] = shape("visual.conv1.weight", 4);
  const grid = Math.round(Math.sqrt(shape("visual.positional_embedding", 2)[0] - 1));
  const [textWidth, embedDim] = shape("text_projection", 2);
  const [contextLength] = shape("positional_embedding", 2);
  const [vocabSize] = shape("token_embedding.weight", 2);
  return {
    embedDim,
    vision: {
      width: visionWidth,
      layers: layers("visual.transformer"),
      heads: hints.visionHeads ?? visionWidth / HEAD_WIDTH,
      patchSize,
      imageSize: grid * patchSize,
    },
    text: { width: textWidth, layers: layers("transformer"), heads: hints.textHeads ?? textWidth / HEAD_WIDTH, contextLength, vocabSize },
  };
}

/** Every parameter that the architecture has, with its shape. */
function expectedShapes(c: ModelConfig): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  const norm = (key: string, width: number) => shapes.set(`${key}.weight`, [width]).set(`${key}.bias`, [width]);
  const linear = (key: string, out: number, inner: number) => shapes.set(`${key}.weight`, [out, inner]).set(`${key}.bias`, [out]);
  const blocks = (prefix: string, width: number, layers: number) => {
    for (let i = 0; i < layers; i++) {
      const block = `${prefix}.resblocks.${i}`;
      norm(`${block}.ln_1`, width);
      norm(`${block}.ln_2`, width);
      shapes.set(`${block}.attn.in_proj_weight`, [3 * width, width]).set(`${block}.attn.in_proj_bias`, [3 * width]);
      linear(`${block}.attn.out_proj`, width, width);
      linear(`${block}.mlp.c_fc`, 4 * width, width);
      linear(`${block}.mlp.c_proj`, width, 4 * width);
    }
  };
  const { vision: v, text: t } = c;
  shapes.set("visual.conv1.weight", [v.width, 3, v.patchSize, v.patchSize]);
  shapes.set("visual.class_embedding", [v.width]);
  shapes.set("visual.positional_embedding", [(v.imageSize / v.patchSize) ** 2 + 1, v.width]);
  norm("visual.ln_pre", v.width);
  blocks("visual.transformer", v.width, v.layers);
  norm("visual.ln_post", v.width);
  shapes.set("visual.proj", [v.width, c.embedDim]);
  shapes.set("token_embedding.weight", [t.vocabSize, t.width]);
  shapes.set("positional_embedding", [t.contextLength, t.width]);
  blocks("transformer", t.width, t.layers);
  norm("ln_final", t.width);
  shapes.set("text_projection", [t.width, c.embedDim]);
  shapes.set("logit_scale", []);
  return shapes;
}

/** The tensors of the artifact; names the first key that is missing or has another shape. */
export function artifactTensors(c: ModelConfig, { tensors }: Mapped, file: string): Tensors {
  const dtype = c.storedDtype === "fp16" ? "F16" : "F32";
  const result: Tensors = [];
  for (const [key, shape] of expectedShapes(c)) {
    const entry = tensors.get(key);
    if (!entry) throw new TorchclipError("E_MODEL_CORRUPT", `${file}: ${key} is missing`, { subject: file });
    const { parts, transpose } = entry;
    const rows = parts.reduce((n, p) => n + (p.shape[0] ?? 0), 0);
    const joined = parts.length > 1 ? [rows, ...parts[0].shape.slice(1)] : parts[0].shape;
    const found = transpose ? joined.slice().reverse() : joined;
    // Some checkpoints hold the scale as [1].
    const fits = found.join() === shape.join() || (key === "logit_scale" && found.join() === "1");
    if (!fits) {
      throw new TorchclipError("E_MODEL_CORRUPT", `${file}: ${key} has shape [${found.join(", ")}], expected [${shape.join(", ")}]`, { subject: file });
    }
    const stored = key === "logit_scale" ? parts.map((p) => ({ ...p, shape: [] })) : parts;
    result.push({ name: key, parts: stored, transpose, buffer: key === "logit_scale", dtype });
  }
  return result;
}

function blockSource(width: number, heads: number, causal: boolean, activation: ModelConfig["activation"]): string {
  const act = activation === "quick_gelu" ? "h * torch.sigmoid(1.702 * h)" : "torch.gelu(h)";
  return `
def forward(self, x: Tensor) -> Tensor:
    b = x.size(0)
    n = x.size(1)
    y = torch.layer_norm(x, [${width}], self.ln_1.weight, self.ln_1.bias, ${EPS})
    qkv = torch.linear(y, self.attn.in_proj_weight, self.attn.in_proj_bias)
    qkv = qkv.view([b, n, 3, ${heads}, ${width / heads}]).permute([2, 0, 3, 1, 4])
    a = torch.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], None, 0.0, ${causal ? "True" : "False"})
    a = a.transpose(1, 2).reshape([b, n, ${width}])
    x = x + torch.linear(a, self.attn.out_proj.weight, self.attn.out_proj.bias)
    y = torch.layer_norm(x, [${width}], self.ln_2.weight, self.ln_2.bias, ${EPS})
    h = torch.linear(y, self.mlp.c_fc.weight, self.mlp.c_fc.bias)
    h = ${act}
    return x + torch.linear(h, self.mlp.c_proj.weight, self.mlp.c_proj.bias)
`;
}

function stackSource(layers: number): string {
  const calls = Array.from({ length: layers }, (_, i) => `    x = getattr(self.resblocks, "${i}").forward(x)\n`);
  return `\ndef forward(self, x: Tensor) -> Tensor:\n${calls.join("")}    return x\n`;
}

/** TorchScript source of every module that has methods, children before parents. */
export function sources(c: ModelConfig): ArtifactSpec["modules"] {
  const { vision: v, text: t } = c;
  const modules: ArtifactSpec["modules"] = [];
  const blocks = (prefix: string, layers: number, source: string) => {
    for (let i = 0; i < layers; i++) modules.push({ path: `${prefix}.resblocks.${i}`, source });
    modules.push({ path: prefix, source: stackSource(layers) });
  };
  blocks("visual.transformer", v.layers, blockSource(v.width, v.heads, false, c.activation));
  blocks("transformer", t.layers, blockSource(t.width, t.heads, true, c.activation));
  modules.push({
    path: "visual",
    source: `
def forward(self, image: Tensor) -> Tensor:
    x = torch.conv2d(image, self.conv1.weight, None, [${v.patchSize}, ${v.patchSize}])
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([self.class_embedding.expand([x.size(0), 1, ${v.width}]), x], 1)
    x = x + self.positional_embedding
    x = torch.layer_norm(x, [${v.width}], self.ln_pre.weight, self.ln_pre.bias, ${EPS})
    x = self.transformer.forward(x).select(1, 0)
    x = torch.layer_norm(x, [${v.width}], self.ln_post.weight, self.ln_post.bias, ${EPS})
    return torch.matmul(x, self.proj)
`,
  });
  modules.push({
    path: "",
    source: `
def encode_image(self, image: Tensor) -> Tensor:
    return self.visual.forward(image)

def encode_text(self, text: Tensor) -> Tensor:
    x = torch.embedding(self.token_embedding.weight, text)
    x = x + self.positional_embedding.narrow(0, 0, text.size(1))
    x = self.transformer.forward(x)
    x = torch.layer_norm(x, [${t.width}], self.ln_final.weight, self.ln_final.bias, ${EPS})
    end = text.argmax(1).view([-1, 1, 1]).expand([-1, 1, ${t.width}])
    x = x.gather(1, end).squeeze(1)
    return torch.matmul(x, self.text_projection)
`,
  });
  return modules;
}
