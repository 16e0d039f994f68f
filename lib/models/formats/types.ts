import type { TensorPart } from "../../addon.js";

/** A tensor where it lies in a file. */
export interface StoredTensor extends TensorPart {
  /** The file holds the transpose of the matrix that its name stands for. */
  stored?: "transposed";
}

/** Weights found in a file: where each named tensor lies. Nothing is read into memory. */
export interface WeightFile {
  format: "safetensors" | "torch" | "onnx";
  tensors: Map<string, StoredTensor>;
  metadata: Record<string, string>;
}

/** Bytes of one element, by safetensors' names of types. */
const BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

export type Dtype = keyof typeof BYTES;

export const DTYPES = Object.keys(BYTES) as readonly Dtype[];

/** As `BYTES`, for names out of files as well. */
export const ELEMENT_BYTES: Readonly<Record<Dtype, number> & Record<string, number | undefined>> = BYTES;

export function elements(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}
