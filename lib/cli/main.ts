#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { toTorchclipError } from "../errors.js";
import { packageVersion } from "../util/package.js";
import { COMMANDS } from "./commands/index.js";
import { exitCode, note } from "./io.js";

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

// Commands that are added later inherit exitOverride.
const program = new Command("torchclip")
  .description("CLIP for Node.js: zero-shot classification, evaluation, embeddings and search")
  .version(packageVersion())
  .exitOverride();
for (const add of COMMANDS) add(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const { code, message } = toTorchclipError(error);
    note(`torchclip: ${code}: ${message}`);
    process.exitCode = exitCode(error);
  }
}
