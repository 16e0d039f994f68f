import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { crc32, createInflateRaw } from "node:zlib";
import yauzl from "yauzl";
import { checkAborted, TorchclipError } from "../../errors.js";
import { ELEMENT_BYTES, elements, type StoredTensor, type WeightFile } from "./types.js";
import { namedTensors, unpickle, type PickledTensor } from "./unpickler.js";

const MAX_PICKLE = 256 << 20;

interface Record {
  /** Where the record's bytes lie in the file; PyTorch stores them without compression. */
  offset: number;
  bytes: number;
  /** libtorch deflates records of code, never tensors. */
  compressed: boolean;
  storedBytes: number;
  crc32: number;
}

const LOCATOR_BYTES = 20;
const LARGEST_TAIL = 65535 + 22 + LOCATOR_BYTES; // comment, end record, locator

/** Refuses a zip64 locator that points outside the file: yauzl would throw where nobody can catch it. */
async function checkZip64(file: string): Promise<void> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const tail = Buffer.alloc(Math.min(size, LARGEST_TAIL));
    await handle.read(tail, 0, tail.length, size - tail.length);
    for (let at = tail.indexOf("PK\x06\x07"); at >= 0 && at + LOCATOR_BYTES <= tail.length; at = tail.indexOf("PK\x06\x07", at + 1)) {
      if (tail.readBigUInt64LE(at + 8) > BigInt(size)) throw new Error("its zip64 locator points beyond the end of the file");
    }
  } finally {
    await handle.close();
  }
}

/** The records of a PyTorch archive (state dict or TorchScript), by name without the archive's own folder. */
export class TorchArchive {
  private constructor(
    readonly file: string,
    private readonly records: Map<string, Record>,
  ) {}

  static async open(file: string): Promise<TorchArchive> {
    const corrupt = (cause: unknown) =>
      new TorchclipError("E_MODEL_CORRUPT", `${file} is not a whole PyTorch archive: ${(cause as Error).message}`, { subject: file, cause });
    let zip: yauzl.ZipFile;
    try {
      await checkZip64(file);
      zip = await yauzl.openPromise(file, { autoClose: false, lazyEntries: true });
    } catch (cause) {
      throw corrupt(cause);
    }
    const handle = await open(file);
    try {
      const records = new Map<string, Record>();
      for await (const entry of zip.eachEntry()) {
        // The local header's own name and extra field (PyTorch pads it to align) come before the data.
        const local = Buffer.alloc(30);
        await handle.read(local, 0, 30, entry.relativeOffsetOfLocalHeader);
        if (local.readUInt32LE(0) !== 0x04034b50) throw new Error(`${entry.fileName} has no local header`);
        const offset = entry.relativeOffsetOfLocalHeader + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
        if (offset + entry.compressedSize > zip.fileSize) throw new Error(`${entry.fileName} ends beyond the end of the file`);
        const name = entry.fileName.slice(entry.fileName.indexOf("/") + 1);
        records.set(name, {
          offset,
          bytes: entry.uncompressedSize,
          compressed: entry.compressionMethod !== 0,
          storedBytes: entry.compressedSize,
          crc32: entry.crc32,
        });
      }
      return new TorchArchive(file, records);
    } catch (cause) {
      throw corrupt(cause);
    } finally {
      zip.close();
      await handle.close();
    }
  }

  has(name: string): boolean {
    return this.records.has(name);
  }

  /** A record's bytes. */
  async read(name: string, limit = MAX_PICKLE): Promise<Buffer> {
    const record = this.range(name);
    if (record.bytes > limit) throw new TorchclipError("E_MODEL_CORRUPT", `${this.file}: ${name} has ${record.bytes} bytes, more than ${limit}`);
    const handle = await open(this.file);
    try {
      const bytes = Buffer.alloc(record.bytes);
      await handle.read(bytes, 0, record.bytes, record.offset);
      return bytes;
    } finally {
      await handle.close();
    }
  }

  /** Reads every record and compares its CRC-32; E_MODEL_CORRUPT names the first that differs. */
  async verify(signal?: AbortSignal): Promise<void> {
    for (const [name, record] of this.records) {
      let crc = 0;
      if (record.storedBytes > 0) {
        const range = { start: record.offset, end: record.offset + record.storedBytes - 1, highWaterMark: 1 << 20, signal };
        const stored = createReadStream(this.file, range);
        const add = async (chunks: AsyncIterable<Buffer>) => {
          for await (const chunk of chunks) crc = crc32(chunk, crc);
        };
        try {
          await (record.compressed ? pipeline(stored, createInflateRaw(), add) : pipeline(stored, add));
        } catch (error) {
          checkAborted(signal);
          throw new TorchclipError("E_MODEL_CORRUPT", `${this.file}: ${name} cannot be read: ${(error as Error).message}`, {
            subject: this.file,
            cause: error,
          });
        }
      }
      if (crc !== record.crc32) throw new TorchclipError("E_MODEL_CORRUPT", `${this.file}: ${name} does not match its checksum`, { subject: this.file });
    }
  }

  range(name: string): Record {
    const record = this.records.get(name);
    if (!record) throw new TorchclipError("E_MODEL_CORRUPT", `${this.file}: the archive lacks ${name}`, { subject: this.file });
    if (record.compressed)
      throw new TorchclipError("E_MODEL_CORRUPT", `${this.file}: ${name} is compressed, which PyTorch does not write`, { subject: this.file });
    return record;
  }
}

/**
 * The weights of a `.pt`/`.bin` archive, read as data: OpenAI's TorchScript files and state dicts. The archive's code
 * is never looked at.
 */
export async function readTorchArchive(file: string): Promise<WeightFile> {
  const archive = await TorchArchive.open(file);
  const root = unpickle(await archive.read("data.pkl"), `${file}/data.pkl`);
  const result: WeightFile = {
    format: "torch",
    tensors: new Map(),
    metadata: archive.has("code/__torch__.py") || archive.has("constants.pkl") ? { torchscript: "1" } : {},
  };
  for (const [name, tensor] of namedTensors(root)) {
    const record = archive.range(`data/${tensor.storage.key}`);
    result.tensors.set(name, placeTensor(file, name, tensor, record.offset, record.bytes));
  }
  return result;
}

/** Where a pickled tensor lies in its storage, which is a range of the file. */
export function placeTensor(file: string, name: string, tensor: PickledTensor, storageOffset: number, storageBytes: number): StoredTensor {
  const { storage, shape, stride, offset } = tensor;
  const size = ELEMENT_BYTES[storage.dtype];
  const count = elements(shape);
  const whole = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  if (![...shape, ...stride, offset, count].every(whole) || shape.length !== stride.length) {
    throw new TorchclipError("E_MODEL_CORRUPT", `${file}: ${name} has a malformed shape`, { subject: file });
  }
  if ((offset + count) * size > storageBytes) {
    throw new TorchclipError("E_MODEL_CORRUPT", `${file}: ${name} needs ${(offset + count) * size} bytes, its storage has ${storageBytes}`, { subject: file });
  }
  const place = { file, offset: storageOffset + offset * size, bytes: count * size, dtype: storage.dtype };
  if (rowByRow(shape, stride)) return { ...place, shape };
  if (shape.length === 2 && rowByRow(shape.slice().reverse(), stride.slice().reverse()))
    return { ...place, shape: shape.slice().reverse(), stored: "transposed" };
  throw new TorchclipError("E_MODEL_UNSUPPORTED", `${file}: ${name} is stored neither row by row nor column by column`, { subject: file });
}

function rowByRow(shape: number[], stride: number[]): boolean {
  let step = 1;
  return shape.every((_, i) => {
    const axis = shape.length - 1 - i;
    const fits = shape[axis] === 1 || stride[axis] === step;
    step *= shape[axis];
    return fits;
  });
}
