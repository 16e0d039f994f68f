import { readFile } from "node:fs/promises";
import { toTorchclipError } from "../errors.js";
import { Untrusted, type JsonObject } from "../util/untrusted.js";
import { EmbeddingIndex } from "./embedding-index.js";
import type { ParquetOptions } from "./parquet.js";

/** What `torchclip embed` recorded beside the embeddings, as far as a search needs it. */
export interface IndexRecord {
  /** "images" or "texts". */
  kind?: string;
  /** What was embedded: a folder, an archive or a list, as `embed` was given it. */
  input?: string;
  /** The model that made the embeddings; undefined where nothing says it. */
  model?: IndexModel;
}

export interface IndexModel {
  /** As `embed` was given it; of files of earlier versions, the name in the model's own settings. */
  name: string;
  /** Of the weights, in hex. */
  sha256: string;
}

export interface StoredIndex {
  /** Its path. */
  file: string;
  index: EmbeddingIndex;
  /** One for each row; empty for a .npy with no .npy.json beside it. */
  names: readonly string[];
  record: IndexRecord;
  /** The file that holds the record; undefined for a .npy with no .npy.json beside it. */
  recordFile?: string;
}

/**
 * Opens what `torchclip embed` wrote: FILE.parquet, or FILE.npy with names and record in FILE.npy.json,
 * which may be missing. A .npy is mapped in fp32 (see `EmbeddingIndex.open`), a .parquet is read into memory.
 *
 * Throws E_INDEX_NOT_FOUND; E_INDEX_CORRUPT where the file or its JSON is damaged or of another form;
 * E_READ where the system does not let it be read.
 *
 * @example
 * const { index, names, record } = await openStored("photos.parquet");
 */
export async function openStored(file: string, options: ParquetOptions = {}): Promise<StoredIndex> {
  if (!/\.parquet$/i.test(file)) return openNpy(file, options);
  const { readParquetIndex } = await import("./parquet.js");
  const { index, names, record = {} } = await readParquetIndex(file, options);
  try {
    const check = new Untrusted("E_INDEX_CORRUPT", file);
    return { file, index, names, record: readRecord(record, check), recordFile: file };
  } catch (error) {
    index.close();
    throw error;
  }
}

async function openNpy(file: string, options: ParquetOptions): Promise<StoredIndex> {
  const recordFile = `${file}.json`;
  const index = await EmbeddingIndex.open(file, options);
  try {
    const text = await readIfThere(recordFile);
    if (text === undefined) return { file, index, names: [], record: {} };
    const check = new Untrusted("E_INDEX_CORRUPT", recordFile);
    const about = check.object(parse(text, check), "it");
    const names = readNames(about.names, check);
    const { rows } = index;
    if (names.length !== rows) throw check.error(`it names ${names.length} rows, ${file} has ${rows}`);
    return { file, index, names, record: readRecord(about, check), recordFile };
  } catch (error) {
    index.close();
    throw error;
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw toTorchclipError(error, "E_READ", { subject: file });
  }
}

/** Without the limit of `Untrusted.json`: an index may name more rows than other files have values. */
function parse(text: string, check: Untrusted): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw check.error(`it is not JSON: ${(cause as Error).message}`, cause);
  }
}

function readNames(value: unknown, check: Untrusted): string[] {
  const names = check.array(value, "names");
  const bad = names.findIndex((name) => typeof name !== "string");
  if (bad >= 0) check.text(names[bad], `names[${bad}]`);
  return names as string[];
}

function readRecord({ kind, input, model }: JsonObject, check: Untrusted): IndexRecord {
  return {
    kind: kind === undefined ? undefined : check.text(kind, "kind"),
    input: input === undefined ? undefined : check.text(input, "input"),
    model: readModel(model),
  };
}

/** Undefined where a name or the hash is missing: without both, no model can be found and checked. */
function readModel(value: unknown): IndexModel | undefined {
  const { requested, name, weights } = (value ?? {}) as JsonObject;
  const { sha256 } = (weights ?? {}) as JsonObject;
  const known = requested ?? name;
  return typeof known === "string" && typeof sha256 === "string" ? { name: known, sha256 } : undefined;
}
