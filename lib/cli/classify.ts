import type { Command } from "commander";
import type { Clip } from "../clip/clip.js";
import type { ClassifyBatchOptions, ImageInputs, Prediction } from "../clip/classifier.js";
import type { ImageSource } from "../embed/sources.js";
import { TorchclipError, withoutIndex } from "../errors.js";
import { redactText } from "../redact.js";
import { topPredictions } from "../report/text.js";
import { readLines } from "../util/text-file.js";
import { imageArguments } from "./images.js";
import { interruptSignal, list, note, progressBar, remark, setFailedItems } from "./io.js";
import { loadForImages } from "./load-for-images.js";
import { refuseGiven } from "./option-rules.js";
import { loadOptions, type ImageFlags, type ModelFlags } from "./options.js";

interface Flags extends ModelFlags, ImageFlags {
  labels?: string;
  labelsFile?: string;
  probe?: string;
  template: string[];
  multiLabel?: boolean;
  negativeTemplate?: string[];
  threshold?: number;
  topK?: number;
  batchSize?: number;
  autoRotate?: boolean;
  json?: boolean;
}

/** What a probe stands for. */
const LABEL_OPTIONS = ["labels", "labels-file", "template", "multi-label", "negative-template"];
const HAS_CLASSES = "cannot be given with --probe, whose file names the classes and needs no prompts";

/** What `torchclip classify` does. */
export async function run(given: string[], flags: Flags, command: Command): Promise<void> {
  if (flags.probe !== undefined) refuseGiven(command, LABEL_OPTIONS, HAS_CLASSES);
  const probe = flags.probe === undefined ? undefined : await storedProbe(flags.probe);
  const labels = probe ? [] : await labelsOf(flags);
  const signal = interruptSignal();
  const source = await imageArguments(given, signal);
  const clip = await loadForImages(flags.model, loadOptions(flags, signal));
  try {
    const classifier = probe?.(clip) ?? (await labelClassifier(clip, labels, flags, signal));
    const output = flags.json ? new JsonOutput() : new TextOutput(given);
    await classifyEach(classifier, source, output, { ...flags, signal });
  } finally {
    await clip.close();
  }
}

/** What names classes of images, whichever way. */
interface ImageClassifier {
  stream(images: ImageInputs, options: ClassifyBatchOptions): AsyncGenerator<ClassifiedImage>;
}

/** The classes that were found in one image. */
interface ClassifiedImage {
  index: number;
  predictions: Pick<Prediction, "label" | "index" | "logit" | "probability">[];
  error?: TorchclipError;
}

async function labelClassifier(
  clip: Clip,
  labels: readonly string[],
  flags: Flags,
  signal: AbortSignal,
): Promise<ImageClassifier> {
  const { template: templates, multiLabel, negativeTemplate: negativeTemplates } = flags;
  return clip.classifier(labels, { templates, multiLabel, negativeTemplates, signal });
}

/** The probe of --probe, read before the model is loaded; it stands for labels and prompts. */
async function storedProbe(file: string): Promise<(clip: Clip) => ImageClassifier> {
  const { ProbeClassifier } = await import("../learn/probe-classifier.js");
  const { readProbe } = await import("../learn/probe-file.js");
  const stored = await readProbe(file);
  return (clip) => new ProbeClassifier(clip, stored, file);
}

async function labelsOf({ labels, labelsFile }: Flags): Promise<string[]> {
  const lines = labelsFile === undefined ? [] : await readLines(labelsFile, "E_READ");
  const all = [...(list(labels) ?? []), ...lines.map((line) => line.trim())];
  if (all.length > 0) return all;
  if (labelsFile !== undefined) throw noLabels(`${labelsFile} holds no label`);
  if (labels !== undefined) throw noLabels("--labels holds no label");
  throw noLabels("give labels by --labels or --labels-file");
}

function noLabels(message: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", message, { subject: "labels" });
}

type EachFlags = Flags & { signal: AbortSignal };

/** Prints the labels of each image as it is done; what failed is told on standard error too. */
async function classifyEach(
  classifier: ImageClassifier,
  source: ImageSource,
  output: Output,
  flags: EachFlags,
) {
  const { topK, threshold, batchSize, autoRotate, signal } = flags;
  const names: string[] = []; // of the images that are in work
  const images = async function* () {
    for await (const { name, image } of source.images(0)) {
      names.push(name);
      yield image;
    }
  };
  // On a terminal that shows the results, these are the progress.
  const bar = process.stdout.isTTY ? undefined : progressBar("classify", "images/s");
  const options = { topK, threshold, batchSize, autoRotate, signal, onError: "collect" } as const;
  try {
    for await (const result of classifier.stream(images(), options)) {
      const [name] = names.splice(0, 1);
      output.add(name, result);
      if (result.error) noteFailure(name, result.error);
      bar?.update(result.index + 1, source.count);
    }
  } finally {
    bar?.stop();
    output.end();
  }
  source.notes().forEach(remark);
  if (output.count === 0) throw new TorchclipError("E_DATASET_EMPTY", "no image was given");
}

function noteFailure(name: string, error: TorchclipError): void {
  setFailedItems();
  const clear = process.stderr.isTTY ? "\r\x1b[K" : ""; // a progress bar may stand there
  const [shown, message] = [redactText(name), withoutIndex(error)];
  note(`${clear}${error.code}: ${message.includes(shown) ? message : `${shown}: ${message}`}`);
}

/** Where the results of a command go, an image after another. */
interface Output {
  count: number;
  add(name: string, result: ClassifiedImage): void;
  end(): void;
}

class TextOutput implements Output {
  count = 0;

  /** An image that is the only argument needs no name before its labels. */
  private readonly only: string | undefined;

  constructor(given: readonly string[]) {
    this.only = given.length === 1 ? given[0] : undefined;
  }

  add(name: string, { predictions, error }: ClassifiedImage): void {
    this.count++;
    if (error) return;
    const text = predictions.length > 0 ? topPredictions(predictions) : "No label reaches the threshold.";
    const heading = name === this.only ? "" : `${name}\n`;
    process.stdout.write(`${heading}${text}\n\n`);
  }

  end(): void {
    // Each image has ended its own text.
  }
}

/** An array of { image, predictions } and, where an image failed, { image, error: { code, message } }. */
class JsonOutput implements Output {
  count = 0;

  add(image: string, { predictions, error }: ClassifiedImage): void {
    const failed = error && { code: error.code, message: withoutIndex(error) };
    const entry = failed ? { image, error: failed } : { image, predictions };
    const text = JSON.stringify(entry, null, 2).replace(/^/gm, "  ");
    process.stdout.write(`${this.count === 0 ? "[\n" : ",\n"}${text}`);
    this.count++;
  }

  /** Also after an error, so that what was printed is JSON. */
  end(): void {
    process.stdout.write(this.count === 0 ? "[]\n" : "\n]\n");
  }
}
