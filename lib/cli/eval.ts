import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { Option, type Command } from "commander";
import { load } from "../clip/load.js";
import { loadDataset, type Dataset } from "../datasets/index.js";
import { TorchclipError } from "../errors.js";
import { runManifest, zeroShot } from "../eval/native.js";
import { tableCell, tableCsv, tableMarkdown, type SavedResults, type TableCell } from "../eval/table.js";
import { removeJournal } from "../eval/zero-shot.js";
import { countParameters } from "../models/parameters.js";
import { ranked, saveResults } from "../report/save.js";
import { tablePage } from "../report/table.js";
import { datasetLines, metricsText, modelLines, timesText, topPredictions } from "../report/text.js";
import { checkTemplates, type PromptSet } from "../text/prompts.js";
import { writeFileWhole } from "../util/files.js";
import { readLines } from "../util/text-file.js";
import { interruptSignal, list, note, progressBar, remark } from "./io.js";
import {
  imageOptions,
  loadOptions,
  modelOptions,
  whole,
  type ImageFlags,
  type ModelFlags,
} from "./options.js";

interface Flags extends ModelFlags, ImageFlags {
  dataset: string;
  split?: string;
  root?: string;
  classes?: string;
  template?: string[];
  templates?: string;
  out: string;
  batchSize: number;
  limit?: number;
  sample?: number;
  seed: number;
  example: number;
  onError: "skip" | "fail";
  autoRotate?: boolean;
  keepUnderscores?: boolean;
  resume?: boolean;
  json?: boolean;
  models?: string;
  datasets?: string;
}

const CLASSES =
  "class names, found by name or in the order of class ids, and put into the prompts: " +
  "a,b,… or a file with one a line";
const DEFAULT_EXAMPLE = 250; // the article's image

export function evalCommand(program: Command): void {
  imageOptions(
    modelOptions(
      program.command("eval").description("zero-shot accuracy, precision and recall on a labelled data set"),
    ),
  )
    .option(
      "-s, --dataset <name|path>",
      "data set: a name, a folder with a class a folder, or a .csv/.tsv/.jsonl list",
      "rendered-demo",
    )
    .option(
      "--models <a,b,…>",
      "several models: one table of models × data sets, results of each cell below --out",
    )
    .option("--datasets <c,d,…>", "several data sets for the table")
    .option("--split <split>", "train, valid or test")
    .option(
      "--root <folder>",
      "for a data set by name: the folder with its own files, unpacked, instead of the download",
    )
    .option("--classes <names|file>", CLASSES)
    .option("--template <text...>", 'prompt template with {} for the class, e.g. "a {} review of a movie."')
    .option("--templates <file>", "prompt templates from a file, one a line")
    .option(
      "-o, --out <folder>",
      "where results.json, predictions.csv, images and report.html go",
      "torchclip-eval",
    )
    .addOption(
      new Option("-b, --batch-size <n>", "images in one forward pass").argParser(whole(1, 65536)).default(32),
    )
    .addOption(new Option("--limit <n>", "only n images, the first ones of each class").argParser(whole(1)))
    .addOption(new Option("--sample <n>", "n random images (see --seed)").argParser(whole(1)))
    .addOption(
      new Option("--seed <n>", "seed of sampling and of bootstrap intervals").argParser(whole(0)).default(0),
    )
    .addOption(
      new Option("--example <n>", "which image is shown").argParser(whole(0)).default(DEFAULT_EXAMPLE),
    )
    .addOption(
      new Option("--on-error <what>", "an image that cannot be read: skip it and count it, or fail")
        .choices(["skip", "fail"])
        .default("skip"),
    )
    .option("--auto-rotate", "turn images as their EXIF orientation says (CLIP's reference does not)")
    .option("--keep-underscores", 'put "_" of class names into the prompts as it is, instead of a space')
    .option("--resume", "go on where a stopped evaluation into the same --out was")
    .option("--json", "print results.json instead of text")
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const signal = interruptSignal();
  if (flags.models || flags.datasets) return table(flags, signal);
  return evaluate(flags, signal);
}

/**
 * Models × data sets. A cell whose results.json is there is not computed again with --resume; the tables are
 * written after each cell, so that a stopped run has what is done.
 */
async function table(flags: Flags, signal: AbortSignal): Promise<void> {
  const models = list(flags.models) ?? [flags.model];
  const datasets = list(flags.datasets) ?? [flags.dataset];
  const cells: TableCell[] = [];
  for (const model of models) {
    for (const dataset of datasets) {
      const name = join(fileName(model), fileName(dataset));
      const out = join(flags.out, name);
      const file = join(out, "results.json");
      // A cell of other settings is not this table's.
      const key = JSON.stringify({
        ...flags,
        model,
        dataset,
        models: undefined,
        datasets: undefined,
        resume: undefined,
        json: undefined,
        out: undefined,
      });
      const same = flags.resume && (await readFile(join(out, "run.json"), "utf8").catch(() => "")) === key;
      const finished = same ? await readFile(file, "utf8").catch(() => undefined) : undefined;
      if (finished === undefined) {
        note(`${model} on ${dataset}`);
        await evaluate({ ...flags, model, dataset, out, json: false, resume: same }, signal, () => {});
        await writeFileWhole(join(out, "run.json"), key);
      }
      cells.push(
        tableCell(
          model,
          dataset,
          JSON.parse(finished ?? (await readFile(file, "utf8"))) as SavedResults,
          join(name, "results.json"),
        ),
      );
      await writeFileWhole(join(flags.out, "table.md"), tableMarkdown(cells));
      await writeFileWhole(join(flags.out, "table.csv"), tableCsv(cells));
      await writeFileWhole(join(flags.out, "table.json"), `${JSON.stringify(cells, null, 2)}\n`);
      await writeFileWhole(join(flags.out, "table.html"), await tablePage(cells));
    }
  }
  process.stdout.write(flags.json ? `${JSON.stringify(cells, null, 2)}\n` : tableMarkdown(cells));
  note(`Saved: ${["md", "csv", "json", "html"].map((e) => join(flags.out, `table.${e}`)).join(", ")}`);
}

/** A model's or data set's name as a folder's. */
function fileName(name: string): string {
  return name.replace(/[^\w.@-]+/g, "-").replace(/^[-.]+|-+$/g, "") || "model";
}

async function evaluate(
  flags: Flags,
  signal: AbortSignal,
  write = (text: string) => void process.stdout.write(`${text}\n`),
): Promise<void> {
  const print = flags.json ? () => {} : write;
  const drawing = progressBar("data set");
  const classNames = await classList(flags.classes);
  let data = await loadDataset(flags.dataset, {
    classes: classNames, // a list's labels are found in them by name, or are their places
    split: flags.split,
    root: flags.root,
    cacheDir: flags.cacheDir,
    offline: flags.offline,
    mirror: flags.mirror,
    mirrorFallback: flags.mirrorFallback,
    signal,
    onNote: remark,
    onProgress: drawing.update,
  }).finally(() => drawing.stop());
  data.notes.forEach(remark);
  const prompts = await promptSet(flags);
  // Names that are the set's own are found by name, ids are places in --classes; other names stand for the
  // set's, by place.
  const ordered = classNames && data.withClasses(classNames);
  if (ordered) data = ordered;
  if (flags.sample) data = data.sample(flags.sample, flags.seed);
  if (flags.limit) data = limited(data, flags.limit);

  const clip = await load(flags.model, loadOptions(flags, signal));
  try {
    print(`${modelLines(clip)}\n\n${datasetLines(data)}\n`);
    const journal = join(flags.out, "evaluation.journal");
    const bar = progressBar("evaluate");
    const result = await zeroShot(clip, data, {
      prompts,
      classNames,
      keepUnderscores: flags.keepUnderscores,
      batchSize: flags.batchSize,
      onError: flags.onError,
      autoRotate: flags.autoRotate,
      journal,
      resume: flags.resume,
      seed: flags.seed,
      signal,
      onProgress: bar.update,
    }).finally(() => bar.stop());
    if (result.predictions.length === 0)
      throw new TorchclipError(
        "E_DATASET_EMPTY",
        `none of the ${data.length} images of ${data.name} could be read`,
        { subject: data.name },
      );
    const { seed, batchSize, autoRotate = false } = flags;
    // A third-party export may hold tensors that cannot be read as data; it runs all the same.
    const parameters = await countParameters(clip.info.path).catch(() => undefined);
    const manifest = runManifest(clip, data, result, { seed, batchSize, autoRotate, parameters });
    const files = await saveResults(flags.out, data, result, manifest, flags.example);
    await removeJournal(journal);
    if (flags.json) {
      process.stdout.write(await readFile(files.results, "utf8"));
      return;
    }
    const shown = result.predictions.find((p) => p.index === flags.example) ?? result.predictions[0];
    print(
      `Image ${shown.index} (${shown.name}), true class: ${data.classes[shown.label]}\n` +
        `Prompt: "${result.prompts.templates[0]}" (${result.prompts.source})\n`,
    );
    print(`${topPredictions(ranked(result.classNames, shown.probabilities, 5))}\n`);
    print(`${metricsText(result, data.classes)}\n\n${timesText(result.times)}`);
    print(`Saved: ${Object.values(files).join(", ")}`);
  } catch (error) {
    if (signal.aborted) note(`Stopped. The same command with --resume goes on where it was.`);
    throw error;
  } finally {
    await clip.close();
  }
}

/** The first images of each class; says so where classes are left without one. */
function limited(data: Dataset, count: number): Dataset {
  const fewer = data.limit(count);
  const kept = new Set([...fewer].map((sample) => sample.label)).size;
  const had = new Set([...data].map((sample) => sample.label)).size;
  if (kept < had)
    remark(
      `--limit ${count} leaves ${had - kept} of ${had} classes without an image; they stay among the prompts.`,
    );
  return fewer;
}

async function promptSet(flags: Flags): Promise<PromptSet | undefined> {
  const templates =
    flags.template ?? (flags.templates ? await readLines(flags.templates, "E_READ") : undefined);
  if (!templates) return undefined;
  checkTemplates(templates);
  return { templates, source: flags.template ? "--template" : flags.templates! };
}

async function classList(value: string | undefined): Promise<string[] | undefined> {
  if (!value || value.includes(",")) return list(value);
  return (await stat(value).catch(() => undefined))?.isFile() ? readLines(value) : [value];
}
