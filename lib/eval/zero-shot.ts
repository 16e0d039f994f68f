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
  prompts: PromptSet;
  classNames: string[];
  predictions: ImagePrediction[];
  skipped: { index: number; name: string; code: string; message: string }[];
  metrics: Metrics;
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
  const prompts = options.prompts ?? data.prompts[0] ?? ARTICLE_PROMPTS;
  const classNames = options.classNames ?? promptNames(data.classes, options.keepUnderscores);
  if (classNames.length !== data.classes.length) {
    throw new TorchclipError(
      "E_ARGUMENT",
      `${classNames.length} class names for the ${data.classes.length} classes of ${data.name}`,
      {
        subject: "classNames",
      },
    );
  }
  const batchSize = options.batchSize ?? 32;
  const times = { read: 0, decode: 0, resize: 0, forward: 0, post: 0, total: 0 };
  const classes = await clip.encodeClasses(classNames, prompts.templates, { signal: options.signal });
  const samples = [...data];
  const journal = options.journal
    ? new Journal(options.journal, runSettings(clip, data, prompts, classNames, batchSize, options))
    : undefined;
  let rows: JournalRow[];
  try {
    await journal?.begin(options.resume ?? false);
    rows = await classifyAll(clip, data, similarity, classes, journal, batchSize, times, options);
  } finally {
    await journal?.close();
  }

  const before = performance.now();
  const { predictions, skipped } = predict(rows, samples, clip.info.logitScale);
  const metrics = computeMetrics(predictions, data.classes, { seed: options.seed });
  times.post += (performance.now() - before) / 1000;
  times.total = (performance.now() - started) / 1000;
  return { prompts, classNames, predictions, skipped, metrics, times };
}

/** The cosines of every image with every class, from the journal where it has them. */
async function classifyAll(
  clip: Clip,
  data: Dataset,
  similarity: Similarity,
  classes: Embeddings,
  journal: Journal | undefined,
  batchSize: number,
  times: ZeroShotResult["times"],
  options: ZeroShotOptions,
): Promise<JournalRow[]> {
  const rows: JournalRow[] = [];
  const work = new Resume<NamedImage & Identity>({
    // Without a journal nothing is taken over, and no content is read for it.
    items: journal ? identified(data.images()) : unidentified(data),
    stored: journal?.stored ?? new StoredRows([]),
    wholeBatches: wholeBatchesOf(clip.info.imageRunner, batchSize),
    take: (position, row) => (rows[position] = journal!.at(row)),
    cut: async (count) => journal?.cut(count),
    onProgress: (done) => options.onProgress?.(done, data.length),
  });
  const images = async function* () {
    for await (const { image } of work.missing()) yield image;
  };
  const stream = clip.streamImages(images(), {
    batchSize,
    onError: "collect",
    autoRotate: options.autoRotate,
    signal: options.signal,
    times,
  });
  for await (const batch of stream) {
    const before = performance.now();
    const cosines = similarity(batch, classes);
    const done = work.next(batch.rows).map(({ position, item: { name, content } }, r): JournalRow => {
      const error = batch.errors[r];
      const identity = { name, content };
      if (!error)
        return (rows[position] = {
          ...identity,
          cosines: Array.from(cosines.subarray(r * classes.rows, (r + 1) * classes.rows)),
        });
      // The index in the message counts what this run computed, not the images of the data set.
      const message = withoutIndex(error);
      if (options.onError === "fail")
        throw new TorchclipError(error.code, `${name}: ${message}`, {
          index: position,
          subject: name,
          cause: error,
        });
      return (rows[position] = { ...identity, error: { code: error.code, message } });
    });
    await journal?.add(done);
    times.post += (performance.now() - before) / 1000;
    work.finished(done.length);
  }
  return rows;
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
  for (const [i, { cosines, error }] of rows.entries()) {
    const { name, label } = samples[i];
    if (!cosines) {
      skipped.push({ index: i, name, ...error! });
      continue;
    }
    const probabilities = Array.from(softmax(cosines, scale));
    predictions.push({ index: i, name, label, predicted: argmax(probabilities), cosines, probabilities });
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
