/**
 * How a vector is written in an answer.
 *
 * - float: numbers
 * - base64: float32, little-endian
 * - int8: scaled so that the largest absolute value is 127, and rounded; the cosine does not depend on the
 *   scale. uint8: the same plus 128.
 * - ubinary: a bit for each value, 1 where it is above 0, first value in the highest bit (numpy.packbits);
 *   binary: the same bytes less 128 (sentence-transformers' `quantize_embeddings`).
 */
export const VECTOR_TYPES = ["float", "base64", "int8", "uint8", "binary", "ubinary"] as const;

export type VectorType = (typeof VECTOR_TYPES)[number];

/** A vector as JSON holds it. */
export function encodeVector(vector: Float32Array, type: VectorType): number[] | string {
  switch (type) {
    case "float":
      return Array.from(vector);
    case "base64":
      return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");
    case "int8":
      return scaled(vector);
    case "uint8":
      return scaled(vector).map((value) => value + 128);
    case "ubinary":
      return bits(vector);
    case "binary":
      return bits(vector).map((byte) => byte - 128);
  }
}

function scaled(vector: Float32Array): number[] {
  let largest = 0;
  for (const value of vector) largest = Math.max(largest, Math.abs(value));
  const scale = largest > 0 ? 127 / largest : 0;
  return Array.from(vector, (value) => Math.round(value * scale));
}

function bits(vector: Float32Array): number[] {
  const bytes = new Array<number>(Math.ceil(vector.length / 8)).fill(0);
  for (const [i, value] of vector.entries()) {
    if (value > 0) bytes[i >> 3] = (bytes[i >> 3] ?? 0) | (0x80 >> (i & 7));
  }
  return bytes;
}
