/** Compile-time checks of the public API: `npm run check` fails where a type changes. */
import {
  load,
  similarity,
  topK,
  type Clip,
  type EncodedImages,
  type ErrorCode,
  type Prediction,
  type TopK,
  TorchclipError,
} from "../lib/index.js";
import { loadDataset, type Dataset } from "../lib/datasets/index.js";
import { zeroShot, type ZeroShotResult } from "../lib/eval/index.js";

/** Two conditional types over a type that is not known yet are equal only if they test equal types. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- T is not known yet
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Is<T extends true> = T;

export type Checks = [
  Is<Equal<Awaited<ReturnType<typeof load>>, Clip>>,
  Is<Equal<ReturnType<Clip["encodeImages"]>, Promise<EncodedImages>>>,
  Is<Equal<EncodedImages["data"], Float32Array>>,
  Is<Equal<ReturnType<Clip["classify"]>, Promise<Prediction[]>>>,
  Is<Equal<ReturnType<Clip["streamImages"]>, AsyncGenerator<EncodedImages>>>,
  Is<Equal<ReturnType<typeof similarity>, Float32Array>>,
  Is<Equal<ReturnType<typeof topK>, Promise<TopK>>>,
  Is<Equal<TorchclipError["code"], ErrorCode>>,
  Is<Equal<ReturnType<typeof loadDataset>, Promise<Dataset>>>,
  Is<Equal<ReturnType<typeof zeroShot>, Promise<ZeroShotResult>>>,
];
// @ts-expect-error an unknown device
export const unknownDevice = () => load("tiny", { device: "abacus" });
// @ts-expect-error a text is no image list
export const noList = (clip: Clip) => clip.encodeImages("cat.jpg");
