import { join } from "node:path";
import type { Clip } from "../clip/clip.js";
import type { Dataset } from "../datasets/index.js";
import { readList } from "../datasets/formats/list-file.js";
import { similarity } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import { promptNames } from "../eval/zero-shot.js";
import type { DatasetFeatures } from "../learn/features.js";
import {
  drawnRows,
  FEW_SHOT_NAMES,
  fewShot,
  fewShotMethod,
  runMethod,
  summarize,
  type FewShotFeatures,
  type FewShotOptions,
  type FewShotRun,
  type FewShotSummary,
} from "../learn/few-shot.js";
import { accuracyOf, rowsByClass } from "../learn/labelled.js";
import { embeddingsOfPooled } from "../learn/pooled-features.js";
import { readImageProjection } from "../learn/solver/image-projection.js";
import { drawShots } from "../learn/split.js";
import { argmaxRows } from "../learn/solver/linear-probe.js";
import { ARTICLE_PROMPTS, type PromptSet } from "../text/prompts.js";
import { csvText } from "../util/csv.js";
import { writeFileWhole } from "../util/files.js";
import { list, progressBar } from "./io.js";
import { featureOptions, splitFeatures, type ProbeDataFlags, type Splits } from "./probe-data.js";

/** The flags of few-shot learning. */
export interface FewShotFlags extends ProbeDataFlags {
  shots?: number[];
  seeds: number[];
  methods: string;
  splitFile?: string;
  template?: string[];
  threads: number;
  out: string;
  json?: boolean;
}

/**
 * Checks what can be known before an image is encoded: the methods, the list of --split-file, and that each class
 * has enough training images.
 */
export async function checkFewShot({ train }: Splits, flags: FewShotFlags): Promise<void> {
  methodsOf(flags.methods);
  if (flags.splitFile) await readList(flags.splitFile);
  const labels = Int32Array.from(train, ({ label }) => label);
  for (const shots of flags.shots ?? []) drawShots(labels, train.classes, shots, 0);
}

/** What `torchclip probe --shots` does, with the model loaded and the features there. */
export async function compareFewShot(
  clip: Clip,
  splits: Splits,
  flags: FewShotFlags,
  signal: AbortSignal,
): Promise<void> {
  const { train, test } = splits;
  const methods = methodsOf(flags.methods);
  const needsPooled = flags.features === "pooled" || methods.includes("prolip");
  const { projection } = needsPooled ? await readImageProjection(clip.info) : {};
  if (methods.includes("prolip") && !projection) throw noProjection(clip);
  const features = await sampleFeatures(clip, splits, flags, needsPooled, signal);
  const prompts = promptsOf(flags, test.prompts);
  const names = promptNames(test.classes);
  const texts = await clip.encodeClasses(names, prompts.templates, { signal });
  const bar = progressBar("few-shot");
  const options: FewShotOptions = {
    classes: test.classes,
    texts,
    logitScale: clip.info.logitScale,
    methods,
    probeFeatures: flags.features,
    projection,
    shots: flags.shots ?? [],
    seeds: flags.seeds,
    threads: flags.threads,
    signal,
    onRun: bar.update,
  };
  const work = flags.splitFile
    ? ofSplitFile(flags.splitFile, features, options)
    : fewShot(features.train, features.test, options);
  const runs = await work.finally(() => bar.stop());
  const cosines = similarity(features.test.features, texts);
  const zeroShot = accuracyOf(argmaxRows(cosines, texts.rows), features.test.labels);
  const title = `${clip.info.config.name} on ${test.name}`;
  const tested = `split ${test.split}, ${features.test.features.rows} images, ${test.classes.length} classes`;
  const probed = flags.features === "pooled" ? "; linear probe on pooled features" : "";
  const about = `${tested}; drawn from ${train.split}; prompt "${prompts.templates[0]}"${probed}`;
  await save({ title, about, prompts, zeroShot, runs, flags });
}

function noProjection({ info }: Clip): TorchclipError {
  const message = `prolip fine-tunes a linear projection of the image encoder, and ${info.config.name} has none`;
  return new TorchclipError("E_ARGUMENT", message, { subject: "methods" });
}

/** The images of the training and of the test split. */
interface SampleFeatures {
  train: DatasetFeatures & FewShotFeatures;
  test: DatasetFeatures & FewShotFeatures;
}

/** The embeddings of both splits, with their pooled features where a method needs those. */
async function sampleFeatures(
  clip: Clip,
  splits: Splits,
  flags: FewShotFlags,
  needsPooled: boolean,
  signal: AbortSignal,
): Promise<SampleFeatures> {
  const kind = needsPooled ? "pooled" : "embedding";
  const { wholeTrain, test } = await splitFeatures(clip, splits, flags, kind, signal);
  if (!needsPooled) return { train: wholeTrain, test };
  const options = featureOptions(flags, "embedding", signal);
  const withBoth = async (data: Dataset, found: DatasetFeatures) => {
    const embedded = await embeddingsOfPooled(clip, data, found, options);
    return { ...embedded, pooled: found.features };
  };
  return { train: await withBoth(splits.train, wholeTrain), test: await withBoth(splits.test, test) };
}

function promptsOf({ template }: FewShotFlags, ofData: readonly PromptSet[]): PromptSet {
  return template ? { templates: template, source: "--template" } : (ofData.at(0) ?? ARTICLE_PROMPTS);
}

interface Finished {
  title: string;
  about: string;
  prompts: PromptSet;
  zeroShot: number;
  runs: FewShotRun[];
  flags: FewShotFlags;
}

/** Writes few-shot.json, .csv, .md and .html, and prints the table. */
async function save({ title, about, prompts, zeroShot, runs, flags }: Finished): Promise<void> {
  const { fewShotMarkdown, fewShotPage } = await import("../report/few-shot.js");
  const summary = summarize(runs);
  const points = summary.map((one) => ({ ...one, name: FEW_SHOT_NAMES[one.method].name }));
  const file = (ending: string) => join(flags.out, `few-shot.${ending}`);
  const methods = [...new Set(runs.map(({ method }) => method))].map((method) => FEW_SHOT_NAMES[method]);
  const { features } = flags; // of the linear probe
  const record = { title, about, features, prompts, zeroShot, summary, runs, methods };
  const json = `${JSON.stringify(record, null, 2)}\n`;
  const table = fewShotMarkdown(points, zeroShot);
  await writeFileWhole(file("json"), json);
  await writeFileWhole(file("csv"), csvOf(summary));
  await writeFileWhole(file("md"), table);
  await writeFileWhole(file("html"), await fewShotPage({ title, about, points, zeroShot, methods }));
  if (flags.json) {
    process.stdout.write(json);
    return;
  }
  const saved = ["json", "csv", "md", "html"].map(file).join(", ");
  const meaning = "Accuracy in percent, mean and standard deviation of the draws.";
  process.stdout.write(`${title}: ${about}\n\n${table}\n${meaning}\nSaved: ${saved}\n`);
}

function csvOf(summary: readonly FewShotSummary[]): string {
  const columns = ["method", "shots", "draws", "mean", "deviation"] as const;
  return csvText([columns, ...summary.map((one) => columns.map((column) => one[column]))]);
}

/** The methods on the training images that a list names, as one draw. */
async function ofSplitFile(
  file: string,
  features: SampleFeatures,
  options: FewShotOptions,
): Promise<FewShotRun[]> {
  const drawn = drawnRows(features.train, await rowsOfList(file, features.train));
  const counts = rowsByClass(drawn.labels, options.classes.length).map((rows) => rows.length);
  const without = counts.indexOf(0);
  if (without >= 0) {
    const message = `${file} has no image of the class ${JSON.stringify(options.classes[without])}`;
    throw new TorchclipError("E_DATASET_FORMAT", message, { subject: file });
  }
  const draw = { shots: Math.min(...counts), seed: 0 };
  const runs: FewShotRun[] = [];
  for (const method of options.methods)
    runs.push(await runMethod(method, draw, drawn, features.test, options));
  return runs;
}

/** The rows of the training images that a list names, by the end of their paths. */
async function rowsOfList(file: string, train: DatasetFeatures): Promise<number[]> {
  const slashed = (path: string) => path.replaceAll("\\", "/");
  const names = train.names.map(slashed);
  return (await readList(file)).map(({ path, line }) => {
    const wanted = slashed(path);
    const found = names.flatMap((name, row) =>
      endsWithPath(wanted, name) || endsWithPath(name, wanted) ? [row] : [],
    );
    if (found.length === 1) return found[0];
    const why =
      found.length === 0 ? "is no image of the training split" : "fits several images of the training split";
    throw new TorchclipError("E_DATASET_FORMAT", `${file}:${line}: ${path} ${why}`, {
      subject: file,
      index: line,
    });
  });
}

/** Whether a path ends with another, at a folder's border. */
function endsWithPath(path: string, end: string): boolean {
  return path === end || path.endsWith(`/${end}`);
}

/** The methods of --methods, at least one. */
function methodsOf(given: string): ReturnType<typeof fewShotMethod>[] {
  const methods = list(given).map(fewShotMethod);
  if (methods.length > 0) return methods;
  throw new TorchclipError("E_ARGUMENT", "--methods names no method", { subject: "methods" });
}
