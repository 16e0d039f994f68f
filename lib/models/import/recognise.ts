import type { ArtifactSpec, TensorPart } from "../../addon.js";
import { TorchclipError } from "../../errors.js";
import {
  IMAGE_TOWERS,
  TEXT_TOWERS,
  type AnyTower,
  type ImageTowerConfig,
  type TextTowerConfig,
} from "../architectures/towers.js";
import type { Layout, Rule, Shapes, Tower } from "../architectures/types.js";
import type { StoredTensor, WeightFile } from "../formats/types.js";

/** A tower found in a file, and its tensors by canonical name. */
export interface FoundTower<T> {
  tower: T;
  layout: string;
  tensors: Map<string, MappedTensor>;
  shapes: Shapes;
}

export interface MappedTensor {
  /** In their order; undefined where one was not found. */
  parts: (TensorPart | undefined)[];
  /** The published key of the first part, for messages. */
  key: string;
}

/** Keys outside the towers. */
const ROOT_RULES: readonly Rule[] = [
  { from: /^logit_scale$/, to: "logit_scale" },
  { from: /^logit_bias$/, to: "logit_bias" },
  { from: /^(input_resolution|context_length|vocab_size)$/, to: "" }, // OpenAI's archives
  { from: /^text_decoder\./, to: "" }, // CoCa's captioning half
];

export interface Recognised {
  image: FoundTower<Tower<ImageTowerConfig>>;
  text: FoundTower<Tower<TextTowerConfig>>;
  root: Map<string, MappedTensor>;
}

/**
 * Which towers a file holds, its keys under their canonical names. Throws E_MODEL_UNSUPPORTED, naming the
 * keys.
 */
export function recognise(weights: WeightFile, file: string): Recognised {
  const keys = stripPrefix(weights);
  const names = [...keys.keys()];
  const image = pick(IMAGE_TOWERS, names);
  const text = pick(TEXT_TOWERS, names);
  if (!image || !text) throw unknownTowers(image?.tower.kind, text?.tower.kind, names, file);
  const imageTensors = new Map<string, MappedTensor>();
  const textTensors = new Map<string, MappedTensor>();
  const root = new Map<string, MappedTensor>();
  const unexpected: string[] = [];
  for (const [key, part] of keys) {
    const isKnown =
      place(key, part, ROOT_RULES, root) ||
      place(key, part, image.layout.rules, imageTensors) ||
      place(key, part, text.layout.rules, textTensors);
    if (!isKnown) unexpected.push(key);
  }
  const [first] = unexpected;
  if (first !== undefined) {
    throw new TorchclipError(
      "E_MODEL_UNSUPPORTED",
      `${file}: ${unexpected.length} unexpected key(s) for ${image.tower.kind} + ${text.tower.kind}, ` +
        `the first is ${first}`,
      { subject: file },
    );
  }
  return {
    image: found(image, imageTensors, file),
    text: found(text, textTensors, file),
    root,
  };
}

interface Picked<T> {
  tower: T;
  layout: Layout;
}

/** The first tower, and the first of its layouts, whose probe matches a key. */
function pick<T extends AnyTower>(towers: readonly T[], keys: readonly string[]): Picked<T> | undefined {
  for (const tower of towers) {
    const layout = tower.layouts.find(({ probe }) => keys.some((key) => probe.test(key)));
    if (layout) return { tower, layout };
  }
  return undefined;
}

function found<T>(
  { tower, layout }: Picked<T>,
  tensors: FoundTower<T>["tensors"],
  file: string,
): FoundTower<T> {
  return { tower, layout: layout.name, tensors, shapes: shapesOf(tensors, file) };
}

/** The error of weights whose towers are not both known. */
function unknownTowers(
  image: string | undefined,
  text: string | undefined,
  keys: readonly string[],
  file: string,
): TorchclipError {
  let what = "it is none";
  if (image !== undefined) what = `its image encoder is a ${image}, its text encoder is none`;
  else if (text !== undefined) what = "its image encoder is none";
  const some = keys.length > 0 ? keys.slice(0, 3).join(", ") : "none";
  return new TorchclipError(
    "E_MODEL_UNSUPPORTED",
    `${file}: ${what} that this version knows; its first keys are ${some}`,
    { subject: file },
  );
}

/** Adds a tensor under its canonical name; false where no rule is for its key. */
function place(
  key: string,
  part: StoredTensor,
  rules: readonly Rule[],
  tensors: Map<string, MappedTensor>,
): boolean {
  const rule = rules.find(({ from }) => from.test(key));
  if (rule?.to) addTensor(tensors, key, part, rule);
  return rule !== undefined;
}

/**
 * Keys without the prefix that a training wrapper put before all of them ("module.", "state_dict.model." …).
 */
function stripPrefix(weights: WeightFile): Map<string, StoredTensor> {
  const scale = [...weights.tensors.keys()].find((k) => k.endsWith("logit_scale"));
  const prefix = scale?.slice(0, -"logit_scale".length) ?? "";
  if (!prefix) return weights.tensors;
  // What lies beside the model (an optimizer's state) has another prefix.
  return new Map(
    [...weights.tensors]
      .filter(([k]) => k.startsWith(prefix))
      .map(([k, part]) => [k.slice(prefix.length), part]),
  );
}

function addTensor(tensors: Map<string, MappedTensor>, key: string, part: StoredTensor, rule: Rule): void {
  const [name = "", index = "0"] = key.replace(rule.from, rule.to).split("#");
  const entry = tensors.get(name) ?? { parts: [], key };
  const { stored, ...place } = part;
  entry.parts[Number(index)] = {
    ...place,
    // A single vector stays a matrix of one row where several are possible.
    shape: rule.squeeze ? squeezed(part.shape, name.endsWith("latent")) : part.shape,
    transpose: (rule.transpose ?? false) !== (stored === "transposed"),
  };
  tensors.set(name, entry);
}

/** A shape without its leading axes of size 1; `asRow`: a matrix of one row instead. */
function squeezed(shape: readonly number[], asRow: boolean): number[] {
  const first = shape.findIndex((size) => size !== 1);
  const rest = shape.slice(first < 0 ? -1 : first);
  return asRow ? [1, ...rest.slice(-1)] : rest;
}

/** The shape of a tensor's parts joined along their first axis. */
function joinedShape({ parts }: MappedTensor): number[] {
  const shapes = parts.filter((part) => part !== undefined).map((part) => orientedShape(part));
  const [first = []] = shapes;
  if (parts.length === 1) return first;
  const rows = shapes.reduce((sum, [size = 0]) => sum + size, 0);
  return [rows, ...first.slice(1)];
}

/** The shape of a part as it is joined to the others. */
export const orientedShape = ({ shape, transpose }: TensorPart): number[] =>
  transpose ? shape.toReversed() : shape;

function shapesOf(tensors: Map<string, MappedTensor>, file: string): Shapes {
  function shape(name: string, axes: 2): [number, number];
  function shape(name: string, axes: 4): [number, number, number, number];
  function shape(name: string, axes: number): number[] {
    const entry = tensors.get(name);
    if (!entry) throw missing(file, name);
    const sizes = joinedShape(entry);
    if (sizes.length === axes) return sizes;
    throw new TorchclipError(
      "E_MODEL_UNSUPPORTED",
      `${file}: ${entry.key} has shape [${sizes.join(", ")}], the models known have ${axes} axes there`,
      { subject: file },
    );
  }
  return {
    has: (name) => tensors.has(name),
    shape,
    count(prefix, probe) {
      let n = 0;
      while (tensors.has(`${prefix}.${n}.${probe}`)) n++;
      if (n === 0) throw missing(file, `${prefix}.0.${probe}`);
      return n;
    },
  };
}

function missing(file: string, name: string): TorchclipError {
  return new TorchclipError("E_MODEL_CORRUPT", `${file}: ${name} is missing`, { subject: file });
}

/**
 * The tensors of the artifact: everything that `expected` names, in its shape; throws E_MODEL_CORRUPT with
 * the first that is missing, has another shape, or is in the file and not expected. An axis of -1 takes any
 * size.
 */
export function artifactTensors(
  expected: Iterable<[name: string, shape: number[]]>,
  tensors: Map<string, MappedTensor>,
  file: string,
): ArtifactSpec["tensors"] {
  const result: ArtifactSpec["tensors"] = [];
  for (const [name, shape] of expected) {
    const entry = tensors.get(name);
    if (!entry) throw missing(file, name);
    const { key } = entry;
    const parts = wholeParts(entry, name, file);
    const found = joinedShape(entry);
    const same = found.length === shape.length && shape.every((n, i) => n === -1 || n === found[i]);
    const scalar = shape.length === 0 && found.join() === "1"; // some checkpoints hold the scale as [1]
    if (!same && !scalar) {
      throw new TorchclipError(
        "E_MODEL_CORRUPT",
        `${file}: ${key} has shape [${found.join(", ")}], expected [${shape.join(", ")}] for ${name}`,
        { subject: file },
      );
    }
    result.push({
      name,
      parts: scalar ? parts.map((p) => ({ ...p, shape: [] })) : parts,
      dtype: storedAs(parts),
    });
  }
  const known = new Set(result.map((t) => t.name));
  for (const [name, { key }] of tensors) {
    if (!known.has(name))
      throw new TorchclipError("E_MODEL_UNSUPPORTED", `${file}: unexpected key ${key}`, { subject: file });
  }
  return result;
}

/** All parts of a tensor; throws E_MODEL_CORRUPT where one is missing. */
function wholeParts({ parts }: MappedTensor, name: string, file: string): TensorPart[] {
  // A hole of the list is an entry here.
  return Array.from(parts, (part, i) => {
    if (!part) throw missing(file, `part ${i} of ${name}`);
    return part;
  });
}

/** The type that holds all parts of a tensor exactly; fp64 and integers become fp32. */
function storedAs(parts: readonly TensorPart[]): ArtifactSpec["tensors"][number]["dtype"] {
  const first = parts.at(0)?.dtype;
  const half = first === "F16" || first === "BF16" ? first : "F32";
  return parts.every(({ dtype }) => dtype === half) ? half : "F32";
}
