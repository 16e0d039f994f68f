import type { FileHandle } from "node:fs/promises";
import { readExactly } from "../../util/untrusted.js";

/** A record of a zip archive, as its directory describes it. */
export interface ZipEntry {
  name: string;
  /** Where the record's local header is; its bytes follow. */
  header: number;
  bytes: number;
  storedBytes: number;
  /** 0: the bytes as they are, 8: deflated. */
  method: number;
  crc32: number;
}

const END_BYTES = 22;
const LOCATOR_BYTES = 20;
const END64_BYTES = 56;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
const MOST_COMMENT = 0xffff;
const MOST_DIRECTORY = 64 << 20;
const ZIP64 = 0xffffffff;
const ENCRYPTED = 1;

/**
 * The directory of a zip archive (PKWARE's APPNOTE.TXT 4.3), read in one piece: archives of 200,000 records
 * take a fraction of a second. Throws an Error where anything lies outside the file or two records have the
 * same name, also by case: readers do not agree on which of them counts.
 */
export async function readZipDirectory(handle: FileHandle, size: number): Promise<ZipEntry[]> {
  const place = await findDirectory(handle, size);
  if (place.offset + place.bytes > size) throw new Error("its directory lies beyond the end of the file");
  if (place.bytes > MOST_DIRECTORY)
    throw new Error(`its directory has ${place.bytes} bytes, more than ${MOST_DIRECTORY}`);
  const directory = await readExactly(handle, place.offset, place.bytes);
  const entries: ZipEntry[] = [];
  const names = new Set<string>();
  for (let at = 0, n = 0; n < place.count; n++) {
    const { entry, next } = readEntry(directory, at);
    if (entry.header + LOCAL_BYTES + entry.storedBytes > size)
      throw new Error(`${entry.name} ends beyond the end of the file`);
    const folded = entry.name.toLowerCase();
    if (names.has(folded)) throw new Error(`it has two records named ${entry.name}`);
    names.add(folded);
    entries.push(entry);
    at = next;
  }
  return entries;
}

/**
 * Where the bytes of a record begin: behind the local header, its name and extra field (PyTorch pads it to
 * align).
 */
export async function contentOffset(handle: FileHandle, entry: ZipEntry, size: number): Promise<number> {
  const local = await readExactly(handle, entry.header, LOCAL_BYTES);
  if (local.readUInt32LE(0) !== 0x04034b50) throw new Error(`${entry.name} has no local header`);
  const offset = entry.header + LOCAL_BYTES + local.readUInt16LE(26) + local.readUInt16LE(28);
  if (offset + entry.storedBytes > size) throw new Error(`${entry.name} ends beyond the end of the file`);
  return offset;
}

async function findDirectory(
  handle: FileHandle,
  size: number,
): Promise<{ offset: number; bytes: number; count: number }> {
  const start = Math.max(0, size - MOST_COMMENT - END_BYTES - LOCATOR_BYTES);
  const tail = await readExactly(handle, start, size - start);
  const end = endRecord(tail);
  const locator = end - LOCATOR_BYTES;
  if (locator < 0 || tail.readUInt32LE(locator) !== 0x07064b50) {
    return {
      count: tail.readUInt16LE(end + 10),
      bytes: tail.readUInt32LE(end + 12),
      offset: tail.readUInt32LE(end + 16),
    };
  }
  const at = number64(tail, locator + 8);
  if (at + END64_BYTES > size) throw new Error("its zip64 locator points beyond the end of the file");
  const end64 = await readExactly(handle, at, END64_BYTES);
  if (end64.readUInt32LE(0) !== 0x06064b50) throw new Error("its zip64 locator points to no end record");
  return { count: number64(end64, 32), bytes: number64(end64, 40), offset: number64(end64, 48) };
}

/** Where the end record begins: the last place with its signature whose comment ends where the file does. */
function endRecord(tail: Buffer): number {
  for (let at = tail.length - END_BYTES; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== 0x06054b50) continue;
    const comment = tail.readUInt16LE(at + 20);
    if (at + END_BYTES + comment === tail.length) return at;
  }
  throw new Error("it has no end record");
}

function readEntry(directory: Buffer, at: number): { entry: ZipEntry; next: number } {
  if (at + ENTRY_BYTES > directory.length || directory.readUInt32LE(at) !== 0x02014b50)
    throw new Error("its directory is damaged");
  const nameEnd = at + ENTRY_BYTES + directory.readUInt16LE(at + 28);
  const extraEnd = nameEnd + directory.readUInt16LE(at + 30);
  const next = extraEnd + directory.readUInt16LE(at + 32);
  if (next > directory.length) throw new Error("its directory is damaged");
  const name = directory.toString("utf8", at + ENTRY_BYTES, nameEnd);
  if (directory.readUInt16LE(at + 8) & ENCRYPTED) throw new Error(`${name} is encrypted`);
  // Each size that does not fit into 32 bits is in the zip64 field, in this order.
  const wide = zip64Field(directory.subarray(nameEnd, extraEnd));
  const size = (offset: number): number => {
    const value = directory.readUInt32LE(at + offset);
    return value === ZIP64 ? (wide.shift() ?? value) : value;
  };
  const bytes = size(24);
  const storedBytes = size(20);
  const header = size(42);
  const method = directory.readUInt16LE(at + 10);
  if (method === 0 && bytes !== storedBytes)
    throw new Error(`${name} is stored in ${storedBytes} bytes and has ${bytes}`);
  return {
    entry: { name, header, bytes, storedBytes, method, crc32: directory.readUInt32LE(at + 16) },
    next,
  };
}

function zip64Field(extra: Buffer): number[] {
  for (let at = 0; at + 4 <= extra.length;) {
    const end = at + 4 + extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === 1 && end <= extra.length) {
      return Array.from({ length: Math.floor((end - at - 4) / 8) }, (_, i) =>
        number64(extra, at + 4 + 8 * i),
      );
    }
    at = end;
  }
  return [];
}

/** A 64-bit number; what a double cannot hold is larger than any file, and stays so. */
function number64(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64LE(at));
}
