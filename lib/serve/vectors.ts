import { wrong } from "./items.js";
import { LongString } from "./json-body.js";

const FLOAT_BYTES = 4;
/** A longer vector has inner products that float32 may not hold. */
const LONGEST = 1e18;

/**
 * A vector of a request: a list of numbers, or base64 of float32, little-endian. E_ARGUMENT where it has not
 * `dim` finite values, or is longer than 1e18.
 *
 * @param where Its name in the body, for errors.
 */
export function vectorOf(value: unknown, dim: number, where: string): Float32Array {
  const isText = typeof value === "string" || value instanceof LongString;
  const vector = isText ? ofBase64(value, dim, where) : ofNumbers(value, dim, where);
  let sum = 0;
  for (const [i, each] of vector.entries()) {
    if (!Number.isFinite(each)) throw wrong(where, `holds ${each} at ${i}, which is no float32`);
    sum += each * each;
  }
  const length = Math.sqrt(sum);
  if (length > LONGEST) throw wrong(where, `has the length ${length.toPrecision(3)}, more than ${LONGEST}`);
  return vector;
}

function ofNumbers(value: unknown, dim: number, where: string): Float32Array {
  if (!Array.isArray(value)) throw wrong(where, "must be a list of numbers, or base64 of float32");
  if (value.length !== dim) throw wrong(where, `has ${value.length} values, not ${dim}`);
  const bad = value.findIndex((each) => typeof each !== "number");
  if (bad >= 0) throw wrong(where, `holds at ${bad} what is no number`);
  return Float32Array.from(value as number[]);
}

function ofBase64(value: string | LongString, dim: number, where: string): Float32Array {
  const bytes = FLOAT_BYTES * dim;
  const characters = 4 * Math.ceil(bytes / 3);
  // The length is known before anything is decoded. Only a slash may be escaped in base64, to two characters.
  const given = value instanceof LongString ? value.bytes : value.length;
  const isLikely = given >= characters - 2 && given <= 2 * characters;
  const text = isLikely ? value.toString() : "";
  const decoded = Buffer.from(text, "base64");
  if (decoded.length !== bytes) throw wrong(where, `is not base64 of ${dim} float32 (${bytes} bytes)`);
  if (decoded.toString("base64").replace(/=+$/, "") !== text.replace(/=+$/, ""))
    throw wrong(where, "is not base64");
  return Float32Array.from({ length: dim }, (_, i) => decoded.readFloatLE(FLOAT_BYTES * i));
}
