// A zip reader and writer that lets a test lie: names, sizes, offsets and methods are written as they are
// given.
import { crc32, deflateRawSync } from "node:zlib";

export interface Entry {
  name: string;
  data: Buffer;
  deflate?: boolean;
  /** Fields of the directory that are written instead of the true ones. */
  lie?: { name?: string; bytes?: number; offset?: number; method?: number; flags?: number; crc?: number };
}

/**
 * The records of a zip without zip64, all of them stored or deflated. Deflated ones are given as they are
 * stored.
 */
export function readZip(file: Buffer): Entry[] {
  const end = file.lastIndexOf(Buffer.from("PK\u0005\u0006", "latin1"));
  const count = file.readUInt16LE(end + 10);
  const entries: Entry[] = [];
  let at = file.readUInt32LE(end + 16);
  for (let i = 0; i < count; i++) {
    const method = file.readUInt16LE(at + 10);
    const bytes = file.readUInt32LE(at + 20);
    const nameBytes = file.readUInt16LE(at + 28);
    const header = file.readUInt32LE(at + 42);
    const name = file.toString("utf8", at + 46, at + 46 + nameBytes);
    const data = header + 30 + file.readUInt16LE(header + 26) + file.readUInt16LE(header + 28);
    const lie = method === 0 ? undefined : { method, crc: file.readUInt32LE(at + 16) };
    entries.push({ name, data: file.subarray(data, data + bytes), lie });
    at += 46 + nameBytes + file.readUInt16LE(at + 30) + file.readUInt16LE(at + 32);
  }
  return entries;
}

function directoryEntry(entry: Entry, method: number, stored: Buffer, offset: number): Buffer {
  const name = Buffer.from(entry.lie?.name ?? entry.name);
  const head = Buffer.alloc(46);
  head.writeUInt32LE(0x02014b50, 0);
  head.writeUInt16LE(entry.lie?.flags ?? 0x800, 8);
  head.writeUInt16LE(entry.lie?.method ?? method, 10);
  head.writeUInt32LE(entry.lie?.crc ?? crc32(entry.data), 16);
  head.writeUInt32LE(entry.lie?.bytes ?? stored.length, 20);
  head.writeUInt32LE(entry.lie?.bytes ?? entry.data.length, 24);
  head.writeUInt16LE(name.length, 28);
  head.writeUInt32LE(entry.lie?.offset ?? offset, 42);
  return Buffer.concat([head, name]);
}

function localHeader(entry: Entry, method: number, stored: Buffer): Buffer {
  const name = Buffer.from(entry.name);
  const head = Buffer.alloc(30);
  head.writeUInt32LE(0x04034b50, 0);
  head.writeUInt16LE(0x800, 6);
  head.writeUInt16LE(entry.lie?.method ?? method, 8);
  head.writeUInt32LE(entry.lie?.crc ?? crc32(entry.data), 14);
  head.writeUInt32LE(stored.length, 18);
  head.writeUInt32LE(entry.data.length, 22);
  head.writeUInt16LE(name.length, 26);
  return Buffer.concat([head, name]);
}

export function writeZip(entries: readonly Entry[], options: { records?: number } = {}): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const stored = entry.deflate ? deflateRawSync(entry.data) : entry.data;
    const method = entry.deflate ? 8 : 0;
    const local = localHeader(entry, method, stored);
    directory.push(directoryEntry(entry, method, stored, offset));
    parts.push(local, stored);
    offset += local.length + stored.length;
  }
  const listed = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Math.min(options.records ?? entries.length, 0xffff), 8);
  end.writeUInt16LE(Math.min(options.records ?? entries.length, 0xffff), 10);
  end.writeUInt32LE(listed.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, listed, end]);
}
