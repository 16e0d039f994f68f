import { Argument, Option, type Command } from "commander";
import { imageOptions, indexModelOptions, whole } from "../options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "the images or texts of an index that are nearest to a text or an image";
const PRECISION = "fp32 searches the exact rows; bf16 and int8 hold them smaller";

export function searchCommand(program: Command): void {
  const described = program.command("search").description(DESCRIPTION);
  imageOptions(indexModelOptions(described))
    .addArgument(new Argument("<index>", "a .npy (with its .npy.json) or a .parquet of `torchclip embed`"))
    .addArgument(new Argument("<query...>", "texts, or paths and URLs of images"))
    .option("--text", "take every query for a text, also one that is written as a path or a URL")
    .option("--force", "search also with other weights than those that made the index")
    .addOption(new Option("-k, --top-k <n>", "how many").argParser(whole(1)).default(10))
    .addOption(
      new Option("--index-precision <type>", PRECISION).choices(["fp32", "bf16", "int8"]).default("fp32"),
    )
    .option("--sheet <file>", "a contact sheet of the images found: .png or .html")
    .option("--root <folder>", "where the index's images are, if not where they were embedded from")
    .option("--auto-rotate", "turn a query image as its EXIF orientation says; for an index embedded so")
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../search.js")).run));
}
