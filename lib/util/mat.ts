import { inflateSync } from "node:zlib";
import { shown } from "./untrusted.js";

/**
 * What data sets keep in MATLAB 5 MAT-files ("MAT-File Format", The MathWorks), compressed or not: real matrices of
 * any numeric type, matrices of bytes as bytes, lists of text, lists of records. The one package that reads such
 * files is licensed under the GPL.
 */

const MATRIX = 14;
const COMPRESSED = 15;
const MOST_VALUES = 1 << 22; // of all variables together; the largest file that is read has 8,189
const MOST_BYTES = 8 * MOST_VALUES; // of one variable, unpacked

type Read = (b: Buffer, at: number, little: boolean) => number;
const TYPES: Record<number, { bytes: number; read: Read } | undefined> = {
  1: { bytes: 1, read: (b, i) => b.readInt8(i) },
  2: { bytes: 1, read: (b, i) => b.readUInt8(i) },
  3: { bytes: 2, read: (b, i, l) => (l ? b.readInt16LE(i) : b.readInt16BE(i)) },
  4: { bytes: 2, read: (b, i, l) => (l ? b.readUInt16LE(i) : b.readUInt16BE(i)) },
  5: { bytes: 4, read: (b, i, l) => (l ? b.readInt32LE(i) : b.readInt32BE(i)) },
  6: { bytes: 4, read: (b, i, l) => (l ? b.readUInt32LE(i) : b.readUInt32BE(i)) },
  7: { bytes: 4, read: (b, i, l) => (l ? b.readFloatLE(i) : b.readFloatBE(i)) },
  9: { bytes: 8, read: (b, i, l) => (l ? b.readDoubleLE(i) : b.readDoubleBE(i)) },
};

interface Element {
  type: number;
  data: Buffer;
  /** Where the next one begins. */
  next: number;
}

interface Found {
  variables: Map<string, number[]>;
  /** How many more values may follow. */
  left: number;
}

/**
 * All numeric variables by their names, in MATLAB's order (columns first). Throws where the file is damaged.
 */
export function readMat(file: Buffer): Map<string, number[]> {
  const found: Found = { variables: new Map(), left: MOST_VALUES };
  for (const { matrix, little } of matrices(file, MOST_BYTES)) readMatrix(matrix, little, found);
  return found.variables;
}

/** A matrix of bytes, in MATLAB's order: the first size runs fastest. */
export interface MatBytes {
  sizes: number[];
  data: Buffer;
}

/**
 * All variables of unsigned bytes by their names. `most`: bytes that are unpacked for a variable. Throws where the
 * file is damaged.
 */
export function readMatBytes(file: Buffer, most: number): Map<string, MatBytes> {
  const found = new Map<string, MatBytes>();
  for (const { matrix, little } of matrices(file, most)) {
    const { kind, name, sizes, next } = headOf(matrix, little);
    if (kind !== KIND.uint8) continue;
    const values = elementAt(matrix, next, little, true);
    const count = sizes.reduce((a, b) => a * b, 1);
    if (values.type !== 2 || values.data.length !== count)
      throw new Error(`${shown(name)} has ${values.data.length} bytes for ${sizes.join(" × ")}`);
    found.set(name, { sizes, data: values.data });
  }
  return found;
}

/** A matrix by its kind and name, and where its values begin; undefined where the file has none. */
function matrixNamed(file: Buffer, name: string, kind: number) {
  for (const { matrix, little } of matrices(file, MOST_BYTES)) {
    const head = headOf(matrix, little);
    if (head.name === name && head.kind === kind) return { matrix, little, start: head.next };
  }
  return undefined;
}

/** The texts of a cell array; undefined where the file has none of this name. Throws where it is damaged. */
export function readMatTexts(file: Buffer, name: string): string[] | undefined {
  const found = matrixNamed(file, name, KIND.cell);
  if (!found) return undefined;
  const { matrix, little, start } = found;
  const texts: string[] = [];
  for (let at = start; at < matrix.length;) {
    const element = elementAt(matrix, at, little, true);
    texts.push(String(valueOf(element.data, little)));
    at = element.next;
  }
  return texts;
}

/** A record of a struct array: its fields that are text or one number. */
export type MatRecord = Record<string, string | number | undefined>;

/** The records of a struct array; undefined where the file has none of this name. Throws where it is damaged. */
export function readMatRecords(file: Buffer, name: string): MatRecord[] | undefined {
  const found = matrixNamed(file, name, KIND.struct);
  if (!found) return undefined;
  const { matrix, little, start } = found;
  const { fields, next } = fieldsOf(matrix, start, little);
  const records: MatRecord[] = [];
  for (let at = next; at < matrix.length;) {
    const record: MatRecord = {};
    for (const field of fields) {
      const element = elementAt(matrix, at, little, true);
      record[field] = valueOf(element.data, little);
      at = element.next;
    }
    records.push(record);
  }
  return records;
}

/** MATLAB's names have at most 63 characters; the files that are read here have few fields. */
const MOST_NAME = 64;
const MOST_NAMES = 64 << 10;

/** Names of the fields of a struct array: of one length, filled up with zeros. */
function fieldsOf(matrix: Buffer, at: number, little: boolean): { fields: string[]; next: number } {
  const length = elementAt(matrix, at, little, true);
  const names = elementAt(matrix, length.next, little, true);
  const size = little ? length.data.readInt32LE(0) : length.data.readInt32BE(0);
  const isOfNames = size >= 1 && size <= MOST_NAME && names.data.length % size === 0;
  if (!isOfNames || names.data.length === 0 || names.data.length > MOST_NAMES)
    throw new Error("the names of a struct's fields are damaged");
  const fields = Array.from({ length: names.data.length / size }, (_, i) =>
    names.data.toString("latin1", i * size, (i + 1) * size).replace(/\0.*$/s, ""),
  );
  return { fields, next: names.next };
}

/** A matrix that is text or one number. */
function valueOf(matrix: Buffer, little: boolean): string | number | undefined {
  if (matrix.length === 0) return undefined;
  const head = headOf(matrix, little);
  if (head.kind < KIND.char || head.next >= matrix.length) return undefined;
  const { type, data } = elementAt(matrix, head.next, little, true);
  if (head.kind === KIND.char) return type === 4 ? utf16(data, little) : data.toString("utf8");
  const known = TYPES[type];
  return known?.bytes === data.length ? known.read(data, 0, little) : undefined;
}

function utf16(data: Buffer, little: boolean): string {
  return (little ? data : Buffer.from(data).swap16()).toString("utf16le");
}

/** The matrices of a file, unpacked to at most `most` bytes each. */
function* matrices(file: Buffer, most: number): Generator<{ matrix: Buffer; little: boolean }> {
  const order = file.toString("latin1", 126, 128);
  if (file.length < 128 || (order !== "IM" && order !== "MI")) throw new Error("it is no MATLAB 5 file");
  const little = order === "IM";
  for (let at = 128; at < file.length;) {
    const element = elementAt(file, at, little, false);
    const matrix =
      element.type === COMPRESSED
        ? elementAt(inflateSync(element.data, { maxOutputLength: most }), 0, little, true)
        : element;
    if (matrix.type === MATRIX) yield { matrix: matrix.data, little };
    at = element.next;
  }
}

/** Kinds of matrices. */
const KIND = { cell: 1, struct: 2, char: 4, uint8: 9 };

/** What every matrix begins with. */
interface Head {
  kind: number;
  sizes: number[];
  name: string;
  /** Where its values begin. */
  next: number;
}

function headOf(b: Buffer, little: boolean): Head {
  const flags = elementAt(b, 0, little, true);
  const sizes = elementAt(b, flags.next, little, true);
  const name = elementAt(b, sizes.next, little, true);
  const word = (data: Buffer, i: number) => (little ? data.readInt32LE(i) : data.readInt32BE(i));
  return {
    kind: word(flags.data, 0) & 0xff,
    sizes: Array.from({ length: sizes.data.length >> 2 }, (_, i) => word(sizes.data, 4 * i)),
    name: name.data.toString("latin1"),
    next: name.next,
  };
}

function elementAt(b: Buffer, at: number, little: boolean, padded: boolean): Element {
  if (at + 8 > b.length) throw new Error("it ends in the middle of an element");
  const word = (i: number) => (little ? b.readUInt32LE(i) : b.readUInt32BE(i));
  const first = word(at);
  // The small form: length and type in one word, up to four bytes behind it.
  const small = first >>> 16;
  const start = small ? at + 4 : at + 8;
  const length = small > 0 ? small : word(at + 4);
  if (start + length > b.length || small > 4) throw new Error("an element is longer than the file");
  return {
    type: small ? first & 0xffff : first,
    data: b.subarray(start, start + length),
    next: small ? at + 8 : start + (padded ? Math.ceil(length / 8) * 8 : length),
  };
}

function readMatrix(b: Buffer, little: boolean, found: Found): void {
  const head = headOf(b, little);
  if (head.kind < 6 || head.kind > 13) return; // cells, structs, text, sparse
  const values = elementAt(b, head.next, little, true);
  const type = TYPES[values.type];
  const label = shown(head.name);
  if (!type || values.data.length % type.bytes) throw new Error(`${label} holds numbers of an unknown type`);
  const count = values.data.length / type.bytes;
  if ((found.left -= count) < 0) throw new Error(`${label}: the file has more than ${MOST_VALUES} values`);
  found.variables.set(
    head.name,
    Array.from({ length: count }, (_, i) => type.read(values.data, i * type.bytes, little)),
  );
}
