import { Argument, type Command } from "commander";
import { loaded } from "./loaded.js";

const DESCRIPTION = "installs what TorchScript (torch) or a GPU (cuda) needs, or lists what is installed";
const BACKEND = "torch: libtorch for the CPU, about 200 MB; cuda: libtorch with CUDA, about 3 GB";

export function setupCommand(program: Command): void {
  program
    .command("setup")
    .description(DESCRIPTION)
    .addArgument(new Argument("[backend]", BACKEND).choices(["torch", "cuda"]))
    .option("--list", "what is installed, and its size; the default without a backend")
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../setup.js")).run));
}
