import { openFile, readExactly, shown, Untrusted } from "../../util/untrusted.js";
import { DTYPES, elements, ELEMENT_BYTES, type StoredTensor, type WeightFile } from "./types.js";

const MAX_HEADER = 100_000_000; // the limit of the reference reader (huggingface/safetensors)

/** Reads the header of a .safetensors file; every range is checked against the file and the others. */
export async function readSafetensors(file: string): Promise<WeightFile> {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const { handle, size } = await openFile(file);
  try {
    return await check.guard(async () => {
      if (size < 8) throw check.error("too short for a safetensors header");
      const length = Number((await readExactly(handle, 0, 8)).readBigUInt64LE());
      if (length > MAX_HEADER || 8 + length > size)
        throw check.error(`its header claims ${length} bytes, the file has ${size}`);
      const text = (await readExactly(handle, 8, length)).toString("utf8");
      const header = check.object(check.json(text, "its header"), "its header");
      const result: WeightFile = { format: "safetensors", tensors: new Map(), metadata: {} };
      for (const [name, entry] of Object.entries(header)) {
        if (name === "__metadata__") result.metadata = readMetadata(entry, check);
        else result.tensors.set(name, readEntry(name, entry, 8 + length, size, check));
      }
      refuseOverlaps(result.tensors, check);
      return result;
    });
  } finally {
    await handle.close();
  }
}

/** `__metadata__`: strings by name. */
function readMetadata(value: unknown, check: Untrusted): Record<string, string> {
  const entries = Object.entries(check.object(value, "__metadata__"));
  return Object.fromEntries(
    entries.map(([key, text]) => [key, check.text(text, `__metadata__.${shown(key)}`)]),
  );
}

function readEntry(name: string, value: unknown, base: number, size: number, check: Untrusted): StoredTensor {
  const what = shown(name);
  const entry = check.object(value, `the entry of ${what}`);
  const dtype = check.choice(entry.dtype, DTYPES, `the dtype of ${what}`);
  const shape = check.shape(entry.shape, `the shape of ${what}`);
  const offsets = check.array(entry.data_offsets, `data_offsets of ${what}`);
  if (offsets.length !== 2) throw check.error(`data_offsets of ${what} must be two numbers`);
  const begin = check.count(offsets[0], `data_offsets of ${what}`);
  const end = check.count(offsets[1], `data_offsets of ${what}`);
  const bytes = elements(shape) * ELEMENT_BYTES[dtype];
  if (end - begin !== bytes)
    throw check.error(`${what}: ${end - begin} bytes do not hold ${dtype} [${shape.join(", ")}]`);
  if (base + end > size) throw check.error(`${what} ends beyond the end of the file`);
  return { file: check.file, offset: base + begin, bytes, dtype, shape };
}

function refuseOverlaps(tensors: Map<string, StoredTensor>, check: Untrusted): void {
  const sorted = [...tensors].sort(([, a], [, b]) => a.offset - b.offset);
  let previous: { name: string; end: number } | undefined;
  for (const [name, tensor] of sorted) {
    if (previous && tensor.offset < previous.end)
      throw check.error(`${shown(name)} and ${shown(previous.name)} overlap`);
    previous = { name, end: tensor.offset + tensor.bytes };
  }
}
