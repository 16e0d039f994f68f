import { Argument, Option, type Command } from "commander";
import { ARTICLE_PROMPTS } from "../../text/prompts.js";
import { batchSizeOption, imageOptions, modelOptions, probability, whole } from "../options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "rank labels for images; exit status 3 where some of the images failed";
const IMAGES = [
  "image files, URLs, folders, .tar files, lists (.csv, .tsv, .jsonl, .txt)",
  'patterns ("photos/**/*.jpg")',
  "- for paths on standard input, one a line",
].join(", ");
const MULTI_LABEL = [
  "judge each label by itself",
  "a model with the softmax loss (CLIP) needs --negative-template for it, one with the sigmoid loss does not",
].join("; ");
const NEGATIVE = 'what stands against each label, with {} for it or without, e.g. "a photo without a {}"';
const PROBE = "a probe that `torchclip teach` or `torchclip probe` wrote, instead of labels and prompts";
const THRESHOLD = "least probability of a label that is shown";
const TOP = "labels shown; default 5, with --threshold or --multi-label all";

export function classifyCommand(program: Command): void {
  imageOptions(modelOptions(program.command("classify").description(DESCRIPTION)))
    .addArgument(new Argument("<image...>", IMAGES))
    .option("-l, --labels <a,b,…>", "labels, separated by commas")
    .option("--labels-file <file>", "labels from a file, one a line; after those of --labels")
    .option("--probe <file>", PROBE)
    .option("--template <text...>", "prompt template with {} for the label", ARTICLE_PROMPTS.templates)
    .option("--multi-label", MULTI_LABEL)
    .option("--negative-template <text...>", NEGATIVE)
    .addOption(new Option("--threshold <p>", THRESHOLD).argParser(probability))
    .addOption(new Option("-k, --top-k <n>", TOP).argParser(whole(1)))
    .addOption(batchSizeOption("images in one forward pass; default 32"))
    .option("--auto-rotate", "turn images as their EXIF orientation says")
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../classify.js")).run));
}
