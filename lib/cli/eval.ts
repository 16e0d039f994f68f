import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Option, type Command } from "commander";
import { load } from "../clip.js";
import { loadDataset } from "../datasets/index.js";
import { TorchclipError } from "../errors.js";
import { runManifest } from "../eval/manifest.js";
import { removeJournal, zeroShot } from "../eval/zero-shot.js";
import { ranked, saveResults } from "../report/save.js";
import { datasetLines, metricsText, modelLines, timesText, topPredictions } from "../report/text.js";
import { checkTemplates, type PromptSet } from "../text/prompts.js";
import { note, interruptSignal, list, progressBar } from "./io.js";
import { loadOptions, modelOptions, whole, type ModelFlags } from "./options.js";

interface Flags extends ModelFlags {
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
  resume?: boolean;
  json?: boolean;
}

const DEFAULT_EXAMPLE = 250; // the article's picture

export function evalCommand(program: Command): void {
  modelOptions(program.command("eval").description("zero-shot accuracy, precision and recall on a labelled data set"))
    .option("-s, --dataset <name|path>", "data set: a name, a folder with a class a folder, or a .csv/.tsv/.jsonl list", "rendered-demo")
    .option("--split <split>", "train, valid or test")
    .option("--root <folder>", "for rendered-sst2: a folder with its files, instead of the download")
    .option("--classes <names|file>", "names put into the prompts, in the order of class ids: a,b,… or a file with one a line")
    .option("--template <text...>", 'prompt template with {} for the class, e.g. "a {} review of a movie."')
    .option("--templates <file>", "prompt templates from a file, one a line")
    .option("-o, --out <folder>", "where results.json, predictions.csv, pictures and report.html go", "torchclip-eval")
    .addOption(new Option("-b, --batch-size <n>", "pictures in one forward pass").argParser(whole(1, 65536)).default(32))
    .addOption(new Option("--limit <n>", "only the first n pictures").argParser(whole(1)))
    .addOption(new Option("--sample <n>", "n random pictures (see --seed)").argParser(whole(1)))
    .addOption(new Option("--seed <n>", "seed of sampling and of bootstrap intervals").argParser(whole(0)).default(0))
    .addOption(new Option("--example <n>", "which picture is shown").argParser(whole(0)).default(DEFAULT_EXAMPLE))
    .addOption(new Option("--on-error <what>", "a picture that cannot be read: skip it and count it, or fail").choices(["skip", "fail"]).default("skip"))
    .option("--auto-rotate", "turn pictures as their EXIF orientation says (CLIP's reference does not)")
    .option("--resume", "go on where a stopped evaluation into the same --out was")
    .option("--json", "print results.json instead of text")
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const signal = interruptSignal();
  const print = flags.json ? () => {} : (text: string) => process.stdout.write(`${text}\n`);
  const drawing = progressBar("data set");
  let data = await loadDataset(flags.dataset, {
    split: flags.split,
    root: flags.root,
    cacheDir: flags.cacheDir,
    offline: flags.offline,
    signal,
    onProgress: drawing.update,
  });
  drawing.stop();
  if (flags.sample) data = data.sample(flags.sample, flags.seed);
  if (flags.limit) data = data.limit(flags.limit);
  const prompts = await promptSet(flags);
  const classNames = await classList(flags.classes);

  const clip = await load(flags.model, loadOptions(flags, signal));
  try {
    print(`${modelLines(clip)}\n\n${datasetLines(data)}\n`);
    const journal = join(flags.out, "evaluation.journal");
    const bar = progressBar("evaluate");
    const result = await zeroShot(clip, data, {
      prompts,
      classNames,
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
      throw new TorchclipError("E_DATASET_EMPTY", `none of the ${data.length} pictures of ${data.name} could be read`, { subject: data.name });
    const manifest = runManifest(clip, data, result, { seed: flags.seed, batchSize: flags.batchSize, autoRotate: flags.autoRotate ?? false });
    const files = await saveResults(flags.out, data, result, manifest, flags.example);
    await removeJournal(journal);
    if (flags.json) {
      process.stdout.write(await readFile(files.results, "utf8"));
      return;
    }
    const shown = result.predictions.find((p) => p.index === flags.example) ?? result.predictions[0];
    print(
      `Picture ${shown.index} (${shown.name}), true class: ${data.classes[shown.label]}\nPrompt: "${result.prompts.templates[0]}" (${result.prompts.source})\n`,
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

async function promptSet(flags: Flags): Promise<PromptSet | undefined> {
  const templates = flags.template ?? (flags.templates ? (await readFile(flags.templates, "utf8")).split(/\r?\n/).filter(Boolean) : undefined);
  if (!templates) return undefined;
  checkTemplates(templates);
  return { templates, source: flags.template ? "--template" : flags.templates! };
}

async function classList(value: string | undefined): Promise<string[] | undefined> {
  if (!value || value.includes(",")) return list(value);
  return (await readFile(value, "utf8").catch(() => value)).split(/\r?\n/).filter(Boolean);
}
