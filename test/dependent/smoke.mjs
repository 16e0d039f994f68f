// A dependent's first program, for each JavaScript runtime: node smoke.mjs IMAGE
import { load, similarity, TorchclipError } from "torchclip";
import { loadDataset } from "torchclip/datasets";
import { zeroShot } from "torchclip/eval";
import { fitLinearProbe } from "torchclip/learn";

const [image] = process.argv.slice(2);
const clip = await load("tiny");
const images = await clip.encodeImages([image]);
const texts = await clip.encodeTexts(["a red circle", "a blue star"]);
const [best] = await clip.classify(image, ["a red circle", "a blue star"]);
const error = await clip.encodeImages(["no such file.png"]).catch((e) => e);
await clip.close();
const right =
  similarity(images, texts).length === 2 &&
  best.label === "a red circle" &&
  error instanceof TorchclipError &&
  error.code === "E_IMAGE_READ" &&
  [loadDataset, zeroShot, fitLinearProbe].every((f) => typeof f === "function");
console.log(`${best.label} ${best.probability.toFixed(3)}`);
if (!right) throw new Error("not what it should be");
