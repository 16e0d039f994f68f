import type { NativeTrainingBatch } from "../addon.js";
import type { Clip } from "../clip/clip.js";
import { trimPadding } from "../clip/batches.js";
import { fillTemplate } from "../text/prompts.js";
import { below } from "../util/random.js";
import { trainsTexts, trimsTexts } from "./parameters.js";
import type { FinetuneMethod, Recipe } from "./recipes.js";
import { randomOf } from "./sampler.js";

/** What the images of a batch are compared with. */
export type TextSide = Pick<
  NativeTrainingBatch,
  "labels" | "classes" | "classEmbeddings" | "tokens" | "length"
>;

/** The texts of the classes, as a method compares images with them. */
export interface ClassTexts {
  /** For a batch that is trained on; `place` is that of its first image in the sequence of the run. */
  forTraining: (labels: Int32Array, place: number) => TextSide;
  /** For a batch of validation. */
  forTest: (labels: Int32Array) => TextSide;
}

/** What the texts are made of. */
export interface ClassTextsOptions {
  method: FinetuneMethod;
  recipe: Recipe;
  /** Names as the prompts use them, by class id. */
  classNames: readonly string[];
  templates: readonly string[];
  seed: number;
  signal?: AbortSignal;
}

/**
 * The texts of a method: embeddings that stay, the mean over the templates as in zero-shot classification;
 * for "lora" on texts the first template of each class, encoded in each step; for "flyp" a template drawn for
 * each image, and in validation the first.
 */
export async function classTexts(clip: Clip, options: ClassTextsOptions): Promise<ClassTexts> {
  const { method, recipe, classNames, templates, signal } = options;
  const classes = classNames.length;
  if (!trainsTexts(method, recipe)) {
    const { data } = await clip.encodeClasses(classNames, templates, { signal });
    const side = (labels: Int32Array): TextSide => ({ labels, classes, classEmbeddings: data });
    return { forTraining: side, forTest: side };
  }
  const tokens = promptTokens(clip, classNames, templates);
  const ofClasses = rowsOf(tokens, [...classNames.keys()]);
  const forTest = (labels: Int32Array): TextSide => ({ labels, classes, ...ofClasses });
  if (method === "lora") return { forTraining: forTest, forTest };
  const forTraining = (labels: Int32Array, place: number): TextSide => {
    const rows = Array.from(labels, (label, i) => {
      const random = randomOf(options.seed, `template ${place + i}`);
      return below(random, templates.length) * classes + label;
    });
    return { classes: labels.length, ...rowsOf(tokens, rows) };
  };
  return { forTraining, forTest };
}

/** Token ids, int32 [rows, length]. */
interface TokenRows {
  tokens: Int32Array;
  length: number;
}

/** The prompts of all classes, template after template, without columns that are padding in all of them. */
function promptTokens(clip: Clip, classNames: readonly string[], templates: readonly string[]): TokenRows {
  const prompts = templates.flatMap((template) => classNames.map((name) => fillTemplate(template, name)));
  const all = clip.tokenize(prompts);
  const { config } = clip.info;
  const { data, length } = trimPadding(all, 0, all.rows, trimsTexts(config), config.tokenizer.padId);
  return { tokens: data, length };
}

function rowsOf({ tokens, length }: TokenRows, rows: readonly number[]): TokenRows {
  const out = new Int32Array(rows.length * length);
  rows.forEach((row, i) => out.set(tokens.subarray(row * length, (row + 1) * length), i * length));
  return { tokens: out, length };
}
