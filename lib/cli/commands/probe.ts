import { Option, type Command } from "commander";
import { NEIGHBOUR_DEFAULTS } from "../../learn/defaults.js";
import {
  AUTO_ROTATE,
  batchSizeOption,
  featuresOption,
  imageOptions,
  modelOptions,
  positive,
  ROOT,
  whole,
  wholeList,
} from "../options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "linear probe: logistic regression on the image features of a labelled data set";
const DATASET = "data set with splits: a name, a folder, or a .csv/.tsv/.jsonl list";
const METHOD = "logistic regression (probe) or the nearest training images (knn)";
const LAMBDA =
  "strength of the penalty, 1/C of scikit-learn; default: the best of 96 on the validation split, " +
  "by the search of the CLIP paper";
const VALID = "split that λ is chosen on; without one, a fifth of the training split";
const SHOTS =
  "few-shot: draw so many training images of each class, e.g. 1,2,4,8,16, and compare --methods on the test split";
const SPLIT_FILE =
  "few-shot: a .jsonl list of the training images of one draw, instead of --shots and --seeds";
const OUT = "where probe.safetensors, results.json, predictions.csv, images and report.html go";
const STRICT = "fail where an image is in two splits, which otherwise is a note";
const FEATURE_CACHE = "folder of features by content; default: below the cache folder";

export function probeCommand(program: Command): void {
  imageOptions(modelOptions(program.command("probe").description(DESCRIPTION)))
    .option("-s, --dataset <name|path>", DATASET, "scenes")
    .option("--train-split <split>", "split that is fitted", "train")
    .option("--valid-split <split>", VALID, "valid")
    .option("--test-split <split>", "split that is tested, once", "test")
    .option("--root <folder>", ROOT)
    .addOption(new Option("--method <method>", METHOD).choices(["probe", "knn"]).default("probe"))
    .addOption(featuresOption())
    .addOption(new Option("--lambda <x>", LAMBDA).argParser(positive))
    .option("--standardize", "scale each feature to mean 0 and deviation 1 over the training images")
    .addOption(
      new Option("-k, --neighbours <n>", "knn: images that vote")
        .argParser(whole(1))
        .default(NEIGHBOUR_DEFAULTS.k),
    )
    .addOption(
      new Option("--temperature <t>", "knn: a vote weighs exp(cosine / t)")
        .argParser(positive)
        .default(NEIGHBOUR_DEFAULTS.temperature),
    )
    .addOption(new Option("--shots <n,…>", SHOTS).argParser(wholeList(1)))
    .addOption(
      new Option("--seeds <n,…>", "few-shot: a draw for each seed")
        .argParser(wholeList(0))
        .default([1, 2, 3]),
    )
    .option("--methods <a,b,…>", "few-shot: probe, tip-adapter, lp++, prolip", "probe,tip-adapter,lp++")
    .option("--split-file <file>", SPLIT_FILE)
    .option("--template <text...>", "few-shot: prompt templates with {} for the class")
    .option("-o, --out <folder>", OUT, "torchclip-probe")
    .addOption(batchSizeOption("images in one forward pass").default(32))
    .addOption(
      new Option("--seed <n>", "seed of splits that are drawn and of intervals")
        .argParser(whole(0))
        .default(0),
    )
    .addOption(new Option("--example <n>", "which image is shown").argParser(whole(0)).default(0))
    .option("--feature-cache <folder>", FEATURE_CACHE)
    .option("--auto-rotate", AUTO_ROTATE)
    .option("--strict", STRICT)
    .option("--json", "print results.json instead of text")
    .action(loaded(async () => (await import("../probe.js")).run));
}
