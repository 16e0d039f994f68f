import { Option, type Command } from "commander";
import { loaded } from "./loaded.js";

const MODEL =
  "check a model here, in every precision: against its goldens, else against TorchScript in fp32 on the CPU";
const GOLDENS =
  "with --model: what its reference gives " +
  "(default: MODEL.goldens.json beside its artifact, where there is one)";
const WRITE_GOLDENS =
  "with --model: write what TorchScript in fp32 gives on this CPU, to check another machine by";

export function doctorCommand(program: Command): void {
  program
    .command("doctor")
    .description("what was found on this machine, and what to do about what is missing")
    .option("-m, --model <name|path>", MODEL)
    .option("--goldens <file>", GOLDENS)
    .option("--write-goldens <file>", WRITE_GOLDENS)
    .addOption(new Option("-d, --device <device>", "with --model: the device to check").default("auto"))
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../doctor.js")).run));
}
