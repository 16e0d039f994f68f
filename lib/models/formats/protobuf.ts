import { open, type FileHandle } from "node:fs/promises";

/** One field of a protobuf message: where it lies in the file. Nothing but its tag and length has been read. */
export interface Field {
  number: number;
  /** 0 varint, 1 eight bytes, 2 bytes with a length, 5 four bytes. */
  wire: number;
  /** Of wire type 0. */
  value: bigint;
  /** Range of the content, for the other types. */
  offset: number;
  bytes: number;
}

/**
 * Walks protobuf messages in a file without reading the long ones: an ONNX file's weights stay on disk. Only the wire
 * format is known here (protobuf.dev/programming-guides/encoding); the numbers of fields are the caller's.
 */
export class ProtobufFile {
  private block = Buffer.alloc(0);
  private blockAt = 0;

  private constructor(
    readonly file: string,
    private readonly handle: FileHandle,
    readonly size: number,
  ) {}

  static async open(file: string): Promise<ProtobufFile> {
    const handle = await open(file);
    return new ProtobufFile(file, handle, (await handle.stat()).size);
  }

  close(): Promise<void> {
    return this.handle.close();
  }

  /** The fields of the message in a range. Throws where lengths do not fit. */
  async *fields(offset: number, bytes: number): AsyncGenerator<Field> {
    const end = offset + bytes;
    let at = offset;
    while (at < end) {
      let tag: bigint;
      [tag, at] = await this.varint(at, end);
      const field: Field = { number: Number(tag >> 3n), wire: Number(tag & 7n), value: 0n, offset: at, bytes: 0 };
      if (field.wire === 0) [field.value, at] = await this.varint(at, end);
      else if (field.wire === 1) field.bytes = 8;
      else if (field.wire === 5) field.bytes = 4;
      else if (field.wire === 2) {
        let length: bigint;
        [length, at] = await this.varint(at, end);
        field.offset = at;
        field.bytes = Number(length);
      } else throw new Error(`wire type ${field.wire} at byte ${at}`);
      if (field.wire !== 0) at += field.bytes;
      if (field.number === 0 || at > end) throw new Error(`a field at byte ${field.offset} ends beyond its message`);
      yield field;
    }
  }

  async read(field: { offset: number; bytes: number }): Promise<Buffer> {
    const result = Buffer.alloc(field.bytes);
    await this.handle.read(result, 0, field.bytes, field.offset);
    return result;
  }

  async text(field: Field): Promise<string> {
    if (field.bytes > 1 << 20) throw new Error(`a string of ${field.bytes} bytes at byte ${field.offset}`);
    return (await this.slice(field.offset, field.bytes)).toString("utf8");
  }

  /** Whole numbers of a repeated field, packed or single. */
  async numbers(field: Field): Promise<number[]> {
    if (field.wire === 0) return [Number(field.value)];
    const result: number[] = [];
    for (let at = field.offset; at < field.offset + field.bytes;) {
      let value: bigint;
      [value, at] = await this.varint(at, field.offset + field.bytes);
      result.push(Number(value));
    }
    return result;
  }

  private async varint(at: number, end: number): Promise<[bigint, number]> {
    const bytes = await this.slice(at, Math.min(10, end - at));
    let value = 0n;
    for (let i = 0; i < bytes.length; i++) {
      value |= BigInt(bytes[i] & 0x7f) << BigInt(7 * i);
      if (!(bytes[i] & 0x80)) return [BigInt.asUintN(64, value), at + i + 1];
    }
    throw new Error(`a number at byte ${at} has no end`);
  }

  /** A few bytes, from a block that is read ahead. */
  private async slice(at: number, bytes: number): Promise<Buffer> {
    if (at + bytes > this.size) throw new Error(`byte ${at + bytes} is beyond the end of the file`);
    if (at < this.blockAt || at + bytes > this.blockAt + this.block.length) {
      this.block = Buffer.alloc(Math.min(Math.max(bytes, 65536), this.size - at));
      this.blockAt = at;
      await this.handle.read(this.block, 0, this.block.length, at);
    }
    return this.block.subarray(at - this.blockAt, at - this.blockAt + bytes);
  }
}
