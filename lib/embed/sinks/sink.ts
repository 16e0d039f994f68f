import { TorchclipError, toTorchclipError } from "../../errors.js";

/** A row of a vector database. */
export interface SinkRow {
  /** Hash of the content, 32 hex digits: equal content has one row. */
  id: string;
  /** Of the image inside its folder, list or archive; of a text the text itself. */
  name: string;
  /** float32 [dim], normalised. */
  embedding: Float32Array;
}

/** What all rows of a run have in common. */
export interface SinkAbout {
  /** What was embedded: the absolute path of a folder, a list, an archive or a file of texts. */
  source: string;
  kind: "images" | "texts";
  /** See `fingerprint`. */
  model: string;
  dim: number;
}

/** What stands in the database under an id. */
export interface StoredName {
  id: string;
  name: string;
}

/**
 * A table of embeddings in a vector database. Its columns, or the fields of its payload, are id, name, source,
 * kind, model and the embedding. Errors of the database are E_DATABASE.
 */
export interface Sink {
  /** Those of `ids` that are there. */
  existing(ids: readonly string[]): Promise<StoredName[]>;
  /** Writes rows, in place of those of the same ids. All or none of the call are there afterwards. */
  upsert(rows: readonly SinkRow[]): Promise<void>;
  /** Writes names of rows that are there. */
  rename(rows: readonly StoredName[]): Promise<void>;
  /** The ids of all rows of this source, some at a time. */
  ids(): AsyncIterable<string[]>;
  remove(ids: readonly string[]): Promise<void>;
  /** Bytes of a value of an embedding on its way to the database. */
  readonly valueBytes: number;
  close(): Promise<void>;
}

export interface OpenSink {
  /** Make the table, and the extension that it needs, where they are not there. */
  create: boolean;
  about: SinkAbout;
}

/** What tells the models of rows apart: the name, and 16 digits of the SHA-256 of the weights. */
export function fingerprint(name: string, sha256: string): string {
  return `${name}@${sha256.slice(0, 16)}`;
}

/** E_ARGUMENT where rows of another model are there: their embeddings cannot be compared. */
export function checkModel(place: string, stored: string | undefined, about: SinkAbout): void {
  if (stored === undefined || digits(stored) === digits(about.model)) return;
  const message = `${place} holds embeddings of ${stored}, and not of ${about.model}; use another table`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: "to" });
}

/** A model may be asked for by several names. */
function digits(model: string): string {
  return model.slice(model.lastIndexOf("@") + 1);
}

/** E_ARGUMENT where the vectors of the table have another length. */
export function checkDim(place: string, stored: number | undefined, about: SinkAbout): void {
  if (stored === about.dim) return;
  const found = stored === undefined ? "no vectors of a known length" : `vectors of ${stored} values`;
  const message = `${place} holds ${found}, and the model makes ${about.dim}; use another table`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: "to" });
}

/** The table is not there, and was not to be made. */
export function noTable(place: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", `${place} does not exist; --create makes it`, { subject: "to" });
}

/** Runs what talks to a database; its errors are E_DATABASE with the name of the place. */
export async function talking<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof TorchclipError) throw error;
    const { message, cause } = toTorchclipError(error, "E_DATABASE");
    throw new TorchclipError("E_DATABASE", `${place}: ${message || "the connection failed"}`, {
      subject: place,
      cause: cause ?? error,
    });
  }
}
