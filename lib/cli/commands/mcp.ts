import type { Command } from "commander";
import { AUTO_ROTATE, imageOptions, indexModelOptions } from "../options.js";
import { indexDeviceOption, indexPrecisionOption, indexRootOption } from "./index-options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = [
  "a server of the Model Context Protocol on standard input and output",
  "tools: search_images (with --index), classify_image, embed",
  "needs the packages @modelcontextprotocol/sdk and zod",
].join("; ");
const INDEX = "what search_images searches: a .npy, a .parquet or a manifest.json of `torchclip embed`";
const ROOT = "the folder whose images clients may name; default: the current one";

export function mcpCommand(program: Command): void {
  const described = program.command("mcp").description(DESCRIPTION);
  imageOptions(indexModelOptions(described, "that of --index, else tiny"))
    .option("--index <file>", INDEX)
    .addOption(indexPrecisionOption("searches"))
    .addOption(indexDeviceOption())
    .option("--root <folder>", ROOT)
    .addOption(indexRootOption("--image-root <folder>"))
    .option("--force", "search also with other weights than those that made the index")
    .option("--auto-rotate", AUTO_ROTATE)
    .action(loaded(async () => (await import("../mcp.js")).run));
}
