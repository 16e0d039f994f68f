import { rm } from "node:fs/promises";
import { join } from "node:path";
import { TorchclipError } from "../errors.js";
import { readFloats } from "../models/formats/read-floats.js";
import { readSafetensors } from "../models/formats/safetensors.js";
import type { WeightFile } from "../models/formats/types.js";
import { writeSafetensors } from "../models/formats/write-safetensors.js";
import { exists } from "../util/files.js";
import { shown, Untrusted, type JsonObject } from "../util/untrusted.js";
import type { History, StepRecord, ValidationRecord } from "./history.js";
import type { OptimizerName } from "./recipes.js";
import type { TrainedPart, Trainer } from "./trainer.js";

const FORMAT = "torchclip-finetune-1";

/** The file that `--resume` goes on from. */
export const checkpointFile = (folder: string): string => join(folder, "checkpoint.safetensors");
/** The trained tensors of the best validation so far. */
export const bestFile = (folder: string): string => join(folder, "best.safetensors");

/** The parts that an optimizer has of each tensor. */
export function partsOf(optimizer: OptimizerName, momentum: number): TrainedPart[] {
  if (optimizer !== "sgd") return ["values", "first", "second"];
  return momentum > 0 ? ["values", "first"] : ["values"];
}

/** Writes trained tensors with the given parts as PART/NAME, whole or not at all. */
export async function saveTrained(
  file: string,
  trainer: Trainer,
  parts: readonly TrainedPart[],
  metadata: Record<string, string>,
): Promise<void> {
  const tensors = [...trainer.shapes].flatMap(([name, shape]) =>
    parts.map((part) => ({ name: `${part}/${name}`, shape, read: () => trainer.read(name, part) })),
  );
  await writeSafetensors(file, tensors, { format: FORMAT, ...metadata });
}

/** Reads what `saveTrained` wrote back into a trainer. E_MODEL_CORRUPT for another file. */
export async function restoreTrained(
  file: string,
  trainer: Trainer,
  parts: readonly TrainedPart[],
): Promise<void> {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  await writeTrained(check, await openTrained(check, file), trainer, parts);
}

/** What a file holds, without its values. Throws for a file that `saveTrained` did not write. */
async function openTrained(check: Untrusted, file: string): Promise<WeightFile> {
  const found = await readSafetensors(file);
  if (found.metadata.format !== FORMAT) throw check.error(`it is no checkpoint (${FORMAT})`);
  return found;
}

async function writeTrained(
  check: Untrusted,
  { tensors }: WeightFile,
  trainer: Trainer,
  parts: readonly TrainedPart[],
): Promise<void> {
  for (const [name, shape] of trainer.shapes) {
    for (const part of parts) {
      const stored = tensors.get(`${part}/${name}`);
      if (stored?.dtype !== "F32" || stored.shape.join() !== shape.join())
        throw check.error(`it has no tensor ${part}/${name} [${shape.join(", ")}]`);
      await trainer.write(name, await readFloats(stored), part);
    }
  }
}

/** What must be equal for a run to go on from a checkpoint, by the name of each setting. */
export type RunIdentity = Readonly<Record<string, unknown>>;

/** Writes the state of a run after its last step. */
export async function saveCheckpoint(
  folder: string,
  trainer: Trainer,
  parts: readonly TrainedPart[],
  identity: RunIdentity,
  history: History,
): Promise<void> {
  await saveTrained(checkpointFile(folder), trainer, parts, {
    identity: JSON.stringify(identity),
    history: JSON.stringify(history),
  });
}

/**
 * Restores a run from its checkpoint; undefined where there is none. Throws E_ARGUMENT, naming the first
 * setting that differs, for a checkpoint of another run.
 */
export async function restoreCheckpoint(
  folder: string,
  trainer: Trainer,
  parts: readonly TrainedPart[],
  identity: RunIdentity,
): Promise<History | undefined> {
  const file = checkpointFile(folder);
  if (!(await exists(file))) return undefined;
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const found = await openTrained(check, file);
  const { metadata } = found;
  compareIdentity(file, check.object(check.json(metadata.identity, "identity"), "identity"), identity);
  const history = historyOf(check, check.json(metadata.history, "history"));
  await writeTrained(check, found, trainer, parts);
  await trainer.setSteps(history.steps.length);
  return history;
}

function compareIdentity(file: string, found: JsonObject, wanted: RunIdentity): void {
  for (const [name, value] of Object.entries(wanted)) {
    const [before, now] = [JSON.stringify(found[name] ?? null), JSON.stringify(value ?? null)];
    if (before === now) continue;
    const message = `${file} is of a run with another ${name}: ${shown(before)}, now ${shown(now)}`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: name });
  }
}

function historyOf(check: Untrusted, value: unknown): History {
  const found = check.object(value, "history");
  const records = <T>(name: "steps" | "validations", fields: readonly (keyof T & string)[]): T[] =>
    check.array(found[name], `history.${name}`).map((record, i) => {
      const what = `history.${name}[${i}]`;
      const object = check.object(record, what);
      return Object.fromEntries(
        fields.map((field) => [field, numberOf(check, object[field], `${what}.${field}`)]),
      ) as T;
    });
  return {
    steps: records<StepRecord>("steps", ["step", "loss", "accuracy", "learningRate", "norm"]),
    validations: records<ValidationRecord>("validations", ["step", "loss", "accuracy"]),
  };
}

/** A number; null, which JSON writes for NaN, is NaN. */
const numberOf = (check: Untrusted, value: unknown, what: string): number =>
  value === null ? NaN : check.number(value, what);

/** Removes what a finished run needs no longer. */
export async function removeCheckpoint(folder: string): Promise<void> {
  await rm(checkpointFile(folder), { force: true });
  await rm(bestFile(folder), { force: true });
}
