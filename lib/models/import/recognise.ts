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
  parts: TensorPart[];
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
  const pick = <T extends AnyTower>(towers: readonly T[]): { tower: T; layout: Layout } | undefined => {
    for (const tower of towers) {
      for (const layout of tower.layouts) {
        for (const key of keys.keys()) if (layout.probe.test(key)) return { tower, layout };
      }
    }
    return undefined;
  };
  const image = pick(IMAGE_TOWERS);
  const text = pick(TEXT_TOWERS);
  if (!image || !text) {
    const some = [...keys.keys()].slice(0, 3).join(", ") || "none";
    const half = image
      ? `its image encoder is a ${image.tower.kind}, its text encoder is none`
      : text
        ? "its image encoder is none"
        : "it is none";
    throw new TorchclipError(
      "E_MODEL_UNSUPPORTED",
      `${file}: ${half} that this version knows; its first keys are ${some}`,
      { subject: file },
    );
  }
  const result: Recognised = {
    image: { tower: image.tower, layout: image.layout.name, tensors: new Map(), shapes: undefined! },
    text: { tower: text.tower, layout: text.layout.name, tensors: new Map(), shapes: undefined! },
    root: new Map(),
  };
  const unexpected: string[] = [];
  for (const [key, part] of keys) {
    const place = (rules: readonly Rule[], tensors: Map<string, MappedTensor>) => {
      const rule = rules.find((r) => r.from.test(key));
      if (rule && rule.to) addTensor(tensors, key, part, rule);
      return rule !== undefined;
    };
    if (
      !place(ROOT_RULES, result.root) &&
      !place(image.layout.rules, result.image.tensors) &&
      !place(text.layout.rules, result.text.tensors)
    )
      unexpected.push(key);
  }
  if (unexpected.length) {
    throw new TorchclipError(
      "E_MODEL_UNSUPPORTED",
      `${file}: ${unexpected.length} unexpected key(s) for ${image.tower.kind} + ${text.tower.kind}, the first is ${unexpected[0]}`,
      { subject: file },
    );
  }
  result.image.shapes = shapesOf(result.image.tensors, file);
  result.text.shapes = shapesOf(result.text.tensors, file);
  return result;
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
  const [name, index] = key.replace(rule.from, rule.to).split("#");
  let shape = part.shape;
  if (rule.squeeze) while (shape.length > 1 && shape[0] === 1) shape = shape.slice(1);
  // A single vector stays a matrix of one row where several are possible.
  if (rule.squeeze && name.endsWith("latent")) shape = [1, shape[shape.length - 1]];
  const entry = tensors.get(name) ?? { parts: [], key };
  const { stored, ...place } = part;
  entry.parts[Number(index ?? 0)] = {
    ...place,
    shape,
    transpose: (rule.transpose ?? false) !== (stored === "transposed"),
  };
  tensors.set(name, entry);
}

function joinedShape({ parts }: MappedTensor): number[] {
  const shapes = parts.filter((p) => p).map((p) => (p.transpose ? p.shape.slice().reverse() : p.shape));
  if (parts.length === 1) return shapes[0];
  return [shapes.reduce((n, s) => n + (s[0] ?? 0), 0), ...shapes[0].slice(1)];
}

function shapesOf(tensors: Map<string, MappedTensor>, file: string): Shapes {
  return {
    has: (name) => tensors.has(name),
    shape(name, axes) {
      const entry = tensors.get(name);
      if (!entry) throw missing(file, name);
      const shape = joinedShape(entry);
      if (shape.length !== axes) {
        throw new TorchclipError(
          "E_MODEL_UNSUPPORTED",
          `${file}: ${entry.key} has shape [${shape.join(", ")}], the models known have ${axes} axes there`,
          {
            subject: file,
          },
        );
      }
      return shape;
    },
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
    const { parts, key } = entry;
    for (let i = 0; i < parts.length; i++) if (!parts[i]) throw missing(file, `part ${i} of ${name}`);
    const found = joinedShape(entry);
    const same = found.length === shape.length && shape.every((n, i) => n === -1 || n === found[i]);
    const scalar = shape.length === 0 && found.join() === "1"; // some checkpoints hold the scale as [1]
    if (!same && !scalar) {
      throw new TorchclipError(
        "E_MODEL_CORRUPT",
        `${file}: ${key} has shape [${found.join(", ")}], expected [${shape.join(", ")}] for ${name}`,
        {
          subject: file,
        },
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

/** The type that holds all parts of a tensor exactly; fp64 and integers become fp32. */
function storedAs(parts: readonly TensorPart[]): ArtifactSpec["tensors"][number]["dtype"] {
  const [first] = parts;
  const half = first.dtype === "F16" || first.dtype === "BF16" ? first.dtype : "F32";
  return parts.every((p) => p.dtype === half) ? half : "F32";
}
