import { createHash } from "node:crypto";
import { appendFile, readFile, rm } from "node:fs/promises";
import type { Clip, StageTimes } from "../clip.js";
import { Dataset, type Sample } from "../datasets/dataset.js";
import { similarity, softmax } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import type { ImageInput } from "../images/decode.js";
import { ARTICLE_PROMPTS, type PromptSet } from "../text/prompts.js";
import { writeFileWhole } from "../util/files.js";
import { argmax, computeMetrics, type Metrics } from "./metrics.js";

export interface ZeroShotOptions {
  /** Default: the data set's first prompt set, else "a photo of a {}". */
  prompts?: PromptSet;
  /** Names put into the templates, in the order of class ids. Default: the data set's, with spaces for "_" (see keepUnderscores). */
  classNames?: string[];
  /** Put "_" of the data set's class names into the prompts as it is. Default false: "polar_bear" is asked for as "polar bear". */
  keepUnderscores?: boolean;
  batchSize?: number;
  /** A picture that cannot be read: leave it out and count it, or stop. Default "skip". */
  onError?: "skip" | "fail";
  autoRotate?: boolean;
  /** A journal of finished batches: with `resume` a stopped evaluation goes on from it; removed at the end. */
  journal?: string;
  resume?: boolean;
  /** For the bootstrap intervals. Default 0. */
  seed?: number;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

export interface PicturePrediction {
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
  predictions: PicturePrediction[];
  skipped: { index: number; name: string; code: string; message: string }[];
  metrics: Metrics;
  /** Seconds of each stage; `post` is similarity, softmax and metrics. Read, decode and resize overlap with forward. */
  times: StageTimes & { post: number; total: number };
}

interface JournalLine {
  start: number;
  rows: { i: number; cosines?: number[]; error?: { code: string; message: string } }[];
}

/** Classifies every picture of the set by its nearest class prompt (Radford et al. 2021, section 3.1). */
export async function zeroShot(clip: Clip, data: Dataset, options: ZeroShotOptions = {}): Promise<ZeroShotResult> {
  const started = performance.now();
  const prompts = options.prompts ?? data.prompts[0] ?? ARTICLE_PROMPTS;
  const classNames = options.classNames ?? promptNames(data.classes, options.keepUnderscores);
  if (classNames.length !== data.classes.length) {
    throw new TorchclipError("E_ARGUMENT", `${classNames.length} class names for the ${data.classes.length} classes of ${data.name}`, {
      subject: "classNames",
    });
  }
  const batchSize = options.batchSize ?? 32;
  const times = { read: 0, decode: 0, resize: 0, forward: 0, post: 0, total: 0 };
  const classes = await clip.encodeClasses(classNames, prompts.templates, { signal: options.signal });
  const samples = [...data];

  const journal = options.journal ? new Journal(options.journal, runKey(clip, data, prompts, classNames, batchSize, options, samples)) : undefined;
  const done = journal ? await journal.begin(options.resume ?? false) : [];
  const rows: JournalLine["rows"] = done.flatMap((l) => l.rows);
  options.onProgress?.(rows.length, samples.length);

  const rest = imagesAlone(data.images(rows.length)); // an image is read when its batch is made
  const stream = clip.streamImages(rest, { batchSize, onError: "collect", autoRotate: options.autoRotate, signal: options.signal, times });
  for await (const batch of stream) {
    const before = performance.now();
    const start = rows.length;
    const line: JournalLine = { start, rows: [] };
    const cosines = similarity(batch, classes);
    for (let r = 0; r < batch.rows; r++) {
      const error = batch.errors[r];
      const i = start + r;
      if (error) {
        if (options.onError === "fail")
          throw new TorchclipError(error.code, `${samples[i].name}: ${error.message}`, { index: i, subject: samples[i].name, cause: error });
        line.rows.push({ i, error: { code: error.code, message: error.message } });
      } else {
        line.rows.push({ i, cosines: Array.from(cosines.subarray(r * classes.rows, (r + 1) * classes.rows)) });
      }
    }
    rows.push(...line.rows);
    await journal?.add(line);
    times.post += (performance.now() - before) / 1000;
    options.onProgress?.(rows.length, samples.length);
  }

  const before = performance.now();
  const { predictions, skipped } = predict(rows, samples, clip.info.logitScale);
  const metrics = computeMetrics(predictions, data.classes, { seed: options.seed });
  times.post += (performance.now() - before) / 1000;
  times.total = (performance.now() - started) / 1000;
  return { prompts, classNames, predictions, skipped, metrics, times };
}

/** Class names as prompts say them. */
export function promptNames(classes: readonly string[], keepUnderscores = false): string[] {
  return classes.map((name) => (keepUnderscores ? name : name.replaceAll("_", " ").trim() || name));
}

async function* imagesAlone(images: AsyncIterable<{ image: ImageInput }>): AsyncGenerator<ImageInput> {
  for await (const { image } of images) yield image;
}

function predict(rows: JournalLine["rows"], samples: readonly Sample[], scale: number): Pick<ZeroShotResult, "predictions" | "skipped"> {
  const predictions: PicturePrediction[] = [];
  const skipped: ZeroShotResult["skipped"] = [];
  for (const { i, cosines, error } of rows) {
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

/** What must be equal for a journal to be continued. */
function runKey(
  clip: Clip,
  data: Dataset,
  prompts: PromptSet,
  classNames: string[],
  batchSize: number,
  options: ZeroShotOptions,
  samples: readonly Sample[],
): string {
  const names = createHash("sha256");
  for (const s of samples) names.update(`${s.name}\t${s.label}\n`);
  const { config, device, precision } = clip.info;
  return JSON.stringify({
    weights: config.source.sha256,
    device,
    precision,
    data: data.name,
    split: data.split,
    pictures: names.digest("hex"),
    templates: prompts.templates,
    classNames,
    batchSize,
    autoRotate: options.autoRotate ?? false,
  });
}

/** Finished batches, a line each, behind a line that says what run they belong to. */
class Journal {
  constructor(
    private readonly file: string,
    private readonly key: string,
  ) {}

  /** The batches to take over; starts a new journal where there are none. A half-written last line is dropped. */
  async begin(resume: boolean): Promise<JournalLine[]> {
    const lines = resume ? (await readFile(this.file, "utf8").catch(() => "")).split("\n") : [];
    const batches: JournalLine[] = [];
    if (lines[0]) {
      if (lines[0] !== this.key) {
        throw new TorchclipError(
          "E_ARGUMENT",
          `${this.file} belongs to another evaluation (model, data set, prompts, batch size or device differ); leave out --resume to start anew`,
          {
            subject: this.file,
          },
        );
      }
      for (const line of lines.slice(1, -1)) batches.push(JSON.parse(line) as JournalLine);
    }
    await writeFileWhole(this.file, [this.key, ...batches.map((b) => JSON.stringify(b)), ""].join("\n"));
    return batches;
  }

  async add(line: JournalLine): Promise<void> {
    await appendFile(this.file, JSON.stringify(line) + "\n");
  }
}

/** Removes a journal whose results are saved. */
export async function removeJournal(file: string): Promise<void> {
  await rm(file, { force: true });
}
