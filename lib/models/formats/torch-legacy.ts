import type { FileHandle } from "node:fs/promises";
import { openFile, readExactly, shown, Untrusted } from "../../util/untrusted.js";
import { Budget } from "./budget.js";
import { namedTensors, type PickledStorage, type PickledTensor } from "./pickled.js";
import { placeTensor, type RecordRange } from "./torch-zip.js";
import { ELEMENT_BYTES, type WeightFile } from "./types.js";
import { unpickleFirst } from "./unpickler.js";

const MAGIC = Number(0x1950a86a20f9469cfc6cn); // torch/serialization.py
const MOST_PICKLE = 64 << 20;

/** Whether a file starts as torch.save wrote it before PyTorch 1.6: a pickle of a magic number. */
export function isLegacyTorch(head: Buffer): boolean {
  return head.length >= 15 && head[0] === 0x80 && head[2] === 0x8a && head[3] === 10;
}

/**
 * A state dict in PyTorch's format before 1.6: four pickles (magic number, protocol, system, object), then a
 * pickle of the storages' keys, then each storage: its number of elements in 8 bytes, and its bytes.
 */
export async function readLegacyTorch(file: string): Promise<WeightFile> {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const { handle, size } = await openFile(file);
  try {
    return await check.guard(async () => {
      const head = await readExactly(handle, 0, Math.min(size, MOST_PICKLE));
      const { tensors, keys, end } = readPickles(head, file, check);
      const places = await placeStorages(handle, size, end, keys, tensors, check);
      const result: WeightFile = { format: "torch", tensors: new Map(), metadata: {} };
      for (const [name, tensor] of tensors) {
        const place = places.get(tensor.storage.key);
        if (!place)
          throw check.error(
            `${shown(name)} lies in storage ${shown(tensor.storage.key)}, which is not in the file`,
          );
        result.tensors.set(name, placeTensor(file, name, tensor, place));
      }
      return result;
    });
  } finally {
    await handle.close();
  }
}

/** The five pickles: the tensors, the keys of the storages, and where the first storage begins. */
function readPickles(
  head: Buffer,
  file: string,
  check: Untrusted,
): { tensors: Map<string, PickledTensor>; keys: string[]; end: number } {
  let end = 0;
  const budget = new Budget(head.length, (why) => check.error(why));
  const next = (what: string): unknown => {
    const { value, length } = unpickleFirst(head.subarray(end), `${file} (${what})`, budget);
    end += length;
    return value;
  };
  if (next("magic number") !== MAGIC) throw check.error("its magic number is not PyTorch's");
  next("protocol");
  next("system");
  const root = next("object");
  const keys = check
    .array(next("storages"), "its list of storages")
    .map((key) => check.text(key, "the key of a storage"));
  return { tensors: namedTensors(root, budget, (why) => check.error(why)), keys, end };
}

async function placeStorages(
  handle: FileHandle,
  size: number,
  start: number,
  keys: string[],
  tensors: Map<string, PickledTensor>,
  check: Untrusted,
): Promise<Map<string, RecordRange>> {
  const storages = new Map<string, PickledStorage>();
  for (const { storage } of tensors.values()) storages.set(storage.key, storage);
  const places = new Map<string, RecordRange>();
  let at = start;
  for (const key of keys) {
    const storage = storages.get(key);
    if (!storage) throw check.error(`storage ${shown(key)} belongs to no tensor that was read`);
    if (at + 8 > size) throw check.error(`it ends before storage ${shown(key)}`);
    const count = (await readExactly(handle, at, 8)).readBigUInt64LE();
    const bytes = Number(count) * ELEMENT_BYTES[storage.dtype];
    at += 8;
    if (!Number.isSafeInteger(bytes) || at + bytes > size)
      throw check.error(`it ends within storage ${shown(key)}`);
    places.set(key, { offset: at, bytes });
    at += bytes;
  }
  return places;
}
