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
};
