import { linear, linearSource } from "./blocks.js";
import type { Tower } from "./types.js";

/**
 * CLIP's modified ResNet (Radford et al. 2021, section 2.4; openai/CLIP, clip/model.py): three convolutions as stem,
 * average pooling before strided convolutions, attention pooling at the end.
 */
export interface ResnetConfig {
  kind: "resnet";
  /** Bottlenecks of the four stages. */
  layers: number[];
  /** Channels after the stem; the features have 32 times as many. */
  width: number;
  heads: number;
  imageSize: number;
}

const EXPANSION = 4;
const REDUCTION = 32; // of the picture's side, from input to the last feature map
const HEAD_WIDTH = 64;
const BN_EPS = 1e-5;

const batchNorm = (x: string, key: string) =>
  `torch.batch_norm(${x}, self.${key}.weight, self.${key}.bias, self.${key}.running_mean, self.${key}.running_var, False, 0.1, ${BN_EPS}, False)`;

function normShapes(shapes: Map<string, number[]>, key: string, width: number): void {
  for (const part of ["weight", "bias", "running_mean", "running_var"]) shapes.set(`${key}.${part}`, [width]);
}

export const imageResnet: Tower<ResnetConfig> = {
  kind: "resnet",
  layouts: [
    {
      name: "openai",
      probe: /^visual\.layer1\.0\.conv1\.weight$/,
      rules: [
        { from: /^visual\..*num_batches_tracked$/, to: "" },
        { from: /^visual\./, to: "visual." },
      ],
    },
  ],

  configure(w) {
    const [width] = w.shape("visual.layer1.0.conv1.weight", 4);
    const [positions] = w.shape("visual.attnpool.positional_embedding", 2);
    return {
      kind: "resnet",
      layers: [1, 2, 3, 4].map((stage) => w.count(`visual.layer${stage}`, "conv1.weight")),
      width,
      heads: (width * REDUCTION) / HEAD_WIDTH,
      imageSize: Math.round(Math.sqrt(positions - 1)) * REDUCTION,
    };
  },

  shapes(c, embedDim) {
    const shapes = new Map<string, number[]>();
    const half = c.width / 2;
    shapes.set("visual.conv1.weight", [half, 3, 3, 3]).set("visual.conv2.weight", [half, half, 3, 3]).set("visual.conv3.weight", [c.width, half, 3, 3]);
    [half, half, c.width].forEach((n, i) => normShapes(shapes, `visual.bn${i + 1}`, n));
    let inner = c.width;
    c.layers.forEach((blocks, stage) => {
      const planes = c.width * 2 ** stage;
      for (let b = 0; b < blocks; b++) {
        const block = `visual.layer${stage + 1}.${b}`;
        shapes.set(`${block}.conv1.weight`, [planes, inner, 1, 1]).set(`${block}.conv2.weight`, [planes, planes, 3, 3]);
        shapes.set(`${block}.conv3.weight`, [planes * EXPANSION, planes, 1, 1]);
        [planes, planes, planes * EXPANSION].forEach((n, i) => normShapes(shapes, `${block}.bn${i + 1}`, n));
        if (b === 0) {
          shapes.set(`${block}.downsample.0.weight`, [planes * EXPANSION, inner, 1, 1]);
          normShapes(shapes, `${block}.downsample.1`, planes * EXPANSION);
        }
        inner = planes * EXPANSION;
      }
    });
    const pool = "visual.attnpool";
    shapes.set(`${pool}.positional_embedding`, [(c.imageSize / REDUCTION) ** 2 + 1, inner]);
    for (const name of ["q_proj", "k_proj", "v_proj"]) linear(shapes, `${pool}.${name}`, inner, inner);
    linear(shapes, `${pool}.c_proj`, embedDim, inner);
    return shapes;
  },

  sources(c) {
    const modules: { path: string; source: string }[] = [];
    c.layers.forEach((blocks, stage) => {
      const list = `visual.layer${stage + 1}`;
      for (let b = 0; b < blocks; b++) modules.push({ path: `${list}.${b}`, source: bottleneckSource(b === 0, b === 0 && stage > 0 ? 2 : 1) });
      const calls = Array.from({ length: blocks }, (_, b) => `    x = getattr(self, "${b}").forward(x)\n`).join("");
      modules.push({ path: list, source: `\ndef forward(self, x: Tensor) -> Tensor:\n${calls}    return x\n` });
    });
    modules.push({ path: "visual.attnpool", source: attentionPoolSource(c.width * REDUCTION, c.heads) });
    modules.push({
      path: "visual",
      source: `
def forward(self, image: Tensor) -> Tensor:
    x = torch.relu(${batchNorm("torch.conv2d(image, self.conv1.weight, None, [2, 2], [1, 1])", "bn1")})
    x = torch.relu(${batchNorm("torch.conv2d(x, self.conv2.weight, None, [1, 1], [1, 1])", "bn2")})
    x = torch.relu(${batchNorm("torch.conv2d(x, self.conv3.weight, None, [1, 1], [1, 1])", "bn3")})
    x = torch.avg_pool2d(x, [2, 2])
    x = self.layer1.forward(x)
    x = self.layer2.forward(x)
    x = self.layer3.forward(x)
    x = self.layer4.forward(x)
    return self.attnpool.forward(x)
`,
    });
    return modules;
  },
};

function bottleneckSource(downsample: boolean, stride: number): string {
  const pooled = (x: string) => (stride > 1 ? `torch.avg_pool2d(${x}, [${stride}, ${stride}])` : x);
  const skip = downsample
    ? batchNorm(`torch.conv2d(${pooled("x")}, getattr(self.downsample, "0").weight)`, "downsample_1").replaceAll(
        "self.downsample_1",
        'getattr(self.downsample, "1")',
      )
    : "x";
  return `
def forward(self, x: Tensor) -> Tensor:
    y = torch.relu(${batchNorm("torch.conv2d(x, self.conv1.weight)", "bn1")})
    y = torch.relu(${batchNorm("torch.conv2d(y, self.conv2.weight, None, [1, 1], [1, 1])", "bn2")})
    y = ${pooled("y")}
    y = ${batchNorm("torch.conv2d(y, self.conv3.weight)", "bn3")}
    return torch.relu(y + ${skip})
`;
}

/** The mean of all positions asks, all positions and the mean answer. */
function attentionPoolSource(width: number, heads: number): string {
  return `
def forward(self, x: Tensor) -> Tensor:
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([x.mean([1], True), x], 1) + self.positional_embedding
    b = x.size(0)
    n = x.size(1)
    q = ${linearSource("x.narrow(1, 0, 1)", "q_proj")}.view([b, 1, ${heads}, ${HEAD_WIDTH}]).transpose(1, 2)
    k = ${linearSource("x", "k_proj")}.view([b, n, ${heads}, ${HEAD_WIDTH}]).transpose(1, 2)
    v = ${linearSource("x", "v_proj")}.view([b, n, ${heads}, ${HEAD_WIDTH}]).transpose(1, 2)
    a = torch.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape([b, ${width}])
    return ${linearSource("a", "c_proj")}
`;
}
