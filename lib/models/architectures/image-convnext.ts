import type { ArtifactSpec } from "../../addon.js";
import { linear, linearSource, norm, normSource } from "./blocks.js";
import type { Tower } from "./types.js";

/** ConvNeXt (Liu et al. 2022) as timm names it, with open_clip's linear or MLP head. */
export interface ConvnextConfig {
  kind: "convnext";
  depths: number[];
  widths: number[];
  eps: number;
  imageSize: number;
  head: "linear" | "mlp";
  mlpWidth: number;
  headBias: boolean;
}

export const imageConvnext: Tower<ConvnextConfig> = {
  kind: "convnext",
  layouts: [
    {
      name: "timm",
      probe: /^visual\.trunk\.stages\.0\.blocks\.0\.conv_dw\.weight$/,
      rules: [
        { from: /^visual\.trunk\./, to: "visual." },
        { from: /^visual\.head\./, to: "visual.project." },
      ],
    },
  ],

  configure(w, hints) {
    const depths = [0, 1, 2, 3].map((s) => w.count(`visual.stages.${s}.blocks`, "conv_dw.weight"));
    const widths = [0, 1, 2, 3].map((s) => w.shape(`visual.stages.${s}.blocks.0.conv_dw.weight`, 4)[0]);
    const mlp = w.has("visual.project.mlp.fc1.weight");
    return {
      kind: "convnext",
      depths,
      widths,
      // timm: 1e-6 but for the xxlarge that open_clip added.
      eps: hints.eps ?? (widths[0] === 384 ? 1e-5 : 1e-6),
      imageSize: hints.imageSize ?? 224, // nothing in the weights tells
      head: mlp ? "mlp" : "linear",
      mlpWidth: mlp ? w.shape("visual.project.mlp.fc1.weight", 2)[0] : 0,
      headBias: w.has("visual.project.proj.bias") || w.has("visual.project.mlp.fc2.bias"),
    };
  },

  shapes(c, embedDim) {
    const shapes = new Map<string, number[]>();
    shapes.set("visual.stem.0.weight", [c.widths[0], 3, 4, 4]).set("visual.stem.0.bias", [c.widths[0]]);
    norm(shapes, "visual.stem.1", c.widths[0]);
    c.widths.forEach((width, s) => {
      if (s > 0) {
        norm(shapes, `visual.stages.${s}.downsample.0`, c.widths[s - 1]);
        shapes.set(`visual.stages.${s}.downsample.1.weight`, [width, c.widths[s - 1], 2, 2]).set(`visual.stages.${s}.downsample.1.bias`, [width]);
      }
      for (let b = 0; b < c.depths[s]; b++) {
        const block = `visual.stages.${s}.blocks.${b}`;
        shapes.set(`${block}.gamma`, [width]);
        shapes.set(`${block}.conv_dw.weight`, [width, 1, 7, 7]).set(`${block}.conv_dw.bias`, [width]);
        norm(shapes, `${block}.norm`, width);
        linear(shapes, `${block}.mlp.fc1`, 4 * width, width);
        linear(shapes, `${block}.mlp.fc2`, width, 4 * width);
      }
    });
    const last = c.widths[3];
    norm(shapes, "visual.head.norm", last);
    if (c.head === "linear") {
      shapes.set("visual.project.proj.weight", [embedDim, last]);
    } else {
      linear(shapes, "visual.project.mlp.fc1", c.mlpWidth, last);
      shapes.set("visual.project.mlp.fc2.weight", [embedDim, c.mlpWidth]);
    }
    if (c.headBias) shapes.set(`visual.project.${c.head === "linear" ? "proj" : "mlp.fc2"}.bias`, [embedDim]);
    return shapes;
  },

  sources(c) {
    const modules: ArtifactSpec["modules"] = [];
    c.widths.forEach((width, s) => {
      const stage = `visual.stages.${s}`;
      for (let b = 0; b < c.depths[s]; b++) modules.push({ path: `${stage}.blocks.${b}`, source: blockSource(width, c.eps) });
      const down = s > 0 ? `    x = self.downsample.forward(x)\n` : "";
      if (s > 0) modules.push({ path: `${stage}.downsample`, source: downsampleSource(c.widths[s - 1], c.eps) });
      const calls = Array.from({ length: c.depths[s] }, (_, b) => `    x = getattr(self.blocks, "${b}").forward(x)\n`).join("");
      modules.push({ path: stage, source: `\ndef forward(self, x: Tensor) -> Tensor:\n${down}${calls}    return x\n` });
    });
    const bias = (key: string) => (c.headBias ? `self.${key}.bias` : "None");
    const head =
      c.head === "linear"
        ? `torch.linear(x, self.project.proj.weight, ${bias("project.proj")})`
        : `torch.linear(torch.gelu(${linearSource("x", "project.mlp.fc1")}), self.project.mlp.fc2.weight, ${bias("project.mlp.fc2")})`;
    const stem = (n: string) => `getattr(self.stem, "${n}")`;
    modules.push({
      path: "visual",
      source: `
def forward(self, image: Tensor) -> Tensor:
    x = torch.conv2d(image, ${stem("0")}.weight, ${stem("0")}.bias, [4, 4])
    x = torch.layer_norm(x.permute([0, 2, 3, 1]), [${c.widths[0]}], ${stem("1")}.weight, ${stem("1")}.bias, ${c.eps}).permute([0, 3, 1, 2])
${c.widths.map((_, s) => `    x = getattr(self.stages, "${s}").forward(x)\n`).join("")}
    x = x.mean([2, 3])
    x = ${normSource("x", "head.norm", c.widths[3], c.eps)}
    return ${head}
`,
    });
    return modules;
  },
};

function blockSource(width: number, eps: number): string {
  return `
def forward(self, x: Tensor) -> Tensor:
    y = torch.conv2d(x, self.conv_dw.weight, self.conv_dw.bias, [1, 1], [3, 3], [1, 1], ${width})
    y = y.permute([0, 2, 3, 1])
    y = ${normSource("y", "norm", width, eps)}
    y = torch.gelu(${linearSource("y", "mlp.fc1")})
    y = ${linearSource("y", "mlp.fc2")} * self.gamma
    return x + y.permute([0, 3, 1, 2])
`;
}

function downsampleSource(width: number, eps: number): string {
  const at = (n: string) => `getattr(self, "${n}")`;
  return `
def forward(self, x: Tensor) -> Tensor:
    x = torch.layer_norm(x.permute([0, 2, 3, 1]), [${width}], ${at("0")}.weight, ${at("0")}.bias, ${eps}).permute([0, 3, 1, 2])
    return torch.conv2d(x, ${at("1")}.weight, ${at("1")}.bias, [2, 2])
`;
}
