import type { AnswerWriter } from "../encoding.js";
import type { ErrorForm } from "../errors.js";
import type { Item, ItemReader } from "../items.js";
import type { Embedded } from "../model.js";

export type JsonObject = Record<string, unknown>;

/** What a request asks for, in the same form for all interfaces. */
export interface EmbedCall {
  /** Undefined: the server's first model. */
  model: string | undefined;
  items: Item[];
  /** What happens to a text that is longer than the model's context. */
  truncate: "error" | "end";
  /** Length of the vectors that the client wants; undefined: the model's own. */
  dimensions: number | undefined;
  /** The answer, from the vectors. */
  answer: (embedded: Embedded, about: AnswerFacts, writer: AnswerWriter) => object;
}

/** What answers tell beside the vectors. */
export interface AnswerFacts {
  /** Name of the model that answered. */
  model: string;
  /** Of the request. */
  id: string;
}

/** A form of requests for embeddings: another provider's interface. */
export interface Shape {
  /** Paths that take it, all by POST. */
  paths: readonly string[];
  /** For the OpenAPI page. */
  summary: string;
  /** JSON schema of the body; what it leaves open `read` checks. */
  body: object;
  errors: ErrorForm;
  /** Whether the answer tells how many pixels the images have. */
  countPixels?: boolean;
  /** Throws E_ARGUMENT, with the place in the body. */
  read: (body: JsonObject, reader: ItemReader) => EmbedCall;
}

/** `truncate` of NVIDIA and Cohere. */
export const TRUNCATE_SCHEMA = {
  type: "string",
  enum: ["NONE", "END"],
  description: "a text longer than the model's context: NONE refuses it, END cuts its end (default)",
} as const;

export const MODEL_SCHEMA = {
  type: "string",
  description: "a name of GET /v1/models; default: the server's first model",
} as const;
