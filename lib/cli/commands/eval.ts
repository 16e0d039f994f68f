import { Option, type Command } from "commander";
import { AUTO_ROTATE, batchSizeOption, imageOptions, modelOptions, ROOT, whole } from "../options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "zero-shot accuracy, precision and recall on a labelled data set";
const DATASET = "data set: a name, a folder with a class a folder, or a .csv/.tsv/.jsonl list";
const MODELS = "several models: one table of models × data sets, results of each cell below --out";
const COMPARE =
  "evaluates nothing: the difference in accuracy of two results on the same images, with its interval and " +
  "McNemar's exact p";
const CLASSES =
  "class names, found by name or in the order of class ids, and put into the prompts: " +
  "a,b,… or a file with one a line";
const TEMPLATE = 'prompt template with {} for the class, e.g. "a {} review of a movie."';
const PROBE = "evaluate this probe (of `torchclip probe` or `teach`), beside zero-shot with McNemar's test";
const OUT = "where results.json, predictions.csv, images and report.html go";
const LIMIT = "only n images, the first ones of each class";
const SEED = "seed of sampling and of bootstrap intervals";
const ON_ERROR = "an image that cannot be read: skip it and count it, or fail";
const KEEP_UNDERSCORES = 'put "_" of class names into the prompts as it is, instead of a space';
/** The article's image. */
const DEFAULT_EXAMPLE = 250;

export function evalCommand(program: Command): void {
  const described = program.command("eval").description(DESCRIPTION);
  imageOptions(modelOptions(described))
    .option("-s, --dataset <name|path>", DATASET, "rendered-demo")
    .option("--models <a,b,…>", MODELS)
    .option("--datasets <c,d,…>", "several data sets for the table")
    .option("--compare <results.json...>", COMPARE)
    .option("--split <split>", "train, valid or test")
    .option("--root <folder>", ROOT)
    .option("--classes <names|file>", CLASSES)
    .option("--template <text...>", TEMPLATE)
    .option("--templates <file>", "prompt templates from a file, one a line")
    .option("--probe <file>", PROBE)
    .option("-o, --out <folder>", OUT, "torchclip-eval")
    .addOption(batchSizeOption("images in one forward pass").default(32))
    .addOption(new Option("--limit <n>", LIMIT).argParser(whole(1)))
    .addOption(new Option("--sample <n>", "n random images (see --seed)").argParser(whole(1)))
    .addOption(new Option("--seed <n>", SEED).argParser(whole(0)).default(0))
    .addOption(
      new Option("--example <n>", "which image is shown").argParser(whole(0)).default(DEFAULT_EXAMPLE),
    )
    .addOption(new Option("--on-error <what>", ON_ERROR).choices(["skip", "fail"]).default("skip"))
    .option("--auto-rotate", AUTO_ROTATE)
    .option("--keep-underscores", KEEP_UNDERSCORES)
    .option("--resume", "go on where a stopped evaluation into the same --out was")
    .option("--json", "print results.json instead of text")
    .action(loaded(async () => (await import("../eval.js")).run));
}
