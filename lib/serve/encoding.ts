import { randomUUID } from "node:crypto";
import { Turn } from "./turn.js";

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

/**
 * Writes the JSON of an answer with many vectors. `JSON.stringify` of a thousand vectors would hold the event
 * loop for a tenth of a second; here each is written by itself, and other requests have their turn between.
 *
 * @example
 * const writer = new AnswerWriter();
 * const body = { data: vectors.map((vector) => ({ embedding: writer.vector(vector, "float") })) };
 * const json = await writer.json(body);
 */
export class AnswerWriter {
  private readonly nonce = randomUUID();
  private readonly vectors: { vector: Float32Array; type: VectorType }[] = [];

  /** What stands for a vector in the body that is given to `json`. */
  vector(vector: Float32Array, type: VectorType): string {
    this.vectors.push({ vector, type });
    return `${this.nonce}:${this.vectors.length - 1}`;
  }

  /** The body as JSON, with its vectors. */
  async json(body: object): Promise<string> {
    const parts = JSON.stringify(body).split(`"${this.nonce}:`);
    const turn = new Turn();
    for (let at = 1; at < parts.length; at++) {
      const end = parts[at].indexOf('"');
      const { vector, type } = this.vectors[Number(parts[at].slice(0, end))];
      parts[at] = JSON.stringify(encodeVector(vector, type)) + parts[at].slice(end + 1);
      if (turn.isOver) await turn.pass();
    }
    return parts.join("");
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
