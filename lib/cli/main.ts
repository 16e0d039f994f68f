#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { toTorchclipError } from "../errors.js";
import { packageVersion } from "../util/package.js";
import { benchCommand } from "./bench.js";
import { classifyCommand } from "./classify.js";
import { datasetsCommand } from "./datasets.js";
import { doctorCommand } from "./doctor.js";
import { embedCommand } from "./embed.js";
import { evalCommand } from "./eval.js";
import { importCommand } from "./import.js";
import { exitCode, note } from "./io.js";
import { modelsCommand } from "./models.js";
import { searchCommand } from "./search.js";

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

const program = new Command("torchclip")
  .description("CLIP for Node.js: zero-shot classification, evaluation, embeddings and search")
  .version(packageVersion())
  .exitOverride();
for (const add of [
  classifyCommand,
  evalCommand,
  embedCommand,
  searchCommand,
  benchCommand,
  modelsCommand,
  datasetsCommand,
  importCommand,
  doctorCommand,
])
  add(program);
// exitOverride is not inherited by commands that exist already.
const override = (command: Command): void => {
  command.exitOverride();
  command.commands.forEach(override);
};
override(program);

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
