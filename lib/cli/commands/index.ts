import type { Command } from "commander";
import { benchCommand } from "./bench.js";
import { classifyCommand } from "./classify.js";
import { clusterCommand } from "./cluster.js";
import { datasetsCommand } from "./datasets.js";
import { dedupeCommand } from "./dedupe.js";
import { doctorCommand } from "./doctor.js";
import { embedCommand } from "./embed.js";
import { evalCommand } from "./eval.js";
import { finetuneCommand } from "./finetune.js";
import { exportCommand } from "./export.js";
import { importCommand } from "./import.js";
import { mcpCommand } from "./mcp.js";
import { modelsCommand } from "./models.js";
import { probeCommand } from "./probe.js";
import { retrieveCommand } from "./retrieve.js";
import { searchCommand } from "./search.js";
import { serveCommand } from "./serve.js";
import { setupCommand } from "./setup.js";
import { tagCommand } from "./tag.js";
import { teachCommand } from "./teach.js";
import { workerCommand } from "./worker.js";

/**
 * The commands in the order of `torchclip --help`: names, arguments, options and help. What a command does is
 * in the file of its name one folder up, which is loaded when the command runs; a definition imports none of
 * it, so that the others start fast.
 */
export const COMMANDS: readonly ((program: Command) => void)[] = [
  classifyCommand,
  evalCommand,
  retrieveCommand,
  probeCommand,
  teachCommand,
  finetuneCommand,
  embedCommand,
  workerCommand,
  searchCommand,
  serveCommand,
  dedupeCommand,
  clusterCommand,
  tagCommand,
  mcpCommand,
  benchCommand,
  modelsCommand,
  datasetsCommand,
  importCommand,
  exportCommand,
  setupCommand,
  doctorCommand,
];
