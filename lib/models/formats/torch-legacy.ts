import { open } from "node:fs/promises";
import { TorchclipError } from "../../errors.js";
import { placeTensor } from "./torch-zip.js";
import { ELEMENT_BYTES, type WeightFile } from "./types.js";
import { namedTensors, unpickleFirst, type PickledStorage } from "./unpickler.js";

const MAGIC = Number(0x1950a86a20f9469cfc6cn); // torch/serialization.py
const MOST_PICKLE = 64 << 20;

/** Whether a file starts as torch.save wrote it before PyTorch 1.6: a pickle of a magic number. */
export function isLegacyTorch(head: Buffer): boolean {
  return head.length >= 15 && head[0] === 0x80 && head[2] === 0x8a && head[3] === 10;
}

/**
 * A state dict in PyTorch's format before 1.6: four pickles (magic number, protocol, system, object), then a pickle of
 * the storages' keys, then each storage: its number of elements in 8 bytes, and its bytes.
 */
export async function readLegacyTorch(file: string): Promise<WeightFile> {
  const corrupt = (what: string) => new TorchclipError("E_MODEL_CORRUPT", `${file}: ${what}`, { subject: file });
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const head = Buffer.alloc(Math.min(size, MOST_PICKLE));
    await handle.read(head, 0, head.length, 0);
    let at = 0;
    const next = (what: string): unknown => {
      const { value, length } = unpickleFirst(head.subarray(at), `${file} (${what})`);
      at += length;
      return value;
    };
    if (next("magic number") !== MAGIC) throw corrupt("its magic number is not PyTorch's");
    next("protocol");
    next("system");
    const root = next("object");
    const keys = next("storages");
    if (!Array.isArray(keys) || !keys.every((k) => typeof k === "string")) throw corrupt("its list of storages is malformed");

    const tensors = namedTensors(root);
    const storages = new Map<string, PickledStorage>();
    for (const { storage } of tensors.values()) storages.set(storage.key, storage);
    const places = new Map<string, { offset: number; bytes: number }>();
    for (const key of keys) {
      const storage = storages.get(key);
      if (!storage) throw corrupt(`storage ${key} belongs to no tensor that was read`);
      if (at + 8 > size) throw corrupt(`it ends before storage ${key}`);
      const count = Buffer.alloc(8);
      await handle.read(count, 0, 8, at);
      const bytes = Number(count.readBigUInt64LE()) * ELEMENT_BYTES[storage.dtype];
      at += 8;
      if (!Number.isSafeInteger(bytes) || at + bytes > size) throw corrupt(`it ends within storage ${key}`);
      places.set(key, { offset: at, bytes });
      at += bytes;
    }
    const result: WeightFile = { format: "torch", tensors: new Map(), metadata: {} };
    for (const [name, tensor] of tensors) {
      const place = places.get(tensor.storage.key);
      if (!place) throw corrupt(`${name} lies in storage ${tensor.storage.key}, which is not in the file`);
      result.tensors.set(name, placeTensor(file, name, tensor, place.offset, place.bytes));
    }
    return result;
  } finally {
    await handle.close();
  }
}
