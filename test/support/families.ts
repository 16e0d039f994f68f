import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { golden } from "./index.js";
import { noiseImage } from "./noise.js";
import { writeFamilyModel } from "./random-model.js";

/** A random model of an architecture family with its reference's results: scripts/goldens/families.py. */
export interface FamilyCase {
  name: string;
  files: Record<string, unknown>;
  shapes: [string, number[]][];
  image: number[][];
  /** The image features before the projection, not normalised. */
  pooled: number[][];
  ids: number[][];
  text: number[][];
  tokenizer: number;
}

interface Families {
  texts: string[];
  images: [number, number, number][];
  /** A tokenizer.json, a SentencePiece model in base64, or null. */
  tokenizers: (string | object | null)[];
  cases: FamilyCase[];
}

export const families = golden("families") as Families;
export const familyImages = families.images.map(([seed, w, h]) => noiseImage(seed, w, h, 3));

/** Its token ids, as encodeTokens takes them. */
export const familyTokens = (c: Pick<FamilyCase, "ids">) => ({
  data: Int32Array.from(c.ids.flat()),
  rows: c.ids.length,
  length: c.ids[0].length,
  truncated: [],
});

/** Writes a model folder as a hub would hold it, with or without its weights. */
export function writeFamilyFolder(c: FamilyCase, at: string, weights: boolean, mixed = false): string {
  mkdirSync(at);
  for (const [file, content] of Object.entries(c.files))
    writeFileSync(join(at, file), JSON.stringify(content));
  const tokenizer = families.tokenizers[c.tokenizer];
  if (tokenizer && typeof tokenizer === "object")
    writeFileSync(join(at, "tokenizer.json"), JSON.stringify(tokenizer));
  else
    writeFileSync(
      join(at, "spiece.model"),
      Buffer.from(tokenizer ?? families.tokenizers.find((t) => typeof t === "string")!, "base64"),
    );
  if (weights) writeFamilyModel(join(at, "model.safetensors"), c.shapes, mixed);
  return at;
}
