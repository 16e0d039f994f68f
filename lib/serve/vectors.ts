import { wrong } from "./items.js";

/**
 * A vector of a request: a list of numbers, or base64 of float32, little-endian. E_ARGUMENT where it has not
 * `dim` finite values.
 *
 * @param where Its name in the body, for errors.
 */
export function vectorOf(value: unknown, dim: number, where: string): Float32Array {
  const vector = typeof value === "string" ? ofBase64(value, where) : ofNumbers(value, where);
  if (vector.length !== dim) throw wrong(where, `has ${vector.length} values, not ${dim}`);
  const bad = vector.findIndex((each) => !Number.isFinite(each));
  if (bad >= 0) throw wrong(where, `holds ${vector[bad]} at ${bad}, which is no float32`);
  return vector;
}

function ofNumbers(value: unknown, where: string): Float32Array {
  if (Array.isArray(value) && value.every((each) => typeof each === "number"))
    return Float32Array.from(value);
  throw wrong(where, "must be a list of numbers, or base64 of float32");
}

function ofBase64(text: string, where: string): Float32Array {
  const bytes = Buffer.from(text, "base64");
  const isWhole = bytes.length % Float32Array.BYTES_PER_ELEMENT === 0;
  if (!isWhole || bytes.toString("base64") !== text) throw wrong(where, "is not base64 of float32");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}
