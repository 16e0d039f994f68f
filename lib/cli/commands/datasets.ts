import { Option, type Command } from "commander";
import { mirrorOptions, ROOT, whole } from "../options.js";
import { loaded } from "./loaded.js";

const RENDER = "a TSV of sentence and label as images that look like Rendered SST2: OUT/CLASS/NNNNN.png";
const FONT_SIZE = "height of the letters; by default what fits";

export function datasetsCommand(program: Command): void {
  const command = program.command("datasets").description("the data sets known by name; show or render one");
  command
    .command("list", { isDefault: true })
    .description("names and what they are")
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../datasets.js")).list));
  const showing = command
    .command("show <name|path>")
    .description("classes and counts of all splits")
    .option("--split <split>", "train, valid or test")
    .option("--root <folder>", ROOT)
    .option("--cache-dir <folder>", "where downloaded and generated data sets are kept");
  mirrorOptions(showing).action(loaded(async () => (await import("../datasets.js")).show));
  command
    .command("render <file>")
    .description(RENDER)
    .requiredOption("-o, --out <folder>", "where the class folders go")
    .option("--classes <a,b,…>", "class folders for the labels 0, 1, …", "negative,positive")
    .addOption(new Option("--size <pixels>", "side of the images").argParser(whole(32, 4096)).default(448))
    .addOption(new Option("--font-size <pixels>", FONT_SIZE).argParser(whole(6, 512)))
    .action(loaded(async () => (await import("../datasets.js")).render));
}
