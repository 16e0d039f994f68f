import { inflateSync } from "node:zlib";
import { shown } from "./untrusted.js";

/**
 * Numbers out of a MATLAB 5 MAT-file ("MAT-File Format", The MathWorks): real matrices of any numeric type,
 * compressed or not; other variables are passed over. The one package that reads such files is licensed under
 * the GPL.
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
  const order = file.toString("latin1", 126, 128);
  if (file.length < 128 || (order !== "IM" && order !== "MI")) throw new Error("it is no MATLAB 5 file");
  const little = order === "IM";
  const found: Found = { variables: new Map(), left: MOST_VALUES };
  for (let at = 128; at < file.length;) {
    const element = elementAt(file, at, little, false);
    const matrix =
      element.type === COMPRESSED
        ? elementAt(inflateSync(element.data, { maxOutputLength: MOST_BYTES }), 0, little, true)
        : element;
    if (matrix.type === MATRIX) readMatrix(matrix.data, little, found);
    at = element.next;
  }
  return found.variables;
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
  const flags = elementAt(b, 0, little, true);
  const kind = (little ? flags.data.readUInt32LE(0) : flags.data.readUInt32BE(0)) & 0xff;
  if (kind < 6 || kind > 13) return; // cells, structs, text, sparse
  const sizes = elementAt(b, flags.next, little, true);
  const name = elementAt(b, sizes.next, little, true);
  const values = elementAt(b, name.next, little, true);
  const type = TYPES[values.type];
  const label = shown(name.data.toString("latin1"));
  if (!type || values.data.length % type.bytes) throw new Error(`${label} holds numbers of an unknown type`);
  const count = values.data.length / type.bytes;
  if ((found.left -= count) < 0) throw new Error(`${label}: the file has more than ${MOST_VALUES} values`);
  found.variables.set(
    name.data.toString("latin1"),
    Array.from({ length: count }, (_, i) => type.read(values.data, i * type.bytes, little)),
  );
}
