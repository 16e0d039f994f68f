import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { crc32, createInflateRaw } from "node:zlib";
import { checkAborted, TorchclipError } from "../../errors.js";
import { openFile, readExactly, shown, Untrusted } from "../../util/untrusted.js";
import { Budget } from "./budget.js";
import { namedTensors, type PickledTensor } from "./pickled.js";
import { ELEMENT_BYTES, elements, type StoredTensor, type WeightFile } from "./types.js";
import { unpickle } from "./unpickler.js";
import { contentOffset, readZipDirectory, type ZipEntry } from "./zip-directory.js";

/** The pickles of the largest published checkpoints have less than 4 MB. */
const MAX_PICKLE = 64 << 20;

/** Where a record's bytes lie in the file; PyTorch stores tensors without compression. */
export interface RecordRange {
  offset: number;
  bytes: number;
}

/** The records of a PyTorch archive (state dict or TorchScript), by name without the archive's own folder. */
export class TorchArchive {
  private readonly check: Untrusted;

  private constructor(
    readonly file: string,
    private readonly records: Map<string, ZipEntry>,
  ) {
    this.check = new Untrusted("E_MODEL_CORRUPT", file);
  }

  static async open(file: string): Promise<TorchArchive> {
    const { handle, size } = await openFile(file);
    try {
      const records = new Map<string, ZipEntry>();
      for (const entry of await readZipDirectory(handle, size)) {
        const name = entry.name.slice(entry.name.indexOf("/") + 1);
        if (records.has(name)) throw new Error(`it has two records named ${shown(name)}`);
        records.set(name, entry);
      }
      return new TorchArchive(file, records);
    } catch (cause) {
      const why = shown((cause as Error).message);
      throw new TorchclipError("E_MODEL_CORRUPT", `${file} is not a whole PyTorch archive: ${why}`, {
        subject: file,
        cause,
      });
    } finally {
      await handle.close();
    }
  }

  has(name: string): boolean {
    return this.records.has(name);
  }

  /** A record's bytes. */
  async read(name: string, limit = MAX_PICKLE): Promise<Buffer> {
    const { bytes } = this.stored(name);
    if (bytes > limit) throw this.check.error(`${shown(name)} has ${bytes} bytes, more than ${limit}`);
    const { handle, size } = await openFile(this.file);
    try {
      return await this.check.guard(async () =>
        readExactly(handle, await contentOffset(handle, this.stored(name), size), bytes),
      );
    } finally {
      await handle.close();
    }
  }

  /** Where records lie, by name. */
  async ranges(names: Iterable<string>): Promise<Map<string, RecordRange>> {
    const found = new Map<string, RecordRange>();
    const { handle, size } = await openFile(this.file);
    try {
      for (const name of names) {
        const entry = this.stored(name);
        const offset = await this.check.guard(() => contentOffset(handle, entry, size));
        found.set(name, { offset, bytes: entry.bytes });
      }
    } finally {
      await handle.close();
    }
    return found;
  }

  /** Reads every record and compares its CRC-32; E_MODEL_CORRUPT names the first that differs. */
  async verify(signal?: AbortSignal): Promise<void> {
    const { handle, size } = await openFile(this.file);
    try {
      for (const [name, entry] of this.records) {
        const offset = await this.check.guard(() => contentOffset(handle, entry, size));
        const crc = entry.storedBytes > 0 ? await this.checksum(name, entry, offset, signal) : 0;
        if (crc !== entry.crc32) throw this.check.error(`${shown(name)} does not match its checksum`);
      }
    } finally {
      await handle.close();
    }
  }

  private async checksum(
    name: string,
    entry: ZipEntry,
    offset: number,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    let crc = 0;
    const stored = createReadStream(this.file, {
      start: offset,
      end: offset + entry.storedBytes - 1,
      highWaterMark: 1 << 20,
      signal,
    });
    const add = async (chunks: AsyncIterable<Buffer>) => {
      let bytes = 0;
      for await (const chunk of chunks) {
        crc = crc32(chunk, crc);
        bytes += chunk.length;
        if (bytes > entry.bytes) throw new Error(`it has more than its ${entry.bytes} bytes`);
      }
    };
    try {
      await (entry.method !== 0 ? pipeline(stored, createInflateRaw(), add) : pipeline(stored, add));
    } catch (error) {
      checkAborted(signal);
      throw this.check.error(`${shown(name)} cannot be read: ${(error as Error).message}`, error);
    }
    return crc;
  }

  private stored(name: string): ZipEntry {
    const entry = this.records.get(name);
    if (!entry) throw this.check.error(`the archive lacks ${shown(name)}`);
    if (entry.method !== 0)
      throw this.check.error(`${shown(name)} is compressed, which PyTorch does not write`);
    return entry;
  }
}

/**
 * The weights of a `.pt`/`.bin` archive, read as data: OpenAI's TorchScript files and state dicts. The
 * archive's code is never looked at.
 */
export async function readTorchArchive(file: string): Promise<WeightFile> {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const archive = await TorchArchive.open(file);
  const pickle = await archive.read("data.pkl");
  const budget = new Budget(pickle.length, (why) => check.error(why));
  const tensors = namedTensors(unpickle(pickle, `${file}/data.pkl`, budget), budget, (why) =>
    check.error(why),
  );
  const ranges = await archive.ranges(new Set([...tensors.values()].map((tensor) => recordOf(tensor))));
  const result: WeightFile = {
    format: "torch",
    tensors: new Map(),
    metadata: archive.has("code/__torch__.py") || archive.has("constants.pkl") ? { torchscript: "1" } : {},
  };
  for (const [name, tensor] of tensors) {
    const range = ranges.get(recordOf(tensor));
    if (!range) throw check.error(`the archive lacks ${shown(recordOf(tensor))}`);
    result.tensors.set(name, placeTensor(file, name, tensor, range));
  }
  return result;
}

const recordOf = (tensor: PickledTensor): string => `data/${tensor.storage.key}`;

/** Where a pickled tensor lies in its storage, which is a range of the file. */
export function placeTensor(
  file: string,
  name: string,
  tensor: PickledTensor,
  range: RecordRange,
): StoredTensor {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const { storage, shape, stride, offset } = tensor;
  const size = ELEMENT_BYTES[storage.dtype];
  const count = elements(shape);
  const end = (offset + count) * size;
  if (end > range.bytes)
    throw check.error(`${shown(name)} needs ${end} bytes, its storage has ${range.bytes}`);
  const place = { file, offset: range.offset + offset * size, bytes: count * size, dtype: storage.dtype };
  if (rowByRow(shape, stride)) return { ...place, shape };
  if (shape.length === 2 && rowByRow(shape.toReversed(), stride.toReversed()))
    return { ...place, shape: shape.toReversed(), stored: "transposed" };
  throw new TorchclipError(
    "E_MODEL_UNSUPPORTED",
    `${file}: ${shown(name)} is stored neither row by row nor column by column`,
    { subject: file },
  );
}

function rowByRow(shape: number[], stride: number[]): boolean {
  const strides = stride.toReversed();
  let step = 1;
  for (const [i, size] of shape.toReversed().entries()) {
    if (size !== 1 && strides[i] !== step) return false;
    step *= size;
  }
  return true;
}
