import { latin1, viewOf } from "./plan.js";

/** A TIFF file's first directory (TIFF 6.0, section 2; BigTIFF). */
export interface Directory {
  /** The numbers of a tag, undefined where it is missing or holds none (at most 16 are read). */
  numbers(tag: number): number[] | undefined;
  /** The first of them. */
  first(tag: number): number | undefined;
  /** Place of the entries, and the bytes of one. */
  at: number;
  entrySize: number;
  entries: { tag: number; at: number }[];
  big: boolean;
  littleEndian: boolean;
}

const BYTES_OF_TYPE: Record<number, number | undefined> = { 1: 1, 3: 2, 4: 4, 16: 8 };

/**
 * Tags that a decoder needs: sizes, places, compressions and colours. Others (resolution, dates, private
 * ones) are left out of the copy, so that a bad value of theirs is no error.
 */
const PIXEL_TAGS = new Set([
  256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332,
  336, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532,
]);

/** The first directory; undefined where the file is too damaged to have one (a decoder then says so). */
export function readDirectory(bytes: Uint8Array): Directory | undefined {
  if (bytes.length < 16) return undefined;
  const view = viewOf(bytes);
  const littleEndian = latin1(bytes, 0, 2) === "II";
  const big = view.getUint16(2, littleEndian) === 43;
  const wide = (at: number) =>
    big ? Number(view.getBigUint64(at, littleEndian)) : view.getUint32(at, littleEndian);
  const start = wide(big ? 8 : 4);
  const countSize = big ? 8 : 2;
  if (start + countSize > bytes.length) return undefined;
  const count = big ? wide(start) : view.getUint16(start, littleEndian);
  const entrySize = big ? 20 : 12;
  const at = start + countSize;
  if (count < 1 || at + count * entrySize + (big ? 8 : 4) > bytes.length) return undefined;
  const entries = Array.from({ length: count }, (_, i) => ({
    tag: view.getUint16(at + i * entrySize, littleEndian),
    at: at + i * entrySize,
  }));

  const numbers = (tag: number): number[] | undefined => {
    const entry = entries.find((e) => e.tag === tag);
    if (!entry) return undefined;
    const size = BYTES_OF_TYPE[view.getUint16(entry.at + 2, littleEndian)];
    const length = wide(entry.at + 4);
    const field = entry.at + (big ? 12 : 8);
    if (size === undefined || length < 1) return undefined;
    const from = size * length <= (big ? 8 : 4) ? field : wide(field);
    if (from + size * length > bytes.length) return undefined;
    return Array.from({ length: Math.min(length, 16) }, (_, i) =>
      numberAt(view, from + i * size, size, littleEndian),
    );
  };
  return { numbers, first: (tag) => numbers(tag)?.[0], at, entrySize, entries, big, littleEndian };
}

function numberAt(view: DataView, at: number, size: number, littleEndian: boolean): number {
  if (size === 1) return view.getUint8(at);
  if (size === 2) return view.getUint16(at, littleEndian);
  if (size === 4) return view.getUint32(at, littleEndian);
  return Number(view.getBigUint64(at, littleEndian));
}

/**
 * A copy of the file with the first page alone, its pixel tags alone, and `changes` to the first value of
 * some of them.
 */
export function rewritten(
  bytes: Uint8Array,
  directory: Directory,
  changes: ReadonlyMap<number, number>,
): Uint8Array {
  const { at, entrySize, big, littleEndian } = directory;
  const copy = bytes.slice();
  const view = viewOf(copy);
  const kept = directory.entries.filter((entry) => PIXEL_TAGS.has(entry.tag));
  kept.forEach((entry, i) => {
    copy.set(bytes.subarray(entry.at, entry.at + entrySize), at + i * entrySize);
    const value = changes.get(entry.tag);
    if (value !== undefined) setValue(view, at + i * entrySize, value, directory);
  });
  const behind = at + kept.length * entrySize;
  if (big) view.setBigUint64(at - 8, BigInt(kept.length), littleEndian);
  else view.setUint16(at - 2, kept.length, littleEndian);
  copy.fill(0, behind, behind + (big ? 8 : 4)); // no further page
  return copy;
}

/** Makes an entry one SHORT: the value lies in the entry itself then. */
function setValue(view: DataView, at: number, value: number, { big, littleEndian }: Directory): void {
  view.setUint16(at + 2, 3, littleEndian);
  if (big) view.setBigUint64(at + 4, 1n, littleEndian);
  else view.setUint32(at + 4, 1, littleEndian);
  const field = at + (big ? 12 : 8);
  view.setUint32(field, 0);
  view.setUint16(field, value, littleEndian);
}
