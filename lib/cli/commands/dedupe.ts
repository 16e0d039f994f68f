import { Argument, Option, type Command } from "commander";
import { cosine } from "../options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "groups of near-duplicate images in an index; nothing is deleted";
const THRESHOLD = "cosine from which on two images count as near-duplicates";
const PRECISION = "fp32 compares the exact rows; bf16 and int8 hold them smaller";

export function dedupeCommand(program: Command): void {
  program
    .command("dedupe")
    .description(DESCRIPTION)
    .addArgument(new Argument("<index>", "a .npy (with its .npy.json) or a .parquet of `torchclip embed`"))
    .addOption(new Option("--threshold <cosine>", THRESHOLD).argParser(cosine).default(0.96))
    .addOption(
      new Option("--index-precision <type>", PRECISION).choices(["fp32", "bf16", "int8"]).default("fp32"),
    )
    .option("-o, --out <file>", "OUT.csv: group, row, name, score (cosine with the group's first image)")
    .option("--sheet <file>", "a contact sheet of the groups: .png or .html")
    .option("--root <folder>", "where the index's images are, if not where they were embedded from")
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../dedupe.js")).run));
}
