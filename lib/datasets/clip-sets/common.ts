import { readFile, stat } from "node:fs/promises";
import { cannotRead, TorchclipError } from "../../errors.js";
import type { Origin } from "../../util/origin.js";
import { readLines } from "../../util/text-file.js";
import { Dataset, type Sample, type SplitCount } from "../dataset.js";
import { splitNames } from "../formats/folder.js";
import type { DatasetOptions } from "../types.js";
import { CLIP_PROMPTS, type ClipPrompts, type ClipSetName } from "./prompts.js";

export function bad(file: string, what: string): TorchclipError {
  return new TorchclipError("E_DATASET_FORMAT", `${file}: ${what}`, { subject: file });
}

export async function bytesOf(file: string): Promise<Buffer> {
  return readFile(file).catch((cause: unknown) => {
    throw cannotRead("E_DATASET_NOT_FOUND", file, cause);
  });
}

export async function linesOf(file: string): Promise<string[]> {
  return (await readLines(file)).map((line) => line.trim());
}

const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "");

/**
 * The class names that go into prompts, after checking that the set's own list has them in the same order.
 */
export function promptClasses(own: readonly string[], prompts: ClipPrompts, file: string): string[] {
  if (own.length !== prompts.classes.length)
    throw bad(file, `${own.length} classes, ${prompts.source} has ${prompts.classes.length}`);
  for (const [i, expected] of prompts.classes.entries()) {
    const name = own[i] ?? "";
    if (plain(name) !== plain(expected))
      throw bad(file, `class ${i} is "${name}", ${prompts.source} has "${expected}"`);
  }
  return prompts.classes;
}

export const wanted = (o: DatasetOptions) => (o.split === "train" ? "train" : "test");

/** The split that is asked for, as the publishers' lists call it: "val" by any of its spellings. */
export function listSplit({ split }: DatasetOptions): string {
  if (!split) return "test";
  return splitNames(split).includes("val") ? "val" : split;
}

/** Sets of two splits: any other name is refused. */
export function checkSplit(name: string, o: DatasetOptions, splits: string[]): void {
  const { split } = o;
  if (split && !splits.some((known) => splitNames(known).includes(split)))
    throw new TorchclipError(
      "E_DATASET_NOT_FOUND",
      `${name} has no split "${split}"; it has ${splits.join(", ")}`,
      { subject: split },
    );
}

interface Made {
  split: string;
  classes: string[];
  samples: Sample[];
  source: Origin;
  splits?: readonly SplitCount[];
  notes?: readonly string[];
}

/** A set with the prompts of CLIP's evaluations of the set `prompts`, whose name it has unless another is given. */
export function make(prompts: ClipSetName, made: Made, name: string = prompts): Dataset {
  const { templates, source } = CLIP_PROMPTS[prompts];
  return new Dataset({ name, ...made, prompts: [{ templates, source }] });
}

export async function sizeOf(file: string): Promise<number> {
  const info = await stat(file).catch((cause: unknown) => {
    throw cannotRead("E_DATASET_NOT_FOUND", file, cause);
  });
  return info.size;
}
