import { Argument, Option, type Command } from "commander";
import { imageOptions, indexModelOptions, whole } from "../options.js";
import { indexArgument, indexDeviceOption, indexPrecisionOption, indexRootOption } from "./index-options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "the images or texts of an index that are nearest to a text or an image";

export function searchCommand(program: Command): void {
  const described = program.command("search").description(DESCRIPTION);
  imageOptions(indexModelOptions(described))
    .addArgument(indexArgument())
    .addArgument(new Argument("<query...>", "texts, or paths and URLs of images"))
    .option("--text", "take every query for a text, also one that is written as a path or a URL")
    .option("--force", "search also with other weights than those that made the index")
    .addOption(new Option("-k, --top-k <n>", "how many").argParser(whole(1)).default(10))
    .addOption(indexPrecisionOption("searches"))
    .addOption(indexDeviceOption())
    .option("--sheet <file>", "a contact sheet of the images found: .png or .html")
    .addOption(indexRootOption())
    .option("--auto-rotate", "turn a query image as its EXIF orientation says; for an index embedded so")
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../search.js")).run));
}
