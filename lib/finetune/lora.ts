import { addLowRank } from "../models/import/low-rank.js";
import { randomOf } from "./sampler.js";
import { loraScale } from "./parameters.js";
import type { LoraSettings } from "./recipes.js";
import type { Trainer } from "./trainer.js";

/**
 * Draws the start of adapters by the seed: A uniform in ±1/√width, B zeros, so that the model is unchanged
 * (PEFT and CLIP-LoRA: kaiming_uniform_ with a = √5).
 */
export async function startAdapters(trainer: Trainer, seed: number): Promise<void> {
  for (const [name, shape] of trainer.shapes) {
    if (!name.endsWith(".a")) continue;
    const random = randomOf(seed, name);
    const bound = 1 / Math.sqrt(shape[1]);
    const values = Float32Array.from({ length: shape[0] * shape[1] }, () => bound * (2 * random() - 1));
    await trainer.write(name, values);
  }
}

/** A matrix of the model that adapters change, and their change of it. */
export interface MergedMatrix {
  /** "visual.transformer.resblocks.0.attn.in_proj_weight" */
  name: string;
  /** Adapters with the first row of the matrix that each changes. */
  adapters: { name: string; row: number }[];
}

const PART = { q: 0, k: 1, v: 2 } as const;

/** The matrices that the trained adapters change. */
export function mergedMatrices(trainer: Trainer): MergedMatrix[] {
  const found = new Map<string, MergedMatrix>();
  for (const [name, shape] of trainer.shapes) {
    const [, attention, projection] = /^(.*)\.lora_(q|k|v|out)\.a$/.exec(name) ?? [];
    if (!projection) continue;
    const matrix = `${attention}.${projection === "out" ? "out_proj.weight" : "in_proj_weight"}`;
    const entry = found.get(matrix) ?? { name: matrix, adapters: [] };
    const row = projection === "out" ? 0 : PART[projection as keyof typeof PART] * shape[1];
    entry.adapters.push({ name: name.slice(0, -2), row });
    found.set(matrix, entry);
  }
  return [...found.values()];
}

/** Adds the adapters of a matrix to its values, in place. */
export async function addAdapters(
  values: Float32Array,
  { adapters }: MergedMatrix,
  trainer: Trainer,
  lora: LoraSettings,
): Promise<void> {
  for (const { name, row } of adapters) {
    const [a, b] = [await trainer.read(`${name}.a`), await trainer.read(`${name}.b`)];
    const { rank } = lora;
    const change = { a, b, rank, scale: loraScale(lora), row, transpose: false };
    addLowRank(values, a.length / rank, change);
  }
}
