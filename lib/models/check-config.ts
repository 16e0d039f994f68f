import { kindOf, Untrusted, type JsonObject } from "../util/untrusted.js";
import type { ModelConfig } from "./config-types.js";

/** Sides, widths, tokens: no model of this kind comes near. */
const MOST_SIZE = 1 << 24;
const MOST_LIST = 1024;
const CLEANING = [
  "none",
  "openai",
  "whitespace",
  "whitespace_underscore",
  "canonicalize",
  "siglip",
  "lower",
] as const;
const DIALECTS = ["openai", "open_clip", "transformers"] as const;

/**
 * Checks every setting of a `torchclip.json`: its type, and that sizes are whole numbers that a model can
 * have. It stands before the towers, which compute with the settings, and before what they generate. `file`
 * is named by the error (E_MODEL_CORRUPT).
 */
export function checkConfig(value: unknown, file: string): ModelConfig {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const config = check.object(value, "the settings");
  for (const key of ["architecture", "name", "storedDtype"]) check.text(config[key], key, 1024);
  check.count(config.embedDim, "embedDim", 1, MOST_SIZE);
  check.choice(config.loss, ["softmax", "sigmoid"], "loss");
  checkTower(config.image, "image", ["imageSize"], check);
  checkTower(config.text, "text", ["contextLength", "vocabSize"], check);
  checkPreprocessing(check.object(config.preprocessing, "preprocessing"), check);
  checkTokenizer(check.object(config.tokenizer, "tokenizer"), check);
  const source = check.object(config.source, "source");
  for (const key of ["file", "sha256", "format"]) check.text(source[key], `source.${key}`, 4096);
  return config as unknown as ModelConfig;
}

/** A tower's settings are flags, names and numbers, or lists of these; those in `sizes` must be there. */
function checkTower(value: unknown, where: string, sizes: readonly string[], check: Untrusted): void {
  const tower = check.object(value, where);
  check.text(tower.kind, `${where}.kind`, 64);
  for (const key of sizes) check.count(tower[key], `${where}.${key}`, 1, MOST_SIZE);
  for (const [key, setting] of Object.entries(tower)) checkSetting(setting, `${where}.${key}`, key, check);
}

function checkSetting(value: unknown, what: string, key: string, check: Untrusted): void {
  if (typeof value === "boolean" || value === undefined) return;
  if (typeof value === "string") {
    check.text(value, what, 1024);
  } else if (typeof value === "number") {
    checkNumber(value, what, key, check);
  } else if (Array.isArray(value)) {
    for (const [i, item] of check.array(value, what, MOST_LIST).entries())
      checkListItem(item, `${what}[${i}]`, key, check);
  } else {
    throw check.error(`${what} must be a number, a name, a flag or a list, not ${kindOf(value)}`);
  }
}

/** A list holds numbers, names and flags, or (a stem's convolutions) objects of them. */
function checkListItem(value: unknown, what: string, key: string, check: Untrusted): void {
  if (value === null || typeof value !== "object") {
    checkSetting(value, what, key, check);
    return;
  }
  for (const [name, setting] of Object.entries(check.object(value, what))) {
    if (typeof setting === "object")
      throw check.error(`${what}.${name} must be a number, a name or a flag, not ${kindOf(setting)}`);
    checkSetting(setting, `${what}.${name}`, name, check);
  }
}

function checkNumber(value: number, what: string, key: string, check: Untrusted): void {
  if (key !== "eps") check.count(value, what, 0, MOST_SIZE);
  else if (!(value > 0 && value < 1)) throw check.error(`${what} must lie between 0 and 1, not ${value}`);
}

function checkPreprocessing(preprocessing: JsonObject, check: Untrusted): void {
  check.text(preprocessing.resize, "preprocessing.resize", 64);
  check.text(preprocessing.interpolation, "preprocessing.interpolation", 64);
  if (preprocessing.resized !== undefined)
    check.count(preprocessing.resized, "preprocessing.resized", 1, MOST_SIZE);
  if (preprocessing.crop !== undefined)
    check.choice(preprocessing.crop, ["round", "floor"], "preprocessing.crop");
  check.number(preprocessing.fill, "preprocessing.fill");
  for (const key of ["mean", "std"]) {
    const values = check
      .array(preprocessing[key], `preprocessing.${key}`)
      .map((value) => check.number(value, `preprocessing.${key}`));
    if (values.length !== 3)
      throw check.error(`preprocessing.${key} must be three numbers, not ${values.length}`);
    if (key === "std" && values.some((value) => value === 0))
      throw check.error("preprocessing.std must not be 0");
  }
}

function checkTokenizer(tokenizer: JsonObject, check: Untrusted): void {
  check.choice(tokenizer.kind, ["clip", "huggingface"], "tokenizer.kind");
  check.choice(tokenizer.clean, CLEANING, "tokenizer.clean");
  if (tokenizer.dialect !== undefined) check.choice(tokenizer.dialect, DIALECTS, "tokenizer.dialect");
  check.count(tokenizer.padId, "tokenizer.padId", 0, MOST_SIZE);
  if (tokenizer.endId !== null) check.count(tokenizer.endId, "tokenizer.endId", 0, MOST_SIZE);
  if (tokenizer.stripEnd !== undefined) check.boolean(tokenizer.stripEnd, "tokenizer.stripEnd");
}
