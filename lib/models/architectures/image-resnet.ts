import type { Tower } from "./types.js";

/**
 * CLIP's modified ResNet (Radford et al. 2021, section 2.4; openai/CLIP, clip/model.py): three convolutions
 * as stem, average pooling before strided convolutions, attention pooling at the end.
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

const REDUCTION = 32; // of the image's side, from input to the last feature map
const HEAD_WIDTH = 64;

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
};
