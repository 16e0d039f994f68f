import { Argument, Option, type Command } from "commander";
import { AUTO_ROTATE, batchSizeOption, imageOptions, modelOptions, whole } from "../options.js";
import { loaded } from "./loaded.js";
import { queueOptions } from "./queue-options.js";

const DESCRIPTION = [
  "embeddings of many images or texts into a .npy or .parquet file, or into a vector database",
  "goes on after a stop",
  "exit status 3 where items failed",
].join("; ");
const INPUT = "a folder, a .tar, or a list of images: .csv, .tsv, .jsonl (column path or image), .txt";
const OUT =
  "OUT.npy (float32 [rows, dim], names in OUT.npy.json) or OUT.parquet (name, embedding, error, content)";
const TO = [
  "a file as for --out, or a table that gets a row for each content: pgvector://user@host/database?table=name",
  "lancedb:folder?table=name",
  "qdrant://host:6333/collection",
].join(", ");
const UPDATE = "take over the rows of OUT whose images did not change since; the others are new, or go";
const WATCH = "go on when files of the folder change, until Ctrl-C";
const CREATE = "make the table of --to where it is not there";
const PRUNE = "remove rows of this input whose content is no longer in it";
const BATCH_BYTES = "bytes that are sent to a database at once; default 4,194,304 (4 MiB)";
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
    .option("--to <target>", TO)
    .option("--update", UPDATE)
    .option("--watch", WATCH)
    .option("--create", CREATE)
    .option("--prune", PRUNE)
    .addOption(new Option("--batch-bytes <n>", BATCH_BYTES).argParser(whole(1)))
    .addOption(batchSizeOption("images or texts in one forward pass"))
    .option("--truncate", "cut texts that are longer than the context instead of failing")
    .option("--auto-rotate", AUTO_ROTATE)
    .option("--fast-decode", FAST_DECODE)
    .addOption(new Option("--resize-on <place>", RESIZE_ON).choices(PLACES))
    .addOption(new Option("--decode-on <place>", DECODE_ON).choices(PLACES))
    .option("--json", "print the summary as JSON")
    .action(loaded(async () => (await import("../embed.js")).run));
}
