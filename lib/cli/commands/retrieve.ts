import { Argument, Option, type Command } from "commander";
import { AUTO_ROTATE, batchSizeOption, imageOptions, modelOptions, whole } from "../options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "image-text retrieval on images with captions: Recall@1, 5 and 10, nDCG@10, ranks";
const CAPTIONS = [
  "Karpathy's dataset_coco.json or dataset_flickr30k.json, COCO's or CLIP_benchmark's JSON",
  "CLIP_benchmark's .txt",
  "a .csv, .tsv or .jsonl of image and caption",
].join("; ");
const SPLIT = "of a file that has splits: train (with restval), val, test; default test";
const ROOT = "the folder that the names of the images are relative to; default the file's folder";
const MOST = "captions of an image that are used; default 5 of Karpathy's files, else all";
const IMAGE_KEY = "column of a list with the images; default filepath, path, image or file";
const CAPTION_KEY = "column of a list with the captions; default title, caption, captions or text";
const SEPARATOR = "what stands between the columns of a .csv or .tsv; \\t is a tab; default by the ending";
const OUT = "where results.json, queries.csv, report.html and the embeddings go";
const STRICT = "fail where images have no caption, or captions no image, instead of leaving them out";
const ON_ERROR = "an image that cannot be read: leave it out and count it, or fail";

export function retrieveCommand(program: Command): void {
  const described = program.command("retrieve").description(DESCRIPTION);
  imageOptions(modelOptions(described))
    .addArgument(new Argument("<captions>", CAPTIONS))
    .option("--split <split>", SPLIT)
    .option("--root <folder>", ROOT)
    .addOption(new Option("--max-captions <n>", MOST).argParser(whole(1)))
    .option("--csv-img-key <column>", IMAGE_KEY)
    .option("--csv-caption-key <column>", CAPTION_KEY)
    .option("--csv-separator <text>", SEPARATOR)
    .option("-o, --out <folder>", OUT, "torchclip-retrieve")
    .addOption(batchSizeOption("images in one forward pass").default(32))
    .addOption(new Option("--limit <n>", "only the first n images, with their captions").argParser(whole(1)))
    .addOption(new Option("--seed <n>", "seed of the bootstrap intervals").argParser(whole(0)).default(0))
    .addOption(new Option("--on-error <what>", ON_ERROR).choices(["skip", "fail"]).default("skip"))
    .option("--strict", STRICT)
    .option("--auto-rotate", AUTO_ROTATE)
    .option("--json", "print results.json instead of text")
    .action(loaded(async () => (await import("../retrieve.js")).run));
}
