/** What the comparison asks of a process that runs one of the two builds, and what the process answers. */

export const PRECISIONS = ["fp32", "bf16", "fp16", "int8"] as const;
export type Precision = (typeof PRECISIONS)[number];

/** A model folder as a hub holds it; `ids` where it has no tokenizer. */
export interface ComparedModel {
  name: string;
  folder: string;
  ids?: number[][];
}

export type Request =
  /** Answers with the SHA-256 of the embeddings of each batch, or with the code of the error. */
  | { kind: "embeddings"; model: ComparedModel; precision: Precision; batches: number[] }
  /** Loads what the measurements need, and answers with the names of the cases. */
  | { kind: "open"; folder: string }
  /** Answers with the items per second of a case. */
  | { kind: "measure"; name: string; seconds: number }
  /** Answers with the bytes that the process holds, V8's heap aside. */
  | { kind: "memory" };

export interface Answers {
  embeddings: Record<string, string>;
  open: string[];
  measure: number;
  memory: number;
}

export type Reply = { value: unknown } | { error: string };
