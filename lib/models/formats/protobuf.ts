import type { FileHandle } from "node:fs/promises";
import { openFile, readExactly } from "../../util/untrusted.js";
import { Budget, SLOT_BYTES, STRING_BYTES } from "./budget.js";

/** Names in published files have less than 300 bytes. */
const MOST_TEXT = 4096;
/** A tensor has no more axes than this. */
const MOST_NUMBERS = 64;
/** A SentencePiece model's character map has 240 kB. */
const MOST_READ = 16 << 20;

/**
 * One field of a protobuf message: where it lies in the file. Nothing but its tag and length has been read.
 */
export interface Field {
  number: number;
  /** 0 varint, 1 eight bytes, 2 bytes with a length, 5 four bytes. */
  wire: number;
  /** Of wire type 0. */
  value: bigint;
  /** Range of the content, for the other types; of wire type 0 `offset` is the end of the field. */
  offset: number;
  bytes: number;
}

/**
 * Walks protobuf messages in a file without reading the long ones: an ONNX file's weights stay on disk. Only
 * the wire format is known here (protobuf.dev/programming-guides/encoding); the numbers of fields are the
 * caller's. What the caller keeps is paid from `budget`.
 */
export class ProtobufFile {
  private block: Buffer = Buffer.alloc(0);
  private blockAt = 0;
  readonly budget: Budget;

  private constructor(
    readonly file: string,
    private readonly handle: FileHandle,
    readonly size: number,
  ) {
    this.budget = new Budget(size, (why) => new Error(why));
  }

  static async open(file: string): Promise<ProtobufFile> {
    const { handle, size } = await openFile(file);
    return new ProtobufFile(file, handle, size);
  }

  close(): Promise<void> {
    return this.handle.close();
  }

  /** The fields of the message in a range. Throws where lengths do not fit. */
  async *fields(offset: number, bytes: number): AsyncGenerator<Field> {
    const end = offset + bytes;
    let at = offset;
    while (at < end) {
      const field = await this.fieldAt(at, end);
      // The value of a varint lies before `offset`.
      at = field.offset + field.bytes;
      if (field.number === 0 || at > end)
        throw new Error(`a field at byte ${field.offset} ends beyond its message`);
      yield field;
    }
  }

  /** The field whose tag is at a place; its content may reach beyond `end`. */
  private async fieldAt(at: number, end: number): Promise<Field> {
    const [tag, offset] = await this.varint(at, end);
    const field: Field = { number: Number(tag >> 3n), wire: Number(tag & 7n), value: 0n, offset, bytes: 0 };
    switch (field.wire) {
      case 0:
        [field.value, field.offset] = await this.varint(offset, end);
        return field;
      case 1:
        return { ...field, bytes: 8 };
      case 2: {
        const [length, content] = await this.varint(offset, end);
        return { ...field, offset: content, bytes: Number(length) };
      }
      case 5:
        return { ...field, bytes: 4 };
      default:
        throw new Error(`wire type ${field.wire} at byte ${offset}`);
    }
  }

  async read(field: { offset: number; bytes: number }): Promise<Buffer> {
    if (field.bytes > MOST_READ) throw new Error(`a field of ${field.bytes} bytes at byte ${field.offset}`);
    return readExactly(this.handle, field.offset, field.bytes);
  }

  async text(field: Field): Promise<string> {
    if (field.bytes > MOST_TEXT) throw new Error(`a string of ${field.bytes} bytes at byte ${field.offset}`);
    this.budget.take(SLOT_BYTES + STRING_BYTES + field.bytes);
    return (await this.slice(field.offset, field.bytes)).toString("utf8");
  }

  /** Whole numbers of a repeated field, packed or single, at most 64. */
  async numbers(field: Field): Promise<number[]> {
    if (field.wire === 0) return [Number(field.value)];
    const result: number[] = [];
    for (let at = field.offset; at < field.offset + field.bytes;) {
      let value: bigint;
      [value, at] = await this.varint(at, field.offset + field.bytes);
      result.push(Number(value));
      if (result.length > MOST_NUMBERS)
        throw new Error(`more than ${MOST_NUMBERS} numbers at byte ${field.offset}`);
    }
    return result;
  }

  private async varint(at: number, end: number): Promise<[bigint, number]> {
    const bytes = await this.slice(at, Math.min(10, end - at));
    let value = 0n;
    for (const [i, byte] of bytes.entries()) {
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (!(byte & 0x80)) return [BigInt.asUintN(64, value), at + i + 1];
    }
    throw new Error(`a number at byte ${at} has no end`);
  }

  /** A few bytes, from a block that is read ahead. */
  private async slice(at: number, bytes: number): Promise<Buffer> {
    if (at + bytes > this.size) throw new Error(`byte ${at + bytes} is beyond the end of the file`);
    if (at < this.blockAt || at + bytes > this.blockAt + this.block.length) {
      this.block = await readExactly(this.handle, at, Math.min(Math.max(bytes, 65536), this.size - at));
      this.blockAt = at;
    }
    return this.block.subarray(at - this.blockAt, at - this.blockAt + bytes);
  }
}
