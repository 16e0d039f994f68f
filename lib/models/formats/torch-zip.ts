import { open } from "node:fs/promises";
import yauzl from "yauzl";
import { TorchclipError } from "../../errors.js";
import { ELEMENT_BYTES, elements, type WeightFile } from "./types.js";
import { namedTensors, unpickle } from "./unpickler.js";

const MAX_PICKLE = 256 << 20;

interface Record {
  /** Where the record's bytes lie in the file; PyTorch stores them without compression. */
  offset: number;
  bytes: number;
  compressed: boolean;
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
        records.set(name, { offset, bytes: entry.uncompressedSize, compressed: entry.compressionMethod !== 0 });
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
    const { storage, shape, stride, offset } = tensor;
    const size = ELEMENT_BYTES[storage.dtype];
    const count = elements(shape);
    const record = archive.range(`data/${storage.key}`);
    let step = 1;
    const packed = shape.every((_, i) => {
      const axis = shape.length - 1 - i;
      const fits = shape[axis] === 1 || stride[axis] === step;
      step *= shape[axis];
      return fits;
    });
    if (!packed) throw new TorchclipError("E_MODEL_UNSUPPORTED", `${file}: ${name} is not stored row by row`, { subject: file });
    if (!Number.isSafeInteger(count) || (offset + count) * size > record.bytes) {
      throw new TorchclipError("E_MODEL_CORRUPT", `${file}: ${name} needs ${(offset + count) * size} bytes, its storage has ${record.bytes}`, {
        subject: file,
      });
    }
    result.tensors.set(name, { file, offset: record.offset + offset * size, bytes: count * size, dtype: storage.dtype, shape });
  }
  return result;
}
