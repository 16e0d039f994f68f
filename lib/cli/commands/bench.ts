import { Option, type Command } from "commander";
import { modelOptions, whole } from "../options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "this machine's speed: devices × precisions × batch sizes";

export function benchCommand(program: Command): void {
  modelOptions(program.command("bench").description(DESCRIPTION))
    .option("--devices <list>", "cpu, cuda, cuda:N", "cpu,cuda")
    .option("--precisions <list>", "fp32, bf16, fp16, int8 (CPU), fp8 (GPU)", "fp32,bf16,int8")
    .option("--batches <list>", "images in one forward pass", "1,8,32")
    .addOption(new Option("--seconds <n>", "time for each line").argParser(whole(1, 3600)).default(3))
    .option("--plot <file.svg>", "a chart of the images per second")
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../bench.js")).run));
}
