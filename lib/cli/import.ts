import { Option, type Command } from "commander";
import { findSource, importModel } from "../models/import.js";
import { describeModel, type Activation } from "../models/config.js";
import { interruptSignal } from "./io.js";

export function importCommand(program: Command): void {
  program
    .command("import <path>")
    .description("weights (OpenAI .pt, safetensors, or a folder of them) to one artifact")
    .requiredOption("-o, --out <file>", "the artifact, e.g. model.pt")
    .option("--name <name>", "name that results show")
    .option("--arch <name>", "open_clip's name of the architecture (ViT-H-14-quickgelu …), where no config lies beside the weights")
    .addOption(new Option("--activation <name>", "where the checkpoint does not say it").choices(["quick_gelu", "gelu", "gelu_tanh"]))
    .action(async (path: string, flags: { out: string; name?: string; arch?: string; activation?: Activation }) => {
      const { out, ...options } = flags;
      const config = await importModel(await findSource(path), out, { ...options, signal: interruptSignal() });
      process.stdout.write(`${out}: ${describeModel(config)}\n`);
    });
}
