import { readFile } from "node:fs/promises";
import type { Embeddings } from "../embeddings.js";
import { toTorchclipError } from "../errors.js";
import { Untrusted, type JsonObject } from "../util/untrusted.js";
import { EmbeddingIndex, type SearchOptions } from "./embedding-index.js";
import type { ParquetOptions } from "./parquet.js";

/** What `torchclip embed` recorded beside the embeddings, as far as a search needs it. */
export interface IndexRecord {
  /** "images" or "texts". */
  kind?: string;
  /** What was embedded: a folder, an archive or a list, as `embed` was given it. */
  input?: string;
  /** The model that made the embeddings; undefined where nothing says it. */
  model?: IndexModel;
  /** Hash of the settings that the embeddings depend on; undefined in files of earlier versions. */
  settings?: string;
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
  /** Hash of the content of each row, as `embed` records it; empty where nothing says it. */
  contents: readonly string[];
  /** What an `EmbeddingCollection` keeps of each row; empty where the file is of none. */
  metadata: readonly (JsonObject | null)[];
  record: IndexRecord;
  /** The file that holds the record; undefined for a .npy with no .npy.json beside it. */
  recordFile?: string;
}

/** A row that a query found. */
export interface StoredHit {
  /** From 1. */
  rank: number;
  row: number;
  name: string;
  /** Inner product: the cosine, −1 to 1, where the query has length 1. */
  score: number;
}

/**
 * Opens what `torchclip embed` wrote: FILE.parquet, FILE.npy with names and record in FILE.npy.json, which may
 * be missing, or the manifest.json of `embed --queue`. A .npy is mapped in fp32 (see `EmbeddingIndex.open`); a
 * .parquet, and the shards of a manifest, are read into memory.
 *
 * Throws E_INDEX_NOT_FOUND; E_INDEX_CORRUPT where the file or its JSON is damaged or of another form;
 * E_READ where the system does not let it be read.
 *
 * @example
 * const { index, names, record } = await openStored("photos.parquet");
 */
export async function openStored(file: string, options: ParquetOptions = {}): Promise<StoredIndex> {
  if (/\.json$/i.test(file)) return openShards(file, options);
  if (!/\.parquet$/i.test(file)) return openNpy(file, options);
  const { readParquetIndex } = await import("./parquet.js");
  const { index, names, contents, record = {} } = await readParquetIndex(file, options);
  try {
    await index.upload();
    const check = new Untrusted("E_INDEX_CORRUPT", file);
    const found = { index, names, contents, metadata: [] };
    return { file, ...found, record: readRecord(record, check), recordFile: file };
  } catch (error) {
    index.close();
    throw error;
  }
}

/** The name of a row; "row 5" where the index has no names. */
export function rowName({ names }: StoredIndex, row: number): string {
  return names.at(row) ?? `row ${row}`;
}

/** The rows that are nearest to the one query, best first; fewer than `count` where there are no more. */
export async function nearestHits(
  stored: StoredIndex,
  query: Embeddings,
  count: number,
  options: Pick<SearchOptions, "signal"> = {},
): Promise<StoredHit[]> {
  const { indices, scores } = await stored.index.search(query, count, options);
  const hits = Array.from(indices, (row, i) => ({
    rank: i + 1,
    row,
    name: rowName(stored, row),
    score: scores[i],
  }));
  // Row −1 stands for a hit that is not there: rows of failed items are NaN and are never found.
  return hits.filter(({ row }) => row >= 0);
}

async function openShards(file: string, options: ParquetOptions): Promise<StoredIndex> {
  const { openManifest } = await import("./manifest.js");
  const { input, model, ...rows } = await openManifest(file, options, openStored);
  return { file, ...rows, metadata: [], record: { kind: "images", input, model }, recordFile: file };
}

async function openNpy(file: string, options: ParquetOptions): Promise<StoredIndex> {
  const recordFile = `${file}.json`;
  const index = await EmbeddingIndex.open(file, options);
  try {
    const text = await readIfThere(recordFile);
    if (text === undefined) return { file, index, names: [], contents: [], metadata: [], record: {} };
    const check = new Untrusted("E_INDEX_CORRUPT", recordFile);
    const about = check.object(check.largeJson(text), "it");
    const names = readTexts(about.names, "names", check);
    const contents = about.contents === undefined ? [] : readTexts(about.contents, "contents", check);
    const metadata = about.metadata === undefined ? [] : readMetadata(about.metadata, check);
    const { rows } = index;
    if (names.length !== rows) throw check.error(`it names ${names.length} rows, ${file} has ${rows}`);
    for (const [what, { length }] of Object.entries({ contents, metadata }))
      if (length !== rows && length > 0)
        throw check.error(`it has ${what} of ${length} rows, not of ${rows}`);
    return { file, index, names, contents, metadata, record: readRecord(about, check), recordFile };
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

function readTexts(value: unknown, what: string, check: Untrusted): string[] {
  const texts = check.array(value, what);
  const bad = texts.findIndex((text) => typeof text !== "string");
  if (bad >= 0) check.text(texts[bad], `${what}[${bad}]`);
  return texts as string[];
}

function readMetadata(value: unknown, check: Untrusted): (JsonObject | null)[] {
  return check
    .array(value, "metadata")
    .map((each, row) => (each === null ? null : check.object(each, `metadata[${row}]`)));
}

function readRecord({ kind, input, model, settings }: JsonObject, check: Untrusted): IndexRecord {
  return {
    kind: kind === undefined ? undefined : check.text(kind, "kind"),
    input: input === undefined ? undefined : check.text(input, "input"),
    model: readModel(model),
    settings: settings === undefined ? undefined : check.text(settings, "settings"),
  };
}

/** Undefined where a name or the hash is missing: without both, no model can be found and checked. */
function readModel(value: unknown): IndexModel | undefined {
  const { requested, name, weights } = (value ?? {}) as JsonObject;
  const { sha256 } = (weights ?? {}) as JsonObject;
  const known = requested ?? name;
  return typeof known === "string" && typeof sha256 === "string" ? { name: known, sha256 } : undefined;
}
