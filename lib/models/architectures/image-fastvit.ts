import type { Tower } from "./types.js";

/**
 * FastViT's MCi variants, the image encoders of MobileCLIP S0 to S4 (Vasu et al. 2023, 2024), as timm names
 * them, in their trained form: every convolution with its parallel branches.
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
  /** Squeeze-and-excitation where a stage halves the image; its inner width. */
  squeeze: number[];
  /** Each stage but the first halves the image. */
  downsample: boolean[];
  norm: "batch" | "layer";
  stemScale: boolean;
  finalWidth: number;
  finalSqueeze: number;
  imageSize: number;
  projection: boolean;
}

const IMAGE_SIZE = 256;

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
    const attending = attention.indexOf(true);
    return {
      kind: "fastvit",
      depths: each.map((s) => w.count(`${s}.blocks`, "mlp.fc1.weight")),
      widths: each.map((s) => w.shape(`${s}.blocks.0.mlp.fc1.weight`, 4)[1]),
      mlpWidths: each.map((s) => w.shape(`${s}.blocks.0.mlp.fc1.weight`, 4)[0]),
      attention,
      positions: has("pos_emb.pos_enc.weight"),
      squeeze: each.map((s) =>
        w.has(`${s}.downsample.proj.0.se.fc1.weight`)
          ? w.shape(`${s}.downsample.proj.0.se.fc1.weight`, 4)[0]
          : 0,
      ),
      downsample: has("downsample.proj.0.large_conv.conv.weight"),
      norm: w.has(`visual.stages.${attending}.blocks.0.norm.running_mean`) ? "batch" : "layer",
      stemScale: w.has("visual.stem.0.conv_scale.conv.weight"),
      finalWidth: w.shape("visual.final_conv.conv_kxk.0.conv.weight", 4)[0],
      finalSqueeze: w.shape("visual.final_conv.se.fc1.weight", 4)[0],
      imageSize: hints.imageSize ?? IMAGE_SIZE,
      projection: w.has("visual.project.weight"),
    };
  },
};
