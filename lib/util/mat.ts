import { inflateSync } from "node:zlib";

/**
 * Numbers out of a MATLAB 5 MAT-file ("MAT-File Format", The MathWorks): real matrices of any numeric type, compressed or
 * not; other variables are passed over. The one package that reads such files is licensed under the GPL.
 */

const MATRIX = 14;
const COMPRESSED = 15;
const LIMIT = 1 << 28; // bytes of one variable, unpacked

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

/** All numeric variables by their names, in MATLAB's order (columns first). Throws where the file is damaged. */
export function readMat(file: Buffer): Map<string, number[]> {
  const order = file.toString("latin1", 126, 128);
  if (file.length < 128 || (order !== "IM" && order !== "MI")) throw new Error("it is no MATLAB 5 file");
  const little = order === "IM";
  const found = new Map<string, number[]>();
  for (let at = 128; at < file.length;) {
    const element = elementAt(file, at, little, false);
    const matrix = element.type === COMPRESSED ? elementAt(inflateSync(element.data, { maxOutputLength: LIMIT }), 0, little, true) : element;
    if (matrix.type === MATRIX) readMatrix(matrix.data, little, found);
    at = element.next;
  }
  return found;
}

function elementAt(b: Buffer, at: number, little: boolean, padded: boolean): Element {
  if (at + 8 > b.length) throw new Error("it ends in the middle of an element");
  const word = (i: number) => (little ? b.readUInt32LE(i) : b.readUInt32BE(i));
  const first = word(at);
  // The small form: length and type in one word, up to four bytes behind it.
  const small = first >>> 16;
  const start = small ? at + 4 : at + 8;
  const length = small || word(at + 4);
  if (start + length > b.length || small > 4) throw new Error("an element is longer than the file");
  return {
    type: small ? first & 0xffff : first,
    data: b.subarray(start, start + length),
    next: small ? at + 8 : start + (padded ? Math.ceil(length / 8) * 8 : length),
  };
}

function readMatrix(b: Buffer, little: boolean, found: Map<string, number[]>): void {
  const flags = elementAt(b, 0, little, true);
  const kind = (little ? flags.data.readUInt32LE(0) : flags.data.readUInt32BE(0)) & 0xff;
  if (kind < 6 || kind > 13) return; // cells, structs, text, sparse
  const sizes = elementAt(b, flags.next, little, true);
  const name = elementAt(b, sizes.next, little, true);
  const values = elementAt(b, name.next, little, true);
  const type = TYPES[values.type];
  if (!type || values.data.length % type.bytes) throw new Error(`${name.data.toString("latin1")} holds numbers of an unknown type`);
  found.set(
    name.data.toString("latin1"),
    Array.from({ length: values.data.length / type.bytes }, (_, i) => type.read(values.data, i * type.bytes, little)),
  );
}
