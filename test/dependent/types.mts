// As types.cts, from an ES module.
import { load, EmbeddingIndex, TorchclipError, type Clip, type EncodedImages } from "torchclip";
import { loadDataset, Dataset } from "torchclip/datasets";
import { zeroShot, type ZeroShotResult } from "torchclip/eval";
import { fitLinearProbe, type LinearProbe } from "torchclip/learn";

export async function evaluate(folder: string): Promise<ZeroShotResult> {
  const clip: Clip = await load("tiny", { device: "cpu" });
  const data: Dataset = await loadDataset(folder);
  return zeroShot(clip, data);
}
export const encode = (clip: Clip, path: string): Promise<EncodedImages> => clip.encodeImages([path]);
export const open = (file: string): Promise<EmbeddingIndex> => EmbeddingIndex.open(file);
export const code = (error: unknown): string | undefined =>
  error instanceof TorchclipError ? error.code : undefined;
export const fit = (images: EncodedImages, labels: number[]): Promise<LinearProbe> =>
  fitLinearProbe(images, labels);
