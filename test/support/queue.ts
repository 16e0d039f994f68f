import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import type { RunSettings } from "../../lib/queue/run.js";
import { noise } from "./noise.js";

/** What a manifest holds, as far as tests look at it. */
export interface Manifest {
  rows: number;
  dim: number;
  failed: number;
  shards: { shard: number; first: number; rows: number; files: { name: string; bytes: number }[] }[];
}

/** A folder of `count` small images, the last one damaged, and list.jsonl with their names. */
export async function makeImages(folder: string, count: number): Promise<string> {
  mkdirSync(join(folder, "images"), { recursive: true });
  const names = Array.from({ length: count }, (_, i) => `images/${String(i).padStart(4, "0")}.png`);
  for (const [i, name] of names.entries()) {
    const data = Uint8Array.from({ length: 40 * 30 * 3 }, (_, k) => noise(i + 1, k) & 255);
    await sharp(data, { raw: { width: 40, height: 30, channels: 3 } })
      .png({ compressionLevel: 0 })
      .toFile(join(folder, name));
  }
  writeFileSync(join(folder, names[count - 1]), "no image");
  const list = join(folder, "list.jsonl");
  writeFileSync(list, names.map((path) => `${JSON.stringify({ path })}\n`).join(""));
  return list;
}

/** How the tests embed. */
export function settingsFor(model: string, format: RunSettings["format"] = "npy"): RunSettings {
  return { model, precision: "fp32", format, batchSize: 4 };
}

/** Names and rows of a .npy of `torchclip embed`. */
export function readRows(npy: Buffer, about: Buffer): { names: string[]; data: Buffer } {
  const { names } = JSON.parse(about.toString("utf8")) as { names: string[] };
  return { names, data: npy.subarray(128) };
}

/** All shards of a run in a folder, one after another, as one file has them. */
export function readRun(out: string): { manifest: Manifest; names: string[]; data: Buffer } {
  const manifest = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8")) as Manifest;
  const parts = manifest.shards.map(({ files }) => {
    const npy = join(out, files.find(({ name }) => name.endsWith(".npy"))?.name ?? "");
    return readRows(readFileSync(npy), readFileSync(`${npy}.json`));
  });
  return {
    manifest,
    names: parts.flatMap(({ names }) => names),
    data: Buffer.concat(parts.map(({ data }) => data)),
  };
}
