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

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <T extends true>(): T | undefined => undefined;

is<Equal<Awaited<ReturnType<typeof load>>, Clip>>();
is<Equal<ReturnType<Clip["encodeImages"]>, Promise<EncodedImages>>>();
is<Equal<EncodedImages["data"], Float32Array>>();
is<Equal<ReturnType<Clip["classify"]>, Promise<Prediction[]>>>();
is<Equal<ReturnType<Clip["streamImages"]>, AsyncGenerator<EncodedImages>>>();
is<Equal<ReturnType<typeof similarity>, Float32Array>>();
is<Equal<ReturnType<typeof topK>, Promise<TopK>>>();
is<Equal<TorchclipError["code"], ErrorCode>>();
is<Equal<ReturnType<typeof loadDataset>, Promise<Dataset>>>();
is<Equal<ReturnType<typeof zeroShot>, Promise<ZeroShotResult>>>();
// @ts-expect-error an unknown device
void (() => load("tiny", { device: "abacus" }));
// @ts-expect-error a text is no image list
void ((clip: Clip) => clip.encodeImages("cat.jpg"));
