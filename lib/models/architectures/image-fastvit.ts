import type { ArtifactSpec } from "../../addon.js";
import { linear, linearSource } from "./blocks.js";
import type { Tower } from "./types.js";

/**
 * FastViT's MCi variants, the image encoders of MobileCLIP S0 to S4 (Vasu et al. 2023, 2024), as timm names them, in
 * their trained form: every convolution with its parallel branches.
 */
export interface FastvitConfig {
  kind: "fastvit";
  depths: number[];
  widths: number[];
  mlpWidths: number[];
  /** Of the last stages' attention. */
  attention: boolean[];
  /** Convolutional position encoding before a stage's blocks. */
  positions: boolean[];
  /** Squeeze-and-excitation where a stage halves the picture; its inner width. */
  squeeze: number[];
  /** Each stage but the first halves the picture. */
  downsample: boolean[];
  norm: "batch" | "layer";
  stemScale: boolean;
  finalWidth: number;
  finalSqueeze: number;
  imageSize: number;
  projection: boolean;
}

const HEAD_WIDTH = 32;
const IMAGE_SIZE = 256;

const batchNorm = (x: string, at: string) =>
  `torch.batch_norm(${x}, ${at}.weight, ${at}.bias, ${at}.running_mean, ${at}.running_var, False, 0.1, 1e-05, False)`;

/** A re-parameterisable convolution: identity + 1×1 + k×k, each with its batch norm, added up. */
interface Mobile {
  inner: number;
  out: number;
  kernel: number;
  stride: number;
  depthwise: boolean;
  scale: boolean;
  convolution: boolean;
  activation: boolean;
  squeeze: number;
}

const mobile = (o: Partial<Mobile> & Pick<Mobile, "inner" | "out" | "kernel">): Mobile => ({
  stride: 1,
  depthwise: false,
  scale: o.kernel > 1,
  convolution: true,
  activation: true,
  squeeze: 0,
  ...o,
});

function batchShapes(shapes: Map<string, number[]>, key: string, width: number): void {
  for (const part of ["weight", "bias", "running_mean", "running_var"]) shapes.set(`${key}.${part}`, [width]);
}

function convolution(shapes: Map<string, number[]>, key: string, out: number, inner: number, kernel: number): void {
  shapes.set(`${key}.conv.weight`, [out, inner, kernel, kernel]);
  batchShapes(shapes, `${key}.bn`, out);
}

function squeezeShapes(shapes: Map<string, number[]>, key: string, width: number, inner: number): void {
  shapes.set(`${key}.fc1.weight`, [inner, width, 1, 1]).set(`${key}.fc1.bias`, [inner]);
  shapes.set(`${key}.fc2.weight`, [width, inner, 1, 1]).set(`${key}.fc2.bias`, [width]);
}

const hasIdentity = (m: Mobile) => m.inner === m.out && m.stride === 1;

function mobileShapes(shapes: Map<string, number[]>, key: string, m: Mobile): void {
  const inner = m.depthwise ? 1 : m.inner;
  if (hasIdentity(m)) batchShapes(shapes, `${key}.identity`, m.inner);
  if (m.convolution) convolution(shapes, `${key}.conv_kxk.0`, m.out, inner, m.kernel);
  if (m.scale) convolution(shapes, `${key}.conv_scale`, m.out, inner, 1);
  if (m.squeeze) squeezeShapes(shapes, `${key}.se`, m.out, m.squeeze);
}

function conv(at: string, m: { stride: number; depthwise: boolean; inner: number }, kernel: number): string {
  const pad = Math.floor(kernel / 2);
  const groups = m.depthwise ? m.inner : 1;
  return batchNorm(`torch.conv2d(x, ${at}.conv.weight, None, [${m.stride}, ${m.stride}], [${pad}, ${pad}], [1, 1], ${groups})`, `${at}.bn`);
}

const SQUEEZE = `
    s = y.mean([2, 3], True)
    s = torch.conv2d(torch.relu(torch.conv2d(s, self.se.fc1.weight, self.se.fc1.bias)), self.se.fc2.weight, self.se.fc2.bias)
    y = y * torch.sigmoid(s)`;

function mobileSource(m: Mobile): string {
  const branches = [
    hasIdentity(m) && batchNorm("x", "self.identity"),
    m.scale && conv("self.conv_scale", m, 1),
    m.convolution && conv('getattr(self.conv_kxk, "0")', m, m.kernel),
  ].filter((b) => b);
  return `
def forward(self, x: Tensor) -> Tensor:
    y = ${branches.join(" + ")}${m.squeeze ? SQUEEZE : ""}
    return ${m.activation ? "torch.gelu(y)" : "y"}
`;
}

const stemBlocks = (c: FastvitConfig): Mobile[] => {
  const out = c.widths[0];
  return [
    mobile({ inner: 3, out, kernel: 3, stride: 2, scale: c.stemScale }),
    mobile({ inner: out, out, kernel: 3, stride: 2, depthwise: true, scale: c.stemScale }),
    mobile({ inner: out, out, kernel: 1 }),
  ];
};
const normBlock = (width: number) => mobile({ inner: width, out: width, kernel: 3, depthwise: true, scale: false, convolution: false, activation: false });
const mixerBlock = (width: number) => mobile({ inner: width, out: width, kernel: 3, depthwise: true, activation: false });
const finalBlock = (c: FastvitConfig) => mobile({ inner: c.widths.at(-1)!, out: c.finalWidth, kernel: 3, depthwise: true, squeeze: c.finalSqueeze });

export const imageFastvit: Tower<FastvitConfig> = {
  kind: "fastvit",
  layouts: [
    {
      name: "timm",
      probe: /^visual\.trunk\.stem\.0\.conv_kxk\.0\.conv\.weight$/,
      rules: [
        { from: /num_batches_tracked$/, to: "" },
        { from: /^visual\.trunk\.head\.fc\./, to: "visual.project." },
        { from: /^visual\.trunk\./, to: "visual." },
      ],
    },
  ],

  configure(w, hints) {
    const stages = w.count("visual.stages", "blocks.0.mlp.fc1.weight");
    const each = Array.from({ length: stages }, (_, s) => `visual.stages.${s}`);
    const has = (name: string) => each.map((s) => w.has(`${s}.${name}`));
    const attention = has("blocks.0.token_mixer.qkv.weight");
    return {
      kind: "fastvit",
      depths: each.map((s) => w.count(`${s}.blocks`, "mlp.fc1.weight")),
      widths: each.map((s) => w.shape(`${s}.blocks.0.mlp.fc1.weight`, 4)[1]),
      mlpWidths: each.map((s) => w.shape(`${s}.blocks.0.mlp.fc1.weight`, 4)[0]),
      attention,
      positions: has("pos_emb.pos_enc.weight"),
      squeeze: each.map((s) => (w.has(`${s}.downsample.proj.0.se.fc1.weight`) ? w.shape(`${s}.downsample.proj.0.se.fc1.weight`, 4)[0] : 0)),
      downsample: has("downsample.proj.0.large_conv.conv.weight"),
      norm: w.has(`${each[attention.indexOf(true)]}.blocks.0.norm.running_mean`) ? "batch" : "layer",
      stemScale: w.has("visual.stem.0.conv_scale.conv.weight"),
      finalWidth: w.shape("visual.final_conv.conv_kxk.0.conv.weight", 4)[0],
      finalSqueeze: w.shape("visual.final_conv.se.fc1.weight", 4)[0],
      imageSize: hints.imageSize ?? IMAGE_SIZE,
      projection: w.has("visual.project.weight"),
    };
  },

  shapes(c, embedDim) {
    const shapes = new Map<string, number[]>();
    stemBlocks(c).forEach((m, i) => mobileShapes(shapes, `visual.stem.${i}`, m));
    c.widths.forEach((width, s) => {
      const stage = `visual.stages.${s}`;
      if (c.downsample[s]) {
        const large = `${stage}.downsample.proj.0`;
        const repeat = c.widths[s - 1];
        if (width % repeat !== 0) throw new Error("a stage's width is no multiple of the one before");
        convolution(shapes, `${large}.large_conv`, width, 1, 7);
        convolution(shapes, `${large}.small_conv`, width, 1, 3);
        if (c.squeeze[s]) squeezeShapes(shapes, `${large}.se`, width, c.squeeze[s]);
        mobileShapes(shapes, `${stage}.downsample.proj.1`, mobile({ inner: width, out: width, kernel: 1 }));
      }
      if (c.positions[s]) shapes.set(`${stage}.pos_emb.pos_enc.weight`, [width, 1, 7, 7]).set(`${stage}.pos_emb.pos_enc.bias`, [width]);
      for (let b = 0; b < c.depths[s]; b++) {
        const block = `${stage}.blocks.${b}`;
        const gamma = (name: string) => shapes.set(`${block}.${name}.gamma`, [width, 1, 1]);
        if (c.attention[s]) {
          if (c.norm === "batch") batchShapes(shapes, `${block}.norm`, width);
          else shapes.set(`${block}.norm.weight`, [width]).set(`${block}.norm.bias`, [width]);
          shapes.set(`${block}.token_mixer.qkv.weight`, [3 * width, width]);
          linear(shapes, `${block}.token_mixer.proj`, width, width);
          gamma("layer_scale_1");
          gamma("layer_scale_2");
        } else {
          mobileShapes(shapes, `${block}.token_mixer.norm`, normBlock(width));
          mobileShapes(shapes, `${block}.token_mixer.mixer`, mixerBlock(width));
          gamma("token_mixer.layer_scale");
          gamma("layer_scale");
        }
        convolution(shapes, `${block}.mlp.conv`, width, 1, 7);
        shapes.set(`${block}.mlp.fc1.weight`, [c.mlpWidths[s], width, 1, 1]).set(`${block}.mlp.fc1.bias`, [c.mlpWidths[s]]);
        shapes.set(`${block}.mlp.fc2.weight`, [width, c.mlpWidths[s], 1, 1]).set(`${block}.mlp.fc2.bias`, [width]);
      }
    });
    mobileShapes(shapes, "visual.final_conv", finalBlock(c));
    if (c.projection) linear(shapes, "visual.project", embedDim, c.finalWidth);
    return shapes;
  },

  sources(c) {
    const modules: ArtifactSpec["modules"] = stemBlocks(c).map((m, i) => ({ path: `visual.stem.${i}`, source: mobileSource(m) }));
    c.widths.forEach((width, s) => {
      const stage = `visual.stages.${s}`;
      if (c.downsample[s]) {
        modules.push({ path: `${stage}.downsample.proj.0`, source: largeSource(c.widths[s - 1], c.squeeze[s] > 0) });
        modules.push({ path: `${stage}.downsample.proj.1`, source: mobileSource(mobile({ inner: width, out: width, kernel: 1 })) });
      }
      for (let b = 0; b < c.depths[s]; b++) {
        const block = `${stage}.blocks.${b}`;
        if (!c.attention[s]) {
          modules.push({ path: `${block}.token_mixer.norm`, source: mobileSource(normBlock(width)) });
          modules.push({ path: `${block}.token_mixer.mixer`, source: mobileSource(mixerBlock(width)) });
        }
        modules.push({ path: block, source: c.attention[s] ? attentionSource(width, c.norm) : mixSource(width) });
      }
      const steps = [
        c.downsample[s] && 'x = getattr(self.downsample.proj, "0").forward(x)',
        c.downsample[s] && 'x = getattr(self.downsample.proj, "1").forward(x)',
        c.positions[s] && `x = x + torch.conv2d(x, self.pos_emb.pos_enc.weight, self.pos_emb.pos_enc.bias, [1, 1], [3, 3], [1, 1], ${width})`,
        ...Array.from({ length: c.depths[s] }, (_, b) => `x = getattr(self.blocks, "${b}").forward(x)`),
      ].filter((l) => l);
      modules.push({ path: stage, source: `\ndef forward(self, x: Tensor) -> Tensor:\n${steps.map((l) => `    ${l}\n`).join("")}    return x\n` });
    });
    modules.push({ path: "visual.final_conv", source: mobileSource(finalBlock(c)) });
    const run = (list: string, count: number) => Array.from({ length: count }, (_, i) => `    x = getattr(self.${list}, "${i}").forward(x)\n`).join("");
    modules.push({
      path: "visual",
      source: `
def forward(self, image: Tensor) -> Tensor:
    x = image
${run("stem", 3)}${run("stages", c.depths.length)}    x = self.final_conv.forward(x).mean([2, 3])
    return ${c.projection ? linearSource("x", "project") : "x"}
`,
    });
    return modules;
  },
};

function largeSource(inner: number, squeeze: boolean): string {
  const m = { stride: 2, depthwise: true, inner };
  return `
def forward(self, x: Tensor) -> Tensor:
    y = ${conv("self.large_conv", m, 7)} + ${conv("self.small_conv", m, 3)}${squeeze ? SQUEEZE : ""}
    return torch.gelu(y)
`;
}

const mlpSource = (width: number) => `
    h = ${conv("self.mlp.conv", { stride: 1, depthwise: true, inner: width }, 7)}
    h = torch.gelu(torch.conv2d(h, self.mlp.fc1.weight, self.mlp.fc1.bias))
    h = torch.conv2d(h, self.mlp.fc2.weight, self.mlp.fc2.bias)`;

function mixSource(width: number): string {
  return `
def forward(self, x: Tensor) -> Tensor:
    x = x + (self.token_mixer.mixer.forward(x) - self.token_mixer.norm.forward(x)) * self.token_mixer.layer_scale.gamma${mlpSource(width)}
    return x + h * self.layer_scale.gamma
`;
}

function attentionSource(width: number, norm: "batch" | "layer"): string {
  const normed =
    norm === "batch"
      ? batchNorm("x", "self.norm")
      : `torch.layer_norm(x.permute([0, 2, 3, 1]), [${width}], self.norm.weight, self.norm.bias, 1e-05).permute([0, 3, 1, 2])`;
  return `
def forward(self, x: Tensor) -> Tensor:
    b = x.size(0)
    n = x.size(2) * x.size(3)
    y = ${normed}
    y = y.flatten(2).transpose(1, 2)
    qkv = torch.linear(y, self.token_mixer.qkv.weight).view([b, n, 3, ${width / HEAD_WIDTH}, ${HEAD_WIDTH}]).permute([2, 0, 3, 1, 4])
    a = torch.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).reshape([b, n, ${width}])
    a = ${linearSource("a", "token_mixer.proj")}
    x = x + a.transpose(1, 2).reshape(x.size()) * self.layer_scale_1.gamma${mlpSource(width)}
    return x + h * self.layer_scale_2.gamma
`;
}
