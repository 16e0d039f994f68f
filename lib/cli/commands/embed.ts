import { Argument, Option, type Command } from "commander";
import { AUTO_ROTATE, batchSizeOption, imageOptions, modelOptions } from "../options.js";
import { loaded } from "./loaded.js";
import { queueOptions } from "./queue-options.js";

const DESCRIPTION = [
  "embeddings of many images or texts into a .npy or .parquet file",
  "goes on after a stop",
  "exit status 3 where items failed",
].join("; ");
const INPUT = "a folder, a .tar, or a list of images: .csv, .tsv, .jsonl (column path or image), .txt";
const OUT = "OUT.npy (float32 [rows, dim], names in OUT.npy.json) or OUT.parquet (name, embedding, error)";
const FAST_DECODE =
  "let the JPEG decoder leave out detail that the resize throws away; faster, not bit-exact";
const RESIZE_ON = "device: images are resized where the model runs, with the same bits";
const DECODE_ON = "device: JPEG files are decoded by the GPU; faster, not bit-exact";
const PLACES = ["cpu", "device"];

export function embedCommand(program: Command): void {
  const described = program.command("embed").description(DESCRIPTION);
  queueOptions(imageOptions(modelOptions(described)))
    .addArgument(new Argument("[input]", INPUT))
    .option("--texts <file>", "embed the lines of a file instead of images")
    .option("-o, --out <file>", OUT)
    .addOption(batchSizeOption("images or texts in one forward pass"))
    .option("--truncate", "cut texts that are longer than the context instead of failing")
    .option("--auto-rotate", AUTO_ROTATE)
    .option("--fast-decode", FAST_DECODE)
    .addOption(new Option("--resize-on <place>", RESIZE_ON).choices(PLACES))
    .addOption(new Option("--decode-on <place>", DECODE_ON).choices(PLACES))
    .option("--json", "print the summary as JSON")
    .action(loaded(async () => (await import("../embed.js")).run));
}
