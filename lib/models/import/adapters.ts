import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TorchclipError } from "../../errors.js";
import { readJsonObject, shown, Untrusted, type JsonObject } from "../../util/untrusted.js";
import { IMAGE_TOWERS, TEXT_TOWERS, type AnyTower } from "../architectures/towers.js";
import type { Rule } from "../architectures/types.js";
import { readFloats } from "../formats/read-floats.js";
import { readWeights } from "../formats/index.js";
import type { StoredTensor } from "../formats/types.js";
import type { WrittenTensor } from "../formats/write-safetensors.js";
import { adapterScale, addLowRank } from "./low-rank.js";
import type { ArtifactContent } from "./rewrite.js";

const MAX_CONFIG = 1 << 20;
const WEIGHTS = ["adapter_model.safetensors", "adapter_model.bin"];

/** The files of an adapter that PEFT wrote (LoRA). */
export interface AdapterFiles {
  weights: string;
  config: string;
}

/**
 * The files of an adapter: its folder, or its weights with adapter_config.json beside them. E_MODEL_NOT_FOUND
 * where one is missing.
 */
export async function adapterFiles(path: string): Promise<AdapterFiles> {
  const info = await stat(path).catch(() => undefined);
  const isThere = async (file: string) => (await stat(file).catch(() => undefined))?.isFile() === true;
  const candidates = info?.isDirectory() ? WEIGHTS.map((name) => join(path, name)) : [path];
  for (const weights of candidates) {
    const config = join(dirname(weights), "adapter_config.json");
    if ((await isThere(weights)) && (await isThere(config))) return { weights, config };
  }
  const message = `${path} is no adapter: it needs ${WEIGHTS.join(" or ")} and adapter_config.json beside it`;
  throw new TorchclipError("E_MODEL_NOT_FOUND", message, { subject: path });
}

/** How an adapter is scaled. */
interface AdapterSettings {
  rank: number;
  alpha: number;
  rankStabilized: boolean;
  rankPattern: JsonObject;
  alphaPattern: JsonObject;
}

/** Adapters that change the matrix in another way than by a product of two. */
const UNSUPPORTED: readonly (readonly [field: string, what: string])[] = [
  ["use_dora", "DoRA"],
  ["lora_bias", "biases of adapters"],
  ["modules_to_save", "whole modules beside the adapters"],
  ["megatron_config", "Megatron's layers"],
  ["layer_replication", "repeated layers"],
  ["target_parameters", "adapters of single parameters"],
  ["trainable_token_indices", "trained tokens"],
  ["alora_invocation_tokens", "activated LoRA"],
  ["use_bdlora", "BD-LoRA"],
  ["use_qalora", "QA-LoRA"],
];

/**
 * Starts that change the model's own weights, to which the adapters then belong (LoraConfig,
 * `init_lora_weights`).
 */
const CHANGING_STARTS = /^(pissa|olora|corda|loftq)/;

async function readSettings(file: string): Promise<AdapterSettings> {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const config = await readJsonObject(file, MAX_CONFIG);
  const refuse = (what: string) =>
    new TorchclipError("E_MODEL_UNSUPPORTED", `${file}: ${what} cannot be merged by this version`, {
      subject: file,
    });
  const type = check.text(config.peft_type, "peft_type", 64);
  if (type !== "LORA") throw refuse(`adapters of the type ${shown(type)}`);
  for (const [field, what] of UNSUPPORTED) {
    const value = config[field];
    const isEmpty = Array.isArray(value) && value.length === 0;
    if (value !== undefined && value !== null && value !== false && !isEmpty) throw refuse(what);
  }
  const init = config.init_lora_weights;
  if (typeof init === "string" && CHANGING_STARTS.test(init))
    throw refuse(`adapters that start from ${shown(init)}`);
  if ((config.bias ?? "none") !== "none") throw refuse("trained biases");
  return {
    rank: check.count(config.r, "r", 1, 1 << 16),
    alpha: check.number(config.lora_alpha ?? 8, "lora_alpha"),
    rankStabilized: check.boolean(config.use_rslora ?? false, "use_rslora"),
    rankPattern: check.object(config.rank_pattern ?? {}, "rank_pattern"),
    alphaPattern: check.object(config.alpha_pattern ?? {}, "alpha_pattern"),
  };
}

/** A pair of matrices beside a module of the model. */
interface AdapterPair {
  /** The module as transformers names it: "vision_model.encoder.layers.0.self_attn.q_proj". */
  module: string;
  key: string;
  a?: StoredTensor;
  b?: StoredTensor;
}

/**
 * What an adapter adds to a matrix of the model: scale × B A from a row on, of its transpose where it says
 * so.
 */
interface MatrixChange {
  pair: Required<AdapterPair>;
  scale: number;
  part: number;
  transpose: boolean;
}

/**
 * The matrices of a model with adapters merged in: W + Σ alpha / r × B A (alpha / √r for rsLoRA), as PEFT's
 * merge_and_unload computes them. Throws E_ARGUMENT, naming the first key, for adapters that do not fit the
 * model, and E_MODEL_UNSUPPORTED for kinds of adapters that cannot be merged so.
 */
export async function mergedWithAdapters(
  model: ArtifactContent,
  adapters: readonly AdapterFiles[],
): Promise<WrittenTensor[]> {
  const changes = new Map<string, MatrixChange[]>();
  for (const files of adapters) {
    const settings = await readSettings(files.config);
    for (const pair of await readPairs(files.weights)) {
      const { matrix, ...change } = placed(model, files, settings, pair);
      changes.set(matrix, [...(changes.get(matrix) ?? []), change]);
    }
  }
  return [...changes].map(([name, ofMatrix]) => {
    const stored = storedMatrix(model, name);
    const read = async () => {
      const values = await readFloats(stored);
      for (const change of ofMatrix) await addChange(values, stored.shape, change);
      return values;
    };
    return { name, shape: stored.shape, read };
  });
}

const KEY = /^(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.[^.]+)?\.weight$/;

/** The pairs in a weight file; throws E_MODEL_UNSUPPORTED for the first key that is of no pair. */
async function readPairs(file: string): Promise<Required<AdapterPair>[]> {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const { tensors } = await readWeights(file);
  const pairs = new Map<string, AdapterPair>();
  for (const [key, stored] of tensors) {
    const [, module, side] = KEY.exec(key) ?? [];
    if (!module || stored.shape.length !== 2 || stored.stored === "transposed") {
      const message = `${file}: ${shown(key)} is no matrix of a LoRA adapter of linear layers`;
      throw new TorchclipError("E_MODEL_UNSUPPORTED", message, { subject: file });
    }
    const pair = pairs.get(module) ?? { module, key };
    pair[side === "A" ? "a" : "b"] = stored;
    pairs.set(module, pair);
  }
  if (pairs.size === 0) throw check.error("it holds no adapter");
  return [...pairs.values()].map(({ a, b, ...pair }) => {
    if (!a || !b) throw check.error(`${shown(pair.key)} has no ${a ? "lora_B" : "lora_A"} beside it`);
    return { ...pair, a, b };
  });
}

/** Which matrix of the model a pair changes, and where. */
function placed(
  model: ArtifactContent,
  { weights }: AdapterFiles,
  settings: AdapterSettings,
  pair: Required<AdapterPair>,
): MatrixChange & { matrix: string } {
  const refuse = (why: string) =>
    new TorchclipError(
      "E_ARGUMENT",
      `${weights} does not fit ${model.config.name}: ${shown(pair.key)} ${why}`,
      { subject: weights },
    );
  const found = canonicalMatrix(model, pair.module);
  const stored = found && model.tensors.get(found.matrix);
  if (stored?.shape.length !== 2 || !found) throw refuse("names no matrix of the model");
  const [rank = 0, inner] = pair.a.shape;
  const [out = 0, rankOfB] = pair.b.shape;
  const [rows, columns] = found.transpose ? stored.shape.toReversed() : stored.shape;
  // Query, key and value are joined in one matrix.
  const parts = found.matrix.endsWith("in_proj_weight") ? 3 : 1;
  const fits = inner === columns && rank === rankOfB && parts * out === rows;
  if (!fits) {
    const shapes = [pair.a, pair.b].map(({ shape }) => `[${shape.join(", ")}]`).join(" and ");
    throw refuse(`is of shape ${shapes}, the model's matrix [${rows}, ${columns}]`);
  }
  const wanted = patternValue(settings.rankPattern, pair.module) ?? settings.rank;
  if (wanted !== rank) throw refuse(`has rank ${rank}, adapter_config.json says ${wanted}`);
  const alpha = patternValue(settings.alphaPattern, pair.module) ?? settings.alpha;
  return { ...found, pair, scale: adapterScale(alpha, rank, settings.rankStabilized) };
}

/** PEFT's get_pattern_key: the first pattern that the module's name ends with. */
function patternValue(patterns: JsonObject, module: string): number | undefined {
  for (const [pattern, value] of Object.entries(patterns)) {
    if (typeof value === "number" && (module === pattern || module.endsWith(`.${pattern}`))) return value;
  }
  return undefined;
}

/** The canonical matrix of a module of transformers, by the names under which its weights are imported. */
function canonicalMatrix(
  { config }: ArtifactContent,
  module: string,
): { matrix: string; part: number; transpose: boolean } | undefined {
  const rules = [...rulesOf(IMAGE_TOWERS, config.image.kind), ...rulesOf(TEXT_TOWERS, config.text.kind)];
  // Adapters of the vision model alone (CLIPVisionModel) leave its name out.
  for (const key of [`${module}.weight`, `vision_model.${module}.weight`]) {
    const rule = rules.find(({ from }) => from.test(key));
    if (!rule?.to) continue;
    const [matrix = "", part = "0"] = key.replace(rule.from, rule.to).split("#");
    return { matrix, part: Number(part), transpose: rule.transpose ?? false };
  }
  return undefined;
}

function rulesOf(towers: readonly AnyTower[], kind: string): readonly Rule[] {
  const tower = towers.find((one) => one.kind === kind);
  return tower?.layouts.find(({ name }) => name === "huggingface")?.rules ?? [];
}

function storedMatrix({ tensors, path }: ArtifactContent, name: string): StoredTensor {
  const stored = tensors.get(name);
  if (stored) return stored;
  throw new TorchclipError("E_MODEL_CORRUPT", `${path} lacks ${name}`, { subject: path });
}

async function addChange(
  values: Float32Array,
  shape: readonly number[],
  { pair, scale, part, transpose }: MatrixChange,
): Promise<void> {
  const [a, b] = [await readFloats(pair.a), await readFloats(pair.b)];
  const [rank = 1] = pair.a.shape;
  const [out = 0] = pair.b.shape;
  const [, columns = 1] = shape;
  addLowRank(values, columns, { a, b, rank, scale, row: part * out, transpose });
}
