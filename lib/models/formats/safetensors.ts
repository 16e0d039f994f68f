import { open, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TorchclipError } from "../../errors.js";
import { elements, ELEMENT_BYTES, type WeightFile } from "./types.js";

const MAX_HEADER = 100_000_000; // the limit of the reference reader (huggingface/safetensors)

/** Reads the header of a .safetensors file; every range is checked against the file and the others. */
export async function readSafetensors(file: string): Promise<WeightFile> {
  const corrupt = (what: string) => new TorchclipError("E_MODEL_CORRUPT", `${file}: ${what}`, { subject: file });
  const { size } = await stat(file);
  const handle = await open(file);
  try {
    if (size < 8) throw corrupt("too short for a safetensors header");
    const lengthBytes = Buffer.alloc(8);
    await handle.read(lengthBytes, 0, 8, 0);
    const length = Number(lengthBytes.readBigUInt64LE());
    if (length > MAX_HEADER || 8 + length > size) throw corrupt(`its header claims ${length} bytes, the file has ${size}`);
    const text = Buffer.alloc(length);
    await handle.read(text, 0, length, 8);
    let header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
    try {
      header = JSON.parse(text.toString("utf8")) as typeof header;
    } catch (cause) {
      throw new TorchclipError("E_MODEL_CORRUPT", `${file}: its header is not JSON`, { subject: file, cause });
    }
    const base = 8 + length;
    const result: WeightFile = { format: "safetensors", tensors: new Map(), metadata: {} };
    const ranges: [number, number, string][] = [];
    for (const [name, entry] of Object.entries(header)) {
      if (name === "__metadata__") {
        result.metadata = entry as unknown as Record<string, string>;
        continue;
      }
      const { dtype, shape, data_offsets: offsets } = entry;
      const whole = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
      if (!Array.isArray(shape) || !shape.every(whole) || !Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(whole)) {
        throw corrupt(`the entry of ${name} is malformed`);
      }
      const [begin, end] = offsets;
      const bytes = elements(shape) * (ELEMENT_BYTES[dtype] ?? NaN);
      if (end - begin !== bytes) throw corrupt(`${name}: ${end - begin} bytes do not hold ${dtype} [${shape.join(", ")}]`);
      if (base + end > size) throw corrupt(`${name} ends beyond the end of the file`);
      ranges.push([begin, end, name]);
      result.tensors.set(name, { file, offset: base + begin, bytes, dtype, shape });
    }
    ranges.sort((a, b) => a[0] - b[0]);
    for (let i = 1; i < ranges.length; i++) {
      if (ranges[i][0] < ranges[i - 1][1]) throw corrupt(`${ranges[i][2]} and ${ranges[i - 1][2]} overlap`);
    }
    return result;
  } finally {
    await handle.close();
  }
}

const MAX_INDEX = 64 << 20;

/** A model in several .safetensors (or .bin) files, by its index (model.safetensors.index.json). */
export async function readIndex(file: string, readShard: (path: string) => Promise<WeightFile>): Promise<WeightFile> {
  const corrupt = (what: string, cause?: unknown) => new TorchclipError("E_MODEL_CORRUPT", `${file}: ${what}`, { subject: file, cause });
  if ((await stat(file)).size > MAX_INDEX) throw corrupt("too large for an index");
  let map: Record<string, string>;
  try {
    map = (JSON.parse(await readFile(file, "utf8")) as { weight_map: Record<string, string> }).weight_map;
    if (!map || typeof map !== "object" || !Object.values(map).every((v) => typeof v === "string")) throw new Error("no weight_map");
  } catch (cause) {
    throw corrupt(`no readable index: ${(cause as Error).message}`, cause);
  }
  const shards = new Map<string, WeightFile>();
  const result: WeightFile = { format: "safetensors", tensors: new Map(), metadata: {} };
  for (const [key, name] of Object.entries(map)) {
    if (basename(name) !== name)
      throw new TorchclipError("E_MODEL_UNSAFE", `${file}: ${key} lies in ${JSON.stringify(name)}, outside the model's folder`, { subject: file });
    let shard = shards.get(name);
    if (!shard) {
      const path = join(dirname(file), name);
      if (!(await stat(path).catch(() => undefined))) throw corrupt(`${name} is missing`);
      shards.set(name, (shard = await readShard(path)));
    }
    const tensor = shard.tensors.get(key);
    if (!tensor) throw corrupt(`${name} lacks ${key}`);
    result.tensors.set(key, tensor);
  }
  return result;
}
