import { identified } from "../embed/identity.js";
import { TorchclipError } from "../errors.js";
import type { ImageInput } from "../images/types.js";
import { chooseLambda } from "../learn/cross-validate.js";
import { probeModel, writeProbe, type FeatureKind } from "../learn/probe-file.js";
import { fitLinearProbe } from "../learn/solver/fit.js";
import { imageArguments } from "./images.js";
import { interruptSignal, list, remark } from "./io.js";
import { loadForImages } from "./load-for-images.js";
import { loadOptions, type ImageFlags, type ModelFlags } from "./options.js";

interface Flags extends ModelFlags, ImageFlags {
  class: string[];
  features: FeatureKind;
  lambda?: number;
  batchSize: number;
  autoRotate?: boolean;
  json?: boolean;
}

/** What `torchclip teach` does. */
export async function run(file: string, flags: Flags): Promise<void> {
  const signal = interruptSignal();
  const classes = namesAndImages(flags.class);
  const examples = await examplesOf(classes, signal);
  noteContradictions(examples, classes);
  const images = examples.map(({ image }) => image);
  const labels = examples.map(({ label }) => label);
  const names = classes.map(({ name }) => name);
  const clip = await loadForImages(flags.model, loadOptions(flags, signal));
  try {
    const { batchSize, autoRotate, threads, features: output } = flags;
    const features = await clip.encodeImages(images, { batchSize, output, autoRotate, signal });
    const data = { features, labels: Int32Array.from(labels) };
    const options = { classes: names, threads, signal };
    const choice = flags.lambda === undefined ? await chooseLambda(data, options) : undefined;
    const lambda = flags.lambda ?? choice?.lambda;
    const probe = await fitLinearProbe(features, labels, { ...options, lambda });
    await writeProbe(file, { probe, model: probeModel(clip.info, output) });
    const counts = names.map((name, label) => ({
      name,
      images: labels.filter((one) => one === label).length,
    }));
    const fitted = { features: output, lambda: probe.lambda, crossValidation: choice };
    const summary = { file, classes: counts, ...fitted };
    process.stdout.write(flags.json ? `${JSON.stringify(summary, null, 2)}\n` : textOf(summary));
  } finally {
    await clip.close();
  }
}

interface GivenClass {
  name: string;
  /** Arguments that stand for its images. */
  given: string[];
}

/** An image of a class. */
interface Example {
  image: ImageInput;
  name: string;
  /** Hash of its content, where that is known. */
  content: string;
  label: number;
}

/** The images of all classes. Throws E_ARGUMENT for a class without images. */
async function examplesOf(classes: readonly GivenClass[], signal: AbortSignal): Promise<Example[]> {
  const examples: Example[] = [];
  for (const [label, { name, given }] of classes.entries()) {
    const source = await imageArguments(given, signal);
    const before = examples.length;
    for await (const example of identified(source.images(0))) examples.push({ ...example, label });
    if (examples.length === before) throw classError(`--class ${JSON.stringify(name)} has no images`);
  }
  return examples;
}

/** Says which images are given for two classes: no classifier is right about both. */
function noteContradictions(examples: readonly Example[], classes: readonly GivenClass[]): void {
  const first = new Map<string, Example>();
  for (const example of examples) {
    const key = ["", "url"].includes(example.content) ? example.name : example.content;
    const other = first.get(key) ?? example;
    first.set(key, other);
    if (other.label === example.label) continue;
    const [one, two] = [other, example].map(({ name, label }) => `${name} (${classes[label].name})`);
    remark(`The same image is given for two classes: ${one} and ${two}.`);
  }
}

interface Summary {
  file: string;
  classes: { name: string; images: number }[];
  features: FeatureKind;
  lambda: number;
  crossValidation: Awaited<ReturnType<typeof chooseLambda>>;
}

function textOf({ file, classes, lambda, crossValidation }: Summary): string {
  const counts = classes.map(({ name, images }) => `${name} (${images})`).join(", ");
  const shown = Number(lambda.toPrecision(3));
  const accuracy = crossValidation
    ? `${(100 * crossValidation.accuracy).toFixed(1)}% of the images are right when they are held out ` +
      `(${crossValidation.folds} folds), λ ${shown}`
    : `λ ${shown}; a class with one image leaves none to check with`;
  return `Classes: ${counts}\n${accuracy}\nSaved: ${file}\n`;
}

/** The classes of --class. */
function namesAndImages(values: readonly string[]): GivenClass[] {
  const classes = values.map((value) => {
    const at = value.indexOf("=");
    const name = value.slice(0, Math.max(0, at)).trim();
    const given = list(value.slice(at + 1));
    if (name !== "" && given.length > 0) return { name, given };
    throw classError(`--class ${JSON.stringify(value)} is not of the form name=image,image,…`);
  });
  const names = classes.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw classError(`--class names ${JSON.stringify(twice)} twice`);
  const fromInput = classes.flatMap(({ given }) => given).filter((argument) => argument === "-");
  if (fromInput.length > 1) throw classError("standard input (-) can be read only once, for one class");
  if (classes.length < 2) throw classError("a classifier needs at least two classes: give --class twice");
  return classes;
}

function classError(message: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", message, { subject: "class" });
}
