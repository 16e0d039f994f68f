import { Option, type Command } from "commander";
import { mirrorOptions, positive, TRUST_CODE, whole } from "../options.js";
import { loaded } from "./loaded.js";
import { connectionOptions } from "./queue-options.js";

const DESCRIPTION = [
  "embeds shards that `torchclip embed --queue … --enqueue …` put on a queue",
  "any number of workers, on any machines that see the images and the output",
  "Ctrl-C finishes the shards that were begun, a second one stops at once",
].join("; ");
const MODEL = "the same model where this machine has it under another name or path";
const DEVICE = "auto, cpu, cuda, cuda:N or cuda:all (a copy on each GPU)";
const CONCURRENCY = "shards that are embedded at once; default 2";
const HEARTBEAT =
  "seconds without a sign of life after which the shards of a worker go to another one; default 30";

export function workerCommand(program: Command): void {
  const described = connectionOptions(program.command("worker").description(DESCRIPTION));
  described
    .option("-m, --model <name|path>", MODEL)
    .addOption(new Option("-d, --device <device>", DEVICE).default("auto"))
    .addOption(
      new Option("--threads <n>", "compute threads on a CPU; 0: one a core")
        .argParser(whole(0, 1024))
        .default(0),
    )
    .addOption(new Option("--concurrency <n>", CONCURRENCY).argParser(whole(1, 64)))
    .addOption(new Option("--heartbeat <seconds>", HEARTBEAT).argParser(positive))
    .option("--exit-when-done", "end when no shard is left, instead of waiting for the next run")
    .option("--trust-code", TRUST_CODE)
    .option("--cache-dir <folder>", "where models are kept")
    .option("--json", "print a line of JSON for each shard");
  mirrorOptions(described).action(loaded(async () => (await import("../worker.js")).run));
}
