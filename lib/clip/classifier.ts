import { similarity, type Embeddings } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import type { DecodeOptions, ImageInput } from "../images/types.js";
import { isBoolean, isSignal, RANK_CHECKS, readOptions, type OptionCheck } from "../options.js";
import { checkTemplates, fillTemplate } from "../text/prompts.js";
import { softmax } from "../util/softmax.js";
import { checkList } from "./lists.js";
import type { BatchOptions, ClassifierModel, EncodeTextOptions } from "./options.js";

/** One label of one image. */
export interface Prediction {
  label: string;
  /** Index in the labels that were given. */
  index: number;
  cosine: number;
  /** logitScale × cosine + logitBias. */
  logit: number;
  /**
   * softmax of the logits over the labels given: a share among these labels, not a calibrated probability.
   * For models with the sigmoid loss (info.config.loss): sigmoid of the label's own logit; such shares need
   * not add up to 1. With `multiLabel` and a model with the softmax loss: softmax over the label and its
   * negative prompt.
   */
  probability: number;
  /** Cosine with the label's negative prompt, where the classifier has `negativeTemplates`. */
  negativeCosine?: number;
}

/** What was found in one image of several. */
export interface ClassifiedImage {
  /** Position among the images that were given. */
  index: number;
  /** Best first; empty where the image failed, and where no label reaches the threshold. */
  predictions: Prediction[];
  /** Why the image has no predictions, with onError "collect". */
  error?: TorchclipError;
}

export interface ClassifierOptions {
  /** `{}` is the label. Default "a photo of a {}". The embeddings of several are averaged as CLIP does. */
  templates?: Templates;
  /**
   * Judge each label by itself, so that an image may have several labels or none. Default false.
   *
   * A model with the sigmoid loss (SigLIP) was trained so: the probability is the sigmoid of the label's
   * logit. A model with the softmax loss (CLIP) was not: its logits compare texts with each other, and the
   * sigmoid of each is near 1 for any image. It needs `negativeTemplates`; without them this is
   * E_ARGUMENT.
   */
  multiLabel?: boolean;
  /**
   * For `multiLabel` with a model of the softmax loss: what stands against each label, with `{}` for the
   * label ("a photo without a {}") or one text for all ("a photo"). The embeddings of several are averaged.
   * The probability of a label is the softmax over two logits, the label's and the negative's, as in CheXzero
   * (Tiu et al. 2022, doi:10.1038/s41551-022-00936-9). CLIP understands "without" and "no" badly: measure the
   * prompts and the threshold on labelled images of your own.
   */
  negativeTemplates?: Templates;
  /** Ends the encoding of the labels with E_ABORTED. */
  signal?: AbortSignal;
}

/** Which labels of an image are given. */
export interface RankOptions {
  /** The most predictions, best first. Default 5; with `threshold` or `multiLabel` all labels. */
  topK?: number;
  /** The least probability of a prediction, in 0 to 1. Default 0: no label is left out. */
  threshold?: number;
}

/** Options of one image. */
export interface ClassifyImageOptions extends DecodeOptions, RankOptions {}

/** Options of many images. */
export interface ClassifyBatchOptions extends Omit<BatchOptions, "normalize" | "output">, RankOptions {}

type MultiLabelOptions = Pick<ClassifierOptions, "multiLabel" | "negativeTemplates">;

/** Options of `clip.classify`. */
export interface ClassifyOptions extends ClassifyImageOptions, MultiLabelOptions {
  /** `{}` is the label. Default "a photo of a {}". Several are averaged as CLIP does. */
  template?: Templates;
}

/** One prompt template, or several. */
export type Templates = string | readonly string[];

/** Images of one call, in their order. */
export type ImageInputs = Iterable<ImageInput> | AsyncIterable<ImageInput>;

const DEFAULT_TEMPLATE = "a photo of a {}";
const DEFAULT_TOP = 5;

type Texts = readonly string[];

/** Cosines of one image with the negative prompts, where there are some. */
type Row = Float32Array | undefined;

const isTemplates: OptionCheck = (value) => {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.every((template) => typeof template === "string") ? undefined : "a text or a list of texts";
};

const LABEL_CHECKS: Partial<Record<keyof ClassifierOptions, OptionCheck>> = {
  templates: isTemplates,
  multiLabel: isBoolean,
  negativeTemplates: isTemplates,
  signal: isSignal,
};

/**
 * Labels that were encoded once, for any number of images. Made by `clip.classifier`; it holds the embeddings
 * of the labels (float32 [labels, embedDim]), and after `clip.close()` its calls are E_CLOSED.
 *
 * @example
 * const classifier = await clip.classifier(["cat", "dog", "bird"]);
 * const [best] = await classifier.classify("cat.jpg", { topK: 1 });
 * for await (const { index, predictions, error } of classifier.stream(paths, { onError: "collect" })) {
 *   console.log(paths[index], error?.message ?? predictions[0].label);
 * }
 */
export class Classifier {
  /** @internal */
  constructor(
    private readonly clip: ClassifierModel,
    /** As they were given; a prediction's `index` counts in them. */
    readonly labels: readonly string[],
    readonly multiLabel: boolean,
    private readonly classes: Embeddings,
    /** A row for each label, or one for all of them. */
    private readonly negatives: Embeddings | undefined,
  ) {}

  /** The labels ranked for one image. Rejects with the image's error, E_ARGUMENT, E_ABORTED or E_CLOSED. */
  async classify(image: ImageInput, options: ClassifyImageOptions = {}): Promise<Prediction[]> {
    const [{ predictions, error }] = await this.classifyAll([image], options);
    if (error) throw error;
    return predictions;
  }

  /**
   * The labels ranked for each image, in the order of the images. With onError "throw" (default) the first
   * bad image rejects, with its index and name; with "collect" it has an `error` and no predictions.
   */
  async classifyAll(images: ImageInputs, options: ClassifyBatchOptions = {}): Promise<ClassifiedImage[]> {
    const all: ClassifiedImage[] = [];
    for await (const classified of this.stream(images, options)) all.push(classified);
    return all;
  }

  /**
   * What `classifyAll` gives, an image at a time as the batches are done. Images are read no further ahead
   * than by `clip.streamImages`: the next batch is decoded while one is in the model.
   */
  async *stream(images: ImageInputs, given: ClassifyBatchOptions = {}): AsyncGenerator<ClassifiedImage> {
    checkImages(images);
    const { topK, threshold, ...options } = readOptions(given, RANK_CHECKS);
    let index = 0;
    for await (const batch of this.clip.streamImages(images, options)) {
      const ranked = this.classifyEmbeddings(batch, { topK, threshold });
      for (const [row, error] of batch.errors.entries()) {
        const predictions = ranked[row];
        yield error ? { index, predictions, error } : { index, predictions };
        index++;
      }
    }
  }

  /**
   * The labels ranked for images that the same model embedded before: float32 [images, embedDim], normalised,
   * as `encodeImages` gives them and an index holds them. A row of NaN, an image that could not be read, has no
   * predictions. Runs on the calling thread.
   *
   * @example
   * const predictions = classifier.classifyEmbeddings(await clip.encodeImages(paths), { topK: 1 });
   */
  classifyEmbeddings(images: Embeddings, options: RankOptions = {}): Prediction[][] {
    const { topK, threshold } = readOptions(options, RANK_CHECKS);
    const cosines = rowsOf(similarity(images, this.classes), this.classes.rows);
    const against = this.negatives && rowsOf(similarity(images, this.negatives), this.negatives.rows);
    return Array.from({ length: images.rows }, (_, row) => {
      const own = cosines(row);
      return Number.isNaN(own[0]) ? [] : this.rank(own, against?.(row), { topK, threshold });
    });
  }

  /** The labels by falling probability, equal ones in their own order. */
  private rank(cosines: Float32Array, negatives: Row, options: RankOptions): Prediction[] {
    const { threshold = 0 } = options;
    const all = this.multiLabel || options.threshold !== undefined;
    const { topK = all ? this.labels.length : DEFAULT_TOP } = options;
    const { logitScale, logitBias } = this.clip.info;
    const probabilities = this.probabilities(cosines, negatives);
    const kept = [...this.labels.keys()].filter((index) => probabilities[index] >= threshold);
    const ranked = kept.sort((a, b) => probabilities[b] - probabilities[a] || a - b);
    return ranked.slice(0, topK).map((index) => ({
      label: this.labels[index],
      index,
      cosine: cosines[index],
      logit: cosines[index] * logitScale + logitBias,
      probability: probabilities[index],
      ...(negatives && { negativeCosine: negatives[index % negatives.length] }),
    }));
  }

  private probabilities(cosines: Float32Array, negatives: Row): ArrayLike<number> {
    const { logitScale, logitBias, config } = this.clip.info;
    if (negatives) {
      // softmax over two logits is the sigmoid of their difference.
      const { length } = negatives;
      const margins = Float64Array.from(cosines, (cosine, label) => cosine - negatives[label % length]);
      return margins.map((margin) => sigmoid(margin * logitScale));
    }
    if (config.loss === "sigmoid") return cosines.map((cosine) => sigmoid(cosine * logitScale + logitBias));
    return softmax(cosines, logitScale);
  }
}

function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}

/** The rows of a matrix of `width` columns. */
function rowsOf(data: Float32Array, width: number): (row: number) => Float32Array {
  return (row) => data.subarray(row * width, (row + 1) * width);
}

/** What `clip.classifier` does. */
export async function createClassifier(clip: ClassifierModel, given: Texts, options: ClassifierOptions) {
  const { templates = DEFAULT_TEMPLATE, multiLabel = false, ...read } = readOptions(options, LABEL_CHECKS);
  const labels = checkLabels(given);
  const negativeTemplates = checkNegatives(clip, multiLabel, read.negativeTemplates);
  const { signal } = read;
  const classes = await encodeClasses(clip, labels, listOf(templates), { signal });
  if (!negativeTemplates) return new Classifier(clip, labels, multiLabel, classes, undefined);
  const names = negativeTemplates.some((template) => template.includes("{}")) ? labels : [""];
  const negatives = await encodePrompts(clip, names, negativeTemplates, { signal });
  return new Classifier(clip, labels, multiLabel, classes, negatives);
}

/** What `clip.classify` does: a classifier that is used once. Its options are checked first. */
export async function classifyOnce(
  clip: ClassifierModel,
  image: ImageInput,
  labels: Texts,
  given: ClassifyOptions,
) {
  const checks = { ...RANK_CHECKS, ...LABEL_CHECKS, template: isTemplates };
  const { template, multiLabel, negativeTemplates, ...options } = readOptions(given, checks);
  const labelOptions = { templates: template, multiLabel, negativeTemplates, signal: options.signal };
  const classifier = await createClassifier(clip, labels, labelOptions);
  return classifier.classify(image, options);
}

/** What `clip.encodeClasses` does. */
export async function encodeClasses(
  clip: ClassifierModel,
  labels: Texts,
  templates: Texts,
  options: EncodeTextOptions,
): Promise<Embeddings> {
  checkTemplates(templates);
  checkLabelList(labels);
  return encodePrompts(clip, labels, templates, options);
}

/** float32 [names, embedDim]: the normalised mean of the normalised embeddings of each name's prompts. */
async function encodePrompts(
  clip: ClassifierModel,
  names: Texts,
  templates: Texts,
  options: EncodeTextOptions,
): Promise<Embeddings> {
  const prompts = names.flatMap((name) => templates.map((template) => fillTemplate(template, name)));
  const encoded = await clip.encodeTexts(prompts, options);
  if (templates.length === 1) return encoded;
  const { dim } = encoded;
  const data = new Float32Array(names.length * dim);
  const mean = new Float64Array(dim);
  for (let row = 0; row < names.length; row++) {
    mean.fill(0);
    for (let t = 0; t < templates.length; t++) {
      const prompt = (row * templates.length + t) * dim;
      for (let i = 0; i < dim; i++) mean[i] += encoded.data[prompt + i];
    }
    const norm = Math.hypot(...mean);
    for (let i = 0; i < dim; i++) data[row * dim + i] = mean[i] / norm;
  }
  return { data, rows: names.length, dim };
}

function listOf(templates: Templates): Texts {
  return typeof templates === "string" ? [templates] : templates;
}

function argumentError(subject: string, message: string, index?: number): TorchclipError {
  return new TorchclipError("E_ARGUMENT", message, { subject, index });
}

function checkLabelList(labels: Texts): void {
  checkList(labels, "labels");
  if (labels.length === 0) throw argumentError("labels", "no labels were given");
}

/** A copy of the labels. E_ARGUMENT, with its index, for one that is no string, is empty or stands twice. */
function checkLabels(labels: Texts): Texts {
  checkLabelList(labels);
  const seen = new Map<string, number>();
  for (const [index, label] of labels.entries()) {
    const wrong = wrongLabel(label, seen);
    if (wrong) throw argumentError("labels", `label ${index} ${wrong}`, index);
    seen.set(label, index);
  }
  return Object.freeze([...seen.keys()]);
}

function wrongLabel(label: unknown, seen: ReadonlyMap<string, number>): string | undefined {
  if (typeof label !== "string") return "is not a string";
  if (label.trim() === "") return "is empty";
  const first = seen.get(label);
  return first === undefined ? undefined : `is the same as label ${first}: ${JSON.stringify(label)}`;
}

/** The negative templates, where there are some. E_ARGUMENT where the model needs or cannot use them. */
function checkNegatives(clip: ClassifierModel, multiLabel: boolean, given?: Templates): Texts | undefined {
  const wrong = wrongNegatives(clip, multiLabel, given);
  if (wrong) throw argumentError("negativeTemplates", wrong);
  return given === undefined ? undefined : listOf(given);
}

function wrongNegatives(clip: ClassifierModel, multiLabel: boolean, given?: Templates): string | undefined {
  const { loss, name } = clip.info.config;
  if (given === undefined && multiLabel && loss === "softmax") {
    return (
      `multiLabel needs negativeTemplates (--negative-template) with ${name}: ` +
      "a model with the softmax loss compares texts, and a logit alone is no probability. " +
      'Say what stands against each label, such as "a photo without a {}" or "a photo"'
    );
  }
  if (given === undefined) return undefined;
  if (!multiLabel) return "negativeTemplates are for multiLabel: true (--multi-label)";
  if (loss === "sigmoid") {
    const why = "a model with the sigmoid loss judges each label by itself";
    return `negativeTemplates (--negative-template) are not used with ${name}: ${why}`;
  }
  const isEmpty = given.length === 0 || listOf(given).some((template) => template.trim() === "");
  return isEmpty ? "a negative template is empty" : undefined;
}

/** A text and the bytes of one file can be iterated too, but hold no images. */
function checkImages(images: unknown): void {
  if (typeof images !== "string" && !ArrayBuffer.isView(images)) return;
  throw argumentError("images", "images must be a list or another iterable of images, not one image");
}
