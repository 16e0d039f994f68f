import { crc32 } from "node:zlib";
import tar from "tar-stream";

/** Small files of each container, with lengths and checksums right for any content. */

export interface ZipRecord {
  name: string;
  bytes: Buffer;
}

/** A tar archive. */
export async function tarOf(
  files: readonly (readonly [name: string, content: Uint8Array | string])[],
): Promise<Buffer> {
  const pack = tar.pack();
  for (const [name, content] of files) pack.entry({ name }, Buffer.from(content));
  pack.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of pack) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** A zip archive of stored records. */
export function zip(records: readonly ZipRecord[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, bytes } of records) {
    const nameBytes = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt32LE(crc32(bytes), 14);
    local.writeUInt32LE(bytes.length, 18);
    local.writeUInt32LE(bytes.length, 22);
    local.writeUInt16LE(nameBytes.length, 26);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    local.copy(entry, 16, 14, 28);
    entry.writeUInt32LE(at, 42);
    parts.push(local, nameBytes, bytes);
    directory.push(entry, nameBytes);
    at += 30 + nameBytes.length + bytes.length;
  }
  const entries = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Math.min(records.length, 0xffff), 8);
  end.writeUInt16LE(Math.min(records.length, 0xffff), 10);
  end.writeUInt32LE(entries.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([
    ...parts,
    entries,
    ...(records.length > 0xffff ? zip64End(records.length, at, entries.length) : []),
    end,
  ]);
}

function zip64End(count: number, directoryAt: number, directoryBytes: number): Buffer[] {
  const end = Buffer.alloc(56);
  end.writeUInt32LE(0x06064b50, 0);
  [44n, 0n, 0n, BigInt(count), BigInt(count), BigInt(directoryBytes), BigInt(directoryAt)].forEach((n, i) => {
    if (n) end.writeBigUInt64LE(n, [4, 0, 0, 24, 32, 40, 48][i]);
  });
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(directoryAt + directoryBytes), 8);
  locator.writeUInt32LE(1, 16);
  return [end, locator];
}

/** A PyTorch archive around a pickle. */
export const torchArchive = (pickle: Buffer, others: ZipRecord[] = []): Buffer =>
  zip([{ name: "archive/data.pkl", bytes: pickle }, ...others]);

/** A file of PyTorch before 1.6: `object` is its fourth pickle, `keys` its fifth. */
export function legacyTorch(
  object: Buffer,
  keys: Buffer = Buffer.from("\x80\x02].", "latin1"),
  storages: Buffer = Buffer.alloc(0),
): Buffer {
  const magic = Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex");
  const protocol = Buffer.from("\x80\x02M\xe9\x03.", "latin1");
  const system = Buffer.from("\x80\x02}.", "latin1");
  return Buffer.concat([magic, protocol, system, object, keys, storages]);
}

export const pickle = (...parts: (string | Buffer)[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part)));

/** BINUNICODE. */
export function pickledText(text: string): Buffer {
  const bytes = Buffer.from(text);
  const head = Buffer.alloc(5);
  head[0] = 0x58;
  head.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

export function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  for (let left = BigInt.asUintN(64, value); ; left >>= 7n) {
    bytes.push(Number(left & 0x7fn) | (left > 0x7fn ? 0x80 : 0));
    if (left <= 0x7fn) return Buffer.from(bytes);
  }
}

/** A protobuf field: a number, or bytes with their length. */
export function field(number: number, value: bigint | Buffer | string): Buffer {
  if (typeof value === "bigint") return Buffer.concat([varint(BigInt(number << 3)), varint(value)]);
  const bytes = typeof value === "string" ? Buffer.from(value) : value;
  return Buffer.concat([varint(BigInt((number << 3) | 2)), varint(BigInt(bytes.length)), bytes]);
}
