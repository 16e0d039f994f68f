import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TorchclipError } from "../../errors.js";
import { readJsonObject, shown, Untrusted } from "../../util/untrusted.js";
import type { WeightFile } from "./types.js";

const MAX_INDEX = 64 << 20;

export const isIndex = (file: string): boolean => file.endsWith(".index.json");

/**
 * Which file holds each tensor, as model.safetensors.index.json says. Files are named without a folder
 * (E_MODEL_UNSAFE otherwise), and none is an index itself (E_MODEL_CORRUPT): an index that names itself would
 * never end.
 */
export async function readWeightMap(file: string): Promise<Map<string, string>> {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const index = await readJsonObject(file, MAX_INDEX);
  const entries = Object.entries(check.object(index.weight_map, "weight_map"));
  return new Map(entries.map(([key, name]) => [key, shardName(name, key, check)]));
}

function shardName(value: unknown, key: string, check: Untrusted): string {
  const what = `weight_map[${JSON.stringify(shown(key))}]`;
  const name = check.text(value, what, 255);
  if (!/^[\w.-]+$/.test(name) || /^\.+$/.test(name)) {
    const place = JSON.stringify(shown(name));
    const where = `${check.file}: ${shown(key)} lies in ${place}, outside the model's folder`;
    throw new TorchclipError("E_MODEL_UNSAFE", where, { subject: check.file });
  }
  if (isIndex(name)) throw check.error(`${what} is ${name}, an index and no weight file`);
  return name;
}

/** A model in several .safetensors (or .bin) files, by its index. */
export async function readIndex(
  file: string,
  readShard: (path: string) => Promise<WeightFile>,
): Promise<WeightFile> {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const shards = new Map<string, WeightFile>();
  const result: WeightFile = { format: "safetensors", tensors: new Map(), metadata: {} };
  for (const [key, name] of await readWeightMap(file)) {
    let shard = shards.get(name);
    if (!shard) {
      const path = join(dirname(file), name);
      if (!(await stat(path).catch(() => undefined))) throw check.error(`${name} is missing`);
      shard = await readShard(path);
      shards.set(name, shard);
    }
    const tensor = shard.tensors.get(key);
    if (!tensor) throw check.error(`${name} lacks ${shown(key)}`);
    result.tensors.set(key, tensor);
  }
  return result;
}
