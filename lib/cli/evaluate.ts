import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clip } from "../clip/clip.js";
import type { Dataset } from "../datasets/index.js";
import { TorchclipError } from "../errors.js";
import { runManifest, zeroShot } from "../eval/native.js";
import { removeJournal, type ZeroShotResult } from "../eval/zero-shot.js";
import type { SavedFiles } from "../report/save.js";
import { datasetLines, metricsText, modelLines, ranked, timesText, topPredictions } from "../report/text.js";
import { checkTemplates, type PromptSet } from "../text/prompts.js";
import { readLines } from "../util/text-file.js";
import { list, note, progressBar, remark } from "./io.js";
import { datasetOf, requireSingleLabel } from "./load-dataset.js";
import { loadForImages } from "./load-for-images.js";
import { imageLimits, loadOptions, type ImageFlags, type ModelFlags } from "./options.js";
import { runSettings } from "./run-settings.js";

/** The flags of `torchclip eval` that one evaluation takes. */
export interface EvalFlags extends ModelFlags, ImageFlags {
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
  /** Refuses a data set whose images may have several classes. */
  singleLabel?: boolean;
}

/** Takes what is shown of an evaluation, a text at a time. */
type Print = (text: string) => void;

/** Evaluates a model on a data set and writes its results into `flags.out`; `print` gets what is shown. */
export async function evaluate(flags: EvalFlags, signal: AbortSignal, print?: Print): Promise<void> {
  const classNames = await classList(flags.classes);
  const data = await dataset(flags, classNames, signal);
  const prompts = await promptSet(flags);
  const shown = chosen(data, classNames, flags);
  if (flags.singleLabel) requireSingleLabel(shown, "a table of accuracies");
  const clip = await loadForImages(flags.model, loadOptions(flags, signal));
  try {
    if (!flags.json) print?.(`${modelLines(clip)}\n\n${datasetLines(shown)}\n`);
    const journal = join(flags.out, "evaluation.journal");
    const how = { ...flags, prompts, classNames, signal };
    const { results, text } = await evaluateInto(journal, clip, shown, how);
    await removeJournal(journal);
    if (flags.json) process.stdout.write(await readFile(results, "utf8"));
    else print?.(text);
  } catch (error) {
    if (signal.aborted) note(`Stopped. The same command with --resume goes on where it was.`);
    throw error;
  } finally {
    await clip.close();
  }
}

/** The data set that is asked for; its notes are shown. */
export async function dataset(
  flags: EvalFlags,
  classes: string[] | undefined,
  signal: AbortSignal,
): Promise<Dataset> {
  // A list's labels are found in the classes by name, or are their places.
  const data = await datasetOf(flags, { classes, split: flags.split, signal });
  data.notes.forEach(remark);
  return data;
}

/**
 * The images that are asked for. Class names that are the set's own are found by name, ids are places in
 * --classes; other names stand for the set's, by place.
 */
export function chosen(given: Dataset, classNames: string[] | undefined, flags: EvalFlags): Dataset {
  let data = (classNames && given.withClasses(classNames)) ?? given;
  if (flags.sample) data = data.sample(flags.sample, flags.seed);
  return flags.limit ? limited(data, flags.limit) : data;
}

interface Evaluation extends EvalFlags {
  prompts: PromptSet | undefined;
  classNames: string[] | undefined;
  signal: AbortSignal;
}

/** Evaluates, and saves the results: the file results.json, and what is shown. */
async function evaluateInto(
  journal: string,
  clip: Clip,
  data: Dataset,
  how: Evaluation,
): Promise<{ results: string; text: string }> {
  const bar = progressBar("evaluate");
  const result = await zeroShot(clip, data, {
    prompts: how.prompts,
    classNames: how.classNames,
    keepUnderscores: how.keepUnderscores,
    batchSize: how.batchSize,
    onError: how.onError,
    autoRotate: how.autoRotate,
    journal,
    resume: how.resume,
    seed: how.seed,
    signal: how.signal,
    onProgress: bar.update,
  }).finally(() => bar.stop());
  if (result.predictions.length === 0) {
    const message = `none of the ${data.length} images of ${data.name} could be read`;
    throw new TorchclipError("E_DATASET_EMPTY", message, { subject: data.name });
  }
  const manifest = runManifest(clip, data, result, await runSettings(clip, how));
  const { multiLabel } = result;
  if (multiLabel) {
    const { multiLabelText, saveMultiLabel } = await import("../report/multi-label.js");
    const files = await saveMultiLabel(how.out, data, { ...result, multiLabel }, manifest);
    return { results: files.results, text: multiLabelText({ ...result, multiLabel }, files) };
  }
  const { saveResults } = await import("../report/save.js");
  const files = await saveResults(how.out, data, result, manifest, how.example, { limits: imageLimits(how) });
  return { results: files.results, text: resultText(result, data, files, how.example) };
}

/** One image with its most likely classes, the metrics, the times, and where the files are. */
export function resultText(
  result: ZeroShotResult,
  data: Dataset,
  files: SavedFiles,
  example: number,
): string {
  const { prompts, predictions } = result;
  const shown = predictions.find(({ index }) => index === example) ?? predictions[0];
  return [
    `Image ${shown.index} (${shown.name}), true class: ${data.classes[shown.label]}`,
    prompts.templates.length > 0
      ? `Prompt: "${prompts.templates[0]}" (${prompts.source})\n`
      : `Classifier: ${prompts.source}\n`,
    `${topPredictions(ranked(result.classNames, shown.probabilities, 5))}\n`,
    `${metricsText(result, data.classes)}\n`,
    timesText(result.times),
    `Saved: ${Object.values(files).join(", ")}`,
  ].join("\n");
}

/** The first images of each class; says so where classes are left without one. */
function limited(data: Dataset, count: number): Dataset {
  const fewer = data.limit(count);
  const kept = new Set([...fewer].map((sample) => sample.label)).size;
  const had = new Set([...data].map((sample) => sample.label)).size;
  if (kept < had) {
    const without = `--limit ${count} leaves ${had - kept} of ${had} classes without an image`;
    remark(`${without}; they stay among the prompts.`);
  }
  return fewer;
}

/** The prompts of --template or --templates. */
export async function promptSet({ template, templates: file }: EvalFlags): Promise<PromptSet | undefined> {
  if (template) return checked({ templates: template, source: "--template" });
  return file ? checked({ templates: await readLines(file, "E_READ"), source: file }) : undefined;
}

function checked(prompts: PromptSet): PromptSet {
  checkTemplates(prompts.templates);
  return prompts;
}

/** The names of --classes. */
export async function classList(value: string | undefined): Promise<string[] | undefined> {
  if (!value || value.includes(",")) return list(value);
  const isFile = await stat(value).then(
    (found) => found.isFile(),
    () => false,
  );
  return isFile ? readLines(value) : [value];
}
