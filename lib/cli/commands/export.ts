import { Option, type Command } from "commander";
import { mirrorOptions, whole } from "../options.js";
import { loaded } from "./loaded.js";

const TRITON =
  "a model repository for Triton Inference Server (PyTorch backend, dynamic batching): images and texts to embeddings";
const MODEL = "model name, or path of an artifact or of weights";
const NAME = "the models are NAME_image and NAME_text";
const PRECISION = "type of the weights and of the arithmetic; fp16 is for GPUs";
const DELAY = "microseconds that a request may wait for others to share its pass";
const DEVICE = "auto takes a GPU where the server has one";

export function exportCommand(program: Command): void {
  const parent = program.command("export").description("write a model for another inference server");
  mirrorOptions(parent.command("triton <folder>").description(TRITON))
    .requiredOption("-m, --model <name|path>", MODEL)
    .option("--name <name>", NAME, "clip")
    .addOption(new Option("--precision <type>", PRECISION).choices(["fp32", "fp16"]).default("fp32"))
    .addOption(new Option("--max-batch-size <n>", "rows in one pass").argParser(whole(1, 65536)).default(64))
    .addOption(new Option("--max-delay <n>", DELAY).argParser(whole(0)).default(1000))
    .addOption(new Option("--device <device>", DEVICE).choices(["auto", "cpu", "gpu"]).default("auto"))
    .option("--cache-dir <folder>", "where models are kept")
    .action(loaded(async () => (await import("../export.js")).triton));
}
