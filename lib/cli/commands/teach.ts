import { Argument, Option, type Command } from "commander";
import {
  AUTO_ROTATE,
  batchSizeOption,
  collect,
  featuresOption,
  imageOptions,
  modelOptions,
  positive,
} from "../options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "make a classifier from a few images of each class, for `classify --probe`";
const CLASS =
  "a class and its images: files, folders, lists, patterns, separated by commas; once for each class";
const LAMBDA = "strength of the penalty; default: the best by cross-validation on the images";

export function teachCommand(program: Command): void {
  imageOptions(modelOptions(program.command("teach").description(DESCRIPTION)))
    .addArgument(new Argument("<file>", "where the classifier goes, e.g. pets.probe"))
    .requiredOption("--class <name=images>", CLASS, collect)
    .addOption(featuresOption())
    .addOption(new Option("--lambda <x>", LAMBDA).argParser(positive))
    .addOption(batchSizeOption("images in one forward pass").default(32))
    .option("--auto-rotate", AUTO_ROTATE)
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../teach.js")).run));
}
