import { Option, type Command } from "commander";
import { TRUST_CODE, whole } from "../options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION =
  "weights (safetensors, PyTorch, ONNX, OpenAI's .pt, a folder of them, a hub id or a model's name) " +
  "to one artifact";
const ARCHITECTURE =
  "open_clip's name of the architecture (ViT-H-14-quickgelu …), where no config lies beside the weights";
const IMAGE_SIZE = "of a TorchScript export whose weights do not show it";
const ACTIVATIONS = ["quick_gelu", "gelu", "gelu_tanh"];

export function importCommand(program: Command): void {
  program
    .command("import <path|name>")
    .description(DESCRIPTION)
    .requiredOption("-o, --out <file>", "the artifact, e.g. model.pt")
    .option("--name <name>", "name that results show")
    .option("--arch <name>", ARCHITECTURE)
    .addOption(new Option("--activation <name>", "where the checkpoint does not say it").choices(ACTIVATIONS))
    .option("--trust-code", TRUST_CODE)
    .addOption(new Option("--image-size <n>", IMAGE_SIZE).argParser(whole(1, 4096)))
    .addOption(
      new Option("--context-length <n>", "context length of such an export, in tokens").argParser(
        whole(1, 65536),
      ),
    )
    .action(loaded(async () => (await import("../import.js")).run));
}
