import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { ClipInfo } from "../clip/options.js";
import { TorchclipError } from "../errors.js";
import { readSafetensors } from "../models/formats/safetensors.js";
import type { StoredTensor } from "../models/formats/types.js";
import { writeFileWhole } from "../util/files.js";
import { Untrusted } from "../util/untrusted.js";
import { headsOf, LinearProbe } from "./solver/linear-probe.js";

/** Which features of an image a probe is fitted on. */
export const FEATURE_KINDS = ["embedding", "pooled"] as const;

/**
 * "embedding": the model's embedding, after the projection and of length 1; "pooled": the image feature before
 * the projection, as it is (`clip.encodeImages(images, { output: "pooled" })`).
 */
export type FeatureKind = (typeof FEATURE_KINDS)[number];

/** The model whose features a probe takes. */
export interface ProbeModel {
  name: string;
  /** Hash of the weights, the settings of the image tower and the preprocessing. */
  fingerprint: string;
  features: FeatureKind;
}

/** A probe with the model that it belongs to. */
export interface StoredProbe {
  probe: LinearProbe;
  model: ProbeModel;
}

/** The model of a probe: the same weights, settings of the image tower and preprocessing give the same features. */
export function probeModel({ config }: ClipInfo, features: FeatureKind = "embedding"): ProbeModel {
  const text = JSON.stringify([config.source.sha256, config.image, config.preprocessing]);
  const fingerprint = createHash("sha256").update(text).digest("hex").slice(0, 32);
  return { name: config.name, fingerprint, features };
}

/** Throws E_ARGUMENT, with both names, where a probe belongs to another model. */
export function checkProbeModel(file: string, { model }: StoredProbe, info: ClipInfo): void {
  const { name, fingerprint } = probeModel(info);
  if (fingerprint === model.fingerprint) return;
  const other = name === model.name ? `other weights, settings or preprocessing of ${name}` : name;
  const message = `${file} was fitted on features of ${model.name}, and the model is ${other}`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: file });
}

const FORMAT = "torchclip-probe-2";

/**
 * Writes a probe as safetensors: `coefficients` (F64 [heads, dim]), `intercepts` (F64 [heads]) and, where it
 * standardizes, `mean` and `deviation` (F64 [dim]); the metadata names classes, model and λ.
 */
export async function writeProbe(file: string, { probe, model }: StoredProbe): Promise<void> {
  const heads = headsOf(probe.classes.length);
  const { dim, standardization } = probe;
  const tensors: [string, number[], Float64Array][] = [
    ["coefficients", [heads, dim], probe.coefficients],
    ["intercepts", [heads], probe.intercepts],
  ];
  if (standardization) {
    tensors.push(["mean", [dim], standardization.mean], ["deviation", [dim], standardization.deviation]);
  }
  const metadata = {
    format: FORMAT,
    classes: JSON.stringify(probe.classes),
    lambda: String(probe.lambda),
    model: model.name,
    fingerprint: model.fingerprint,
    features: model.features,
  };
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  for (const [name, shape, { byteLength }] of tensors) {
    header[name] = { dtype: "F64", shape, data_offsets: [end, (end += byteLength)] };
  }
  const text = Buffer.from(JSON.stringify(header));
  // The data begins at a multiple of 8 bytes, as the format asks for.
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  await writeFileWhole(file, Buffer.concat([length, padded, ...tensors.map(([, , data]) => bytesOf(data))]));
}

/** float64 as bytes, little-endian. */
function bytesOf(data: Float64Array): Buffer {
  const bytes = Buffer.alloc(data.length * 8);
  data.forEach((value, i) => bytes.writeDoubleLE(value, i * 8));
  return bytes;
}

/** Reads a probe; E_MODEL_NOT_FOUND or E_MODEL_CORRUPT where the file is none. */
export async function readProbe(file: string): Promise<StoredProbe> {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const { tensors, metadata } = await readSafetensors(file);
  if (metadata.format !== FORMAT)
    throw check.error(`it is no probe (${FORMAT}) but another safetensors file`);
  const field = (name: string) => check.text(metadata[name], `__metadata__.${name}`);
  const names = check.array(check.json(field("classes"), "its classes"), "its classes");
  const classes = names.map((name, i) => check.text(name, `class ${i}`));
  if (classes.length < 2) throw check.error("it names fewer than two classes");
  const bytes = await readFile(file);
  const read = (name: string, shape: number[]) => readTensor(tensors.get(name), name, shape, bytes, check);
  const heads = headsOf(classes.length);
  const dim = tensors.get("coefficients")?.shape.at(1) ?? 0;
  const coefficients = read("coefficients", [heads, dim]);
  const intercepts = read("intercepts", [heads]);
  const standardization = tensors.has("mean")
    ? { mean: read("mean", [dim]), deviation: read("deviation", [dim]) }
    : undefined;
  if (standardization && !standardization.deviation.every((value) => value > 0))
    throw check.error("deviation holds a value that is not positive");
  const lambda = Number(field("lambda"));
  const features = check.choice(field("features"), FEATURE_KINDS, "its kind of features");
  return {
    probe: new LinearProbe({ classes, dim, lambda, coefficients, intercepts, standardization }),
    model: { name: field("model"), fingerprint: field("fingerprint"), features },
  };
}

function readTensor(
  tensor: StoredTensor | undefined,
  name: string,
  shape: readonly number[],
  bytes: Buffer,
  check: Untrusted,
): Float64Array {
  const isRight =
    tensor?.dtype === "F64" &&
    tensor.shape.length === shape.length &&
    shape.every((axis, i) => axis > 0 && tensor.shape[i] === axis);
  if (!isRight) throw check.error(`it has no float64 tensor ${name} [${shape.join(", ")}]`);
  const values = Float64Array.from({ length: tensor.bytes / 8 }, (_, i) =>
    bytes.readDoubleLE(tensor.offset + i * 8),
  );
  if (!values.every(Number.isFinite)) throw check.error(`${name} holds a value that is not finite`);
  return values;
}
