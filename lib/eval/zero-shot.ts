import { rm } from "node:fs/promises";
import type { Clip } from "../clip/clip.js";
import type { StageTimes } from "../clip/options.js";
import { Dataset, type Sample } from "../datasets/dataset.js";
import { identified, StoredRows, type Identity } from "../embed/identity.js";
import { Resume, wholeBatchesOf } from "../embed/resume.js";
import type { NamedImage } from "../embed/sources.js";
import type { Embeddings } from "../embeddings.js";
import { TorchclipError, withoutIndex } from "../errors.js";
import { ARTICLE_PROMPTS, type PromptSet } from "../text/prompts.js";
import { writing } from "../util/files.js";
import { softmax } from "../util/softmax.js";
import { Journal, type JournalRow } from "./journal.js";
import { argmax, computeMetrics, type Metrics } from "./metrics.js";
import { multiLabelMetrics, type MultiLabelMetrics } from "./multi-label.js";

export interface ZeroShotOptions {
  /** Default: the data set's first prompt set, else "a photo of a {}". */
  prompts?: PromptSet;
  /**
   * Names put into the templates, in the order of class ids. Default: the data set's, with spaces for "_"
   * (see keepUnderscores).
   */
  classNames?: string[];
  /**
   * Put "_" of the data set's class names into the prompts as it is. Default false: "polar_bear" is asked for
   * as "polar bear".
   */
  keepUnderscores?: boolean;
  batchSize?: number;
  /** An image that cannot be read: leave it out and count it, or stop. Default "skip". */
  onError?: "skip" | "fail";
  autoRotate?: boolean;
  /**
   * A file with the finished images. With `resume` a stopped evaluation goes on from it: images are taken
   * over by name and content, so that those added, removed or changed in between are as in a run without a
   * stop. With other settings it is E_ARGUMENT, which names them. E_LOCKED while another process writes it.
   * `removeJournal` removes it.
   */
  journal?: string;
  resume?: boolean;
  /** For the bootstrap intervals. Default 0. */
  seed?: number;
  signal?: AbortSignal;
  /** Called with 0 before the first image and then after each batch. */
  onProgress?: (done: number, total: number) => void;
}

export interface ImagePrediction {
  index: number;
  name: string;
  label: number;
  predicted: number;
  /** Cosine with each class embedding. */
  cosines: number[];
  /** softmax of logitScale × cosine. */
  probabilities: number[];
}

export interface ZeroShotResult {
  /** How the images were classified, where it was not zero-shot: "Linear probe". */
  method?: string;
  prompts: PromptSet;
  classNames: string[];
  predictions: ImagePrediction[];
  skipped: { index: number; name: string; code: string; message: string }[];
  metrics: Metrics;
  /** Of a data set whose images may have several classes; `metrics` then counts the first class alone. */
  multiLabel?: MultiLabelMetrics;
  /**
   * Seconds of each stage; `post` is similarity, softmax and metrics. Read, decode and resize overlap with
   * forward.
   */
  times: StageTimes & { post: number; total: number };
}

/** Cosine of every row of `a` with every row of `b` (both normalised): Float32Array [a.rows × b.rows]. */
export type Similarity = (a: Embeddings, b: Embeddings) => Float32Array;

/** What `zeroShot` does, with the cosines computed by `similarity`. */
export async function evaluate(
  clip: Clip,
  data: Dataset,
  similarity: Similarity,
  options: ZeroShotOptions,
): Promise<ZeroShotResult> {
  const started = performance.now();
  const prompts = options.prompts ?? data.prompts.at(0) ?? ARTICLE_PROMPTS;
  const classNames = classNamesOf(data, options);
  const { batchSize = 32, signal } = options;
  const times = { read: 0, decode: 0, resize: 0, forward: 0, post: 0, total: 0 };
  const classes = await clip.encodeClasses(classNames, prompts.templates, { signal });
  const samples = [...data];
  const settings = runSettings(clip, data, prompts, classNames, batchSize, options);
  const journal = options.journal ? new Journal(options.journal, settings) : undefined;
  let rows: JournalRow[];
  try {
    await journal?.begin(options.resume ?? false);
    rows = await classifyAll({ clip, data, similarity, classes, journal, batchSize, times, options });
  } finally {
    await journal?.close();
  }
  const before = performance.now();
  const { predictions, skipped } = predict(rows, samples, clip.info.logitScale);
  const metrics = computeMetrics(predictions, data.classes, { seed: options.seed });
  const hasMultiLabel = data.isMultiLabel && predictions.length > 0;
  const multiLabel = hasMultiLabel ? multiLabelMetrics(predictions, data) : undefined;
  times.post += (performance.now() - before) / 1000;
  times.total = (performance.now() - started) / 1000;
  return { prompts, classNames, predictions, skipped, metrics, multiLabel, times };
}

function classNamesOf(data: Dataset, { classNames: given, keepUnderscores }: ZeroShotOptions): string[] {
  const names = given ?? promptNames(data.classes, keepUnderscores);
  if (names.length === data.classes.length) return names;
  const message = `${names.length} class names for the ${data.classes.length} classes of ${data.name}`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: "classNames" });
}

/** What the images of a data set are classified with. */
interface Classification {
  clip: Clip;
  data: Dataset;
  similarity: Similarity;
  /** Embeddings of the classes' prompts. */
  classes: Embeddings;
  journal: Journal | undefined;
  batchSize: number;
  /** Times are added to it. */
  times: ZeroShotResult["times"];
  options: ZeroShotOptions;
}

/** The cosines of every image with every class, from the journal where it has them. */
async function classifyAll(given: Classification): Promise<JournalRow[]> {
  const { clip, similarity, classes, journal, batchSize, times, options } = given;
  const { onError, autoRotate, signal } = options;
  const rows: JournalRow[] = [];
  const work = workOf(given, rows);
  const images = async function* () {
    for await (const { image } of work.missing()) yield image;
  };
  const how = { batchSize, onError: "collect", autoRotate, signal, times } as const;
  for await (const batch of clip.streamImages(images(), how)) {
    const before = performance.now();
    const cosines = similarity(batch, classes);
    const items = work.next(batch.rows);
    const done = items.map(({ position, item }, row): JournalRow => {
      const error = batch.errors[row];
      if (error && onError === "fail") throw errorOf(item.name, position, error);
      const { name, content } = item;
      if (error) return { name, content, error: { code: error.code, message: withoutIndex(error) } };
      const own = cosines.subarray(row * classes.rows, (row + 1) * classes.rows);
      return { name, content, cosines: Array.from(own) };
    });
    items.forEach(({ position }, row) => {
      rows[position] = done[row];
    });
    await journal?.add(done);
    times.post += (performance.now() - before) / 1000;
    work.finished(done.length);
  }
  return rows;
}

/** The images that must be computed; rows of the journal go into `rows`. */
function workOf(
  { clip, data, journal, batchSize, options }: Classification,
  rows: JournalRow[],
): Resume<NamedImage & Identity> {
  return new Resume({
    // Without a journal nothing is taken over, and no content is read for it.
    items: journal ? identified(data.images()) : unidentified(data),
    stored: journal?.stored ?? new StoredRows([]),
    wholeBatches: wholeBatchesOf(clip.info.imageRunner, batchSize),
    take: (position, row) => {
      if (journal) rows[position] = journal.at(row);
    },
    cut: async (count) => journal?.cut(count),
    onProgress: (done) => options.onProgress?.(done, data.length),
  });
}

/** The index in an error's message counts what this run computed, not the images of the data set. */
function errorOf(name: string, position: number, error: TorchclipError): TorchclipError {
  const message = `${name}: ${withoutIndex(error)}`;
  return new TorchclipError(error.code, message, { index: position, subject: name, cause: error });
}

async function* unidentified(data: Dataset): AsyncGenerator<NamedImage & Identity> {
  for await (const { name, image } of data.images()) yield { name, image, content: "" };
}

/** Class names as prompts say them. */
export function promptNames(classes: readonly string[], keepUnderscores = false): string[] {
  return classes.map((name) => (keepUnderscores ? name : name.replaceAll("_", " ").trim() || name));
}

function predict(
  rows: readonly JournalRow[],
  samples: readonly Sample[],
  scale: number,
): Pick<ZeroShotResult, "predictions" | "skipped"> {
  const predictions: ImagePrediction[] = [];
  const skipped: ZeroShotResult["skipped"] = [];
  for (const [index, { cosines, error }] of rows.entries()) {
    const { name, label } = samples[index];
    if (error) {
      skipped.push({ index, name, ...error });
      continue;
    }
    const probabilities = Array.from(softmax(cosines, scale));
    predictions.push({ index, name, label, predicted: argmax(probabilities), cosines, probabilities });
  }
  return { predictions, skipped };
}

/**
 * What must be equal for a journal to be continued. Which images there are need not be: they are told apart
 * one by one.
 */
function runSettings(
  clip: Clip,
  data: Dataset,
  prompts: PromptSet,
  classNames: string[],
  batchSize: number,
  options: ZeroShotOptions,
): Record<string, unknown> {
  const { config, device, precision, imageRunner, textRunner } = clip.info;
  return {
    weights: config.source.sha256,
    device,
    precision,
    imageRunner,
    textRunner,
    dataset: data.name,
    split: data.split,
    templates: prompts.templates,
    classNames,
    batchSize: wholeBatchesOf(clip.info.imageRunner, batchSize),
    autoRotate: options.autoRotate ?? false,
  };
}

/** Removes a journal whose results are saved. */
export async function removeJournal(file: string): Promise<void> {
  await writing(file, () => rm(file, { force: true }));
}
