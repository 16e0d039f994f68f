import { Option, type Command } from "commander";
import { findSource, importModel } from "../models/import.js";
import type { ModelConfig } from "../models/config.js";
import { interruptSignal } from "./io.js";

export function importCommand(program: Command): void {
  program
    .command("import <path>")
    .description("weights (OpenAI .pt, safetensors, or a folder of them) to one artifact")
    .requiredOption("-o, --out <file>", "the artifact, e.g. model.pt")
    .option("--name <name>", "name that results show")
    .addOption(new Option("--activation <name>", "where the checkpoint does not say it").choices(["quick_gelu", "gelu"]))
    .action(async (path: string, flags: { out: string; name?: string; activation?: ModelConfig["activation"] }) => {
      const config = await importModel(await findSource(path), flags.out, { name: flags.name, activation: flags.activation, signal: interruptSignal() });
      const { vision, text } = config;
      process.stdout.write(
        `${flags.out}: ${config.architecture}, image ${vision.imageSize} px / ${vision.patchSize}, ${vision.layers} × ${vision.width}; text ${text.contextLength} tokens, ${text.layers} × ${text.width}; embedding ${config.embedDim}; ${config.activation}\n`,
      );
    });
}
