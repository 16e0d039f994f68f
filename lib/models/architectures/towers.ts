import { imageConvnext, type ConvnextConfig } from "./image-convnext.js";
import { imageEva, type EvaConfig } from "./image-eva.js";
import { imageFastvit, type FastvitConfig } from "./image-fastvit.js";
import { imageResnet, type ResnetConfig } from "./image-resnet.js";
import { imageVit, type VitConfig } from "./image-vit.js";
import { textRoberta, type RobertaConfig } from "./text-roberta.js";
import { textTransformer, type TextTransformerConfig } from "./text-transformer.js";
import type { Tower } from "./types.js";

export type ImageTowerConfig = VitConfig | ResnetConfig | EvaConfig | ConvnextConfig | FastvitConfig;
export type TextTowerConfig = TextTransformerConfig | RobertaConfig;

export type AnyTower = Tower<ImageTowerConfig> | Tower<TextTowerConfig>;

// The order matters where probes overlap: the more particular first.
export const IMAGE_TOWERS: readonly Tower<ImageTowerConfig>[] = [
  imageResnet,
  imageEva,
  imageConvnext,
  imageFastvit,
  imageVit,
];
export const TEXT_TOWERS: readonly Tower<TextTowerConfig>[] = [textRoberta, textTransformer];
