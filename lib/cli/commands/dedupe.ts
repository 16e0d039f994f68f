import { Option, type Command } from "commander";
import { cosine } from "../options.js";
import { indexArgument, indexDeviceOption, indexPrecisionOption, indexRootOption } from "./index-options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "groups of near-duplicate images in an index; nothing is deleted";
const THRESHOLD = "cosine from which on two images count as near-duplicates";

export function dedupeCommand(program: Command): void {
  program
    .command("dedupe")
    .description(DESCRIPTION)
    .addArgument(indexArgument())
    .addOption(new Option("--threshold <cosine>", THRESHOLD).argParser(cosine).default(0.96))
    .addOption(indexPrecisionOption("compares"))
    .addOption(indexDeviceOption())
    .option("-o, --out <file>", "OUT.csv: group, row, name, score (cosine with the group's first image)")
    .option("--sheet <file>", "a contact sheet of the groups: .png or .html")
    .addOption(indexRootOption())
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../dedupe.js")).run));
}
