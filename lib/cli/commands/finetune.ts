import { InvalidArgumentError, Option, type Command } from "commander";
import { AUTO_ROTATE, imageOptions, modelOptions, positive, probability, ROOT, whole } from "../options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION =
  "fine-tune a model on a labelled data set with libtorch; the result is a model of its own";
const DATASET = "data set with splits: a name, a folder, or a .csv/.tsv/.jsonl list";
const METHOD =
  "what is trained: the image tower against prompts that stay (image), its last blocks (last-layers), " +
  "low-rank adapters (lora), or both towers by the contrastive loss (flyp)";
const VALID = "split that is tested while training goes on; none where the data set has none of that name";
const OUT = "where the model, its training curves, results.json, predictions.csv and report.html go";
const STRICT = "fail where an image is in two splits, which otherwise is a note";
const CROP =
  "random resized crop with a share of the image's area in this range, e.g. 0.08,1; " +
  "none: the model's own transform";
const PATIENCE = "end after so many validations without a better one, and take the best";
const WISE = "WiSE-FT: share of the trained weights in the result, the rest is the start's";
const SWEEP = "test the shares 0, 0.1 … 1 of the trained weights on the test split";
const SHOTS = "train on so many images of each class, drawn by --seed";
const BATCH = "images in one forward and backward pass";

/** Parses "0.08,1" or "none". */
function cropScale(text: string): [number, number] | "none" {
  if (text === "none") return "none";
  const numbers = text.split(",").map(positive);
  if (numbers.length !== 2) throw new InvalidArgumentError("it must be two numbers, as 0.08,1, or none.");
  return [numbers[0], numbers[1]];
}

/** Parses a number of at least 0. */
function atLeastZero(text: string): number {
  return text.trim() !== "" && Number(text) === 0 ? 0 : positive(text);
}

export function finetuneCommand(program: Command): void {
  const command = imageOptions(modelOptions(program.command("finetune").description(DESCRIPTION)))
    .option("-s, --dataset <name|path>", DATASET, "scenes")
    .option("--train-split <split>", "split that is trained on", "train")
    .option("--valid-split <split>", VALID, "valid")
    .option("--test-split <split>", "split that is tested before and after", "test")
    .option("--root <folder>", ROOT)
    .addOption(
      new Option("--method <method>", METHOD)
        .choices(["image", "last-layers", "lora", "flyp"])
        .default("image"),
    )
    .option(
      "--template <text...>",
      "prompt templates with {} for the class; default: the data set's first set",
    )
    .option("-o, --out <folder>", OUT, "torchclip-finetune")
    .addOption(new Option("--shots <n>", SHOTS).argParser(whole(1)));
  recipeOptions(command);
  loraFlags(command);
  runOptions(command)
    .option("--auto-rotate", AUTO_ROTATE)
    .option("--strict", STRICT)
    .option("--json", "print training.json instead of text")
    .action(loaded(async () => (await import("../finetune.js")).run));
}

/** The options whose defaults are the method's recipe. */
function recipeOptions(command: Command): void {
  command
    .addOption(new Option("--steps <n>", "steps; default: the method's recipe").argParser(whole(1)))
    .addOption(new Option("--optimizer <name>", "default: the recipe's").choices(["adamw", "adam", "sgd"]))
    .addOption(new Option("--learning-rate <x>", "the highest learning rate").argParser(positive))
    .addOption(new Option("--least-learning-rate <x>", "at the end of the cosine").argParser(atLeastZero))
    .addOption(new Option("--warmup <n>", "steps in which the learning rate rises").argParser(whole(0)))
    .addOption(new Option("--weight-decay <x>").argParser(atLeastZero))
    .addOption(new Option("--momentum <x>", "of sgd").argParser(probability))
    .addOption(
      new Option("--clip-norm <x>", "shorten gradients to this norm; 0: none is").argParser(atLeastZero),
    )
    .addOption(new Option("-b, --batch-size <n>", BATCH).argParser(whole(1, 65536)))
    .addOption(new Option("--accumulate <n>", "passes whose gradients make one step").argParser(whole(1)))
    .addOption(new Option("--crop-scale <a,b|none>", CROP).argParser(cropScale))
    .option("--flip", "mirror every other image; wrong for text")
    .addOption(new Option("--layers <n>", "last-layers: blocks that are trained").argParser(whole(1)));
}

function loraFlags(command: Command): void {
  command
    .addOption(new Option("--rank <n>", "lora: rank of the adapters").argParser(whole(1)))
    .addOption(new Option("--alpha <x>", "lora: scale, divided by √rank").argParser(positive))
    .addOption(
      new Option("--dropout <x>", "lora: share of the adapters' input that is dropped").argParser(
        probability,
      ),
    )
    .addOption(
      new Option("--towers <which>", "lora: towers with adapters").choices(["image", "text", "both"]),
    )
    .option("--projections <a,b,…>", "lora: some of q, k, v, out")
    .option("--no-rank-stabilized", "lora: divide alpha by the rank instead of its root, as PEFT's default");
}

function runOptions(command: Command): Command {
  return command
    .addOption(new Option("--validate-every <n>", "steps; default: a tenth of all").argParser(whole(1)))
    .addOption(new Option("--patience <n>", PATIENCE).argParser(whole(1)))
    .addOption(new Option("--checkpoint-every <n>", "steps").argParser(whole(1)).default(500))
    .option("--resume", "go on from the checkpoint in --out, where there is one")
    .addOption(new Option("--wise <share>", WISE).argParser(probability))
    .option("--wise-sweep", SWEEP)
    .option("--no-bf16", "on a GPU compute in fp32 instead of bf16")
    .addOption(
      new Option("--seed <n>", "seed of the order, crops, dropout and adapters")
        .argParser(whole(0))
        .default(0),
    )
    .addOption(new Option("--example <n>", "which image is shown").argParser(whole(0)).default(0));
}
