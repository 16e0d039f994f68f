import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { TorchclipError } from "../errors.js";
import { tableCell, tableCsv, tableMarkdown, type SavedResults, type TableCell } from "../eval/table.js";
import { writeFileWhole } from "../util/files.js";
import { evaluate, type EvalFlags } from "./evaluate.js";
import { interruptSignal, list, note } from "./io.js";
import { refuseGiven } from "./option-rules.js";

interface Flags extends EvalFlags {
  models?: string;
  datasets?: string;
  compare?: string[];
  probe?: string;
}

/** What `torchclip eval` does. */
export async function run(flags: Flags, command: Command): Promise<void> {
  if (flags.compare) {
    const { compare } = await import("./compare.js");
    await compare(flags.compare, flags);
    return;
  }
  const signal = interruptSignal();
  if (flags.models || flags.datasets) await table(flags, signal);
  else if (flags.probe !== undefined) {
    refuseGiven(command, ["resume", "keep-underscores"], "cannot be given with --probe");
    await (await import("./eval-probe.js")).evaluateProbe(flags, flags.probe, signal);
  } else await evaluate(flags, signal, (text) => process.stdout.write(`${text}\n`));
}

/**
 * Models × data sets. A cell whose results.json is there is not computed again with --resume; the tables are
 * written after each cell, so that a stopped run has what is done.
 */
async function table(flags: Flags, signal: AbortSignal): Promise<void> {
  if (flags.probe !== undefined) {
    const message = "--probe belongs to one model: give --model and --dataset, not --models or --datasets";
    throw new TorchclipError("E_ARGUMENT", message, { subject: "probe" });
  }
  const models = list(flags.models) ?? [flags.model];
  const datasets = list(flags.datasets) ?? [flags.dataset];
  const cells: TableCell[] = [];
  for (const model of models) {
    for (const dataset of datasets) {
      cells.push(await cell({ ...flags, model, dataset }, signal));
      await saveTables(flags.out, cells);
    }
  }
  process.stdout.write(flags.json ? `${JSON.stringify(cells, null, 2)}\n` : tableMarkdown(cells));
  note(`Saved: ${["md", "csv", "json", "html"].map((e) => join(flags.out, `table.${e}`)).join(", ")}`);
}

/** One model on one data set: evaluated now, or by an earlier run with the same settings. */
async function cell(flags: Flags, signal: AbortSignal): Promise<TableCell> {
  const { model, dataset } = flags;
  const name = join(fileName(model), fileName(dataset));
  const out = join(flags.out, name);
  const file = join(out, "results.json");
  const settingsFile = join(out, "run.json");
  const settings = settingsOf(flags);
  const resume = flags.resume && (await readFile(settingsFile, "utf8").catch(() => "")) === settings;
  const finished = resume ? await readFile(file, "utf8").catch(() => undefined) : undefined;
  if (finished === undefined) {
    note(`${model} on ${dataset}`);
    await evaluate({ ...flags, out, json: false, resume, singleLabel: true }, signal);
    await writeFileWhole(settingsFile, settings);
  }
  const results = JSON.parse(finished ?? (await readFile(file, "utf8"))) as SavedResults;
  return tableCell(model, dataset, results, join(name, "results.json"));
}

/** What must be equal for a cell of an earlier run to belong to this table. */
function settingsOf(flags: Flags): string {
  const lists = { models: undefined, datasets: undefined };
  return JSON.stringify({ ...flags, ...lists, resume: undefined, json: undefined, out: undefined });
}

async function saveTables(folder: string, cells: readonly TableCell[]): Promise<void> {
  const { tablePage } = await import("../report/table.js");
  await writeFileWhole(join(folder, "table.md"), tableMarkdown(cells));
  await writeFileWhole(join(folder, "table.csv"), tableCsv(cells));
  await writeFileWhole(join(folder, "table.json"), `${JSON.stringify(cells, null, 2)}\n`);
  await writeFileWhole(join(folder, "table.html"), await tablePage(cells));
}

/** A model's or data set's name as a folder's. */
function fileName(name: string): string {
  return name.replace(/[^\w.@-]+/g, "-").replace(/^[-.]+|-+$/g, "") || "model";
}
