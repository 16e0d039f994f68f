import { open, type FileHandle } from "node:fs/promises";
import { parquetMetadataAsync, parquetReadObjects, parquetSchema } from "hyparquet";
import type { AsyncBuffer, FileMetaData } from "hyparquet";
import { checkAborted, systemReason, TorchclipError, toTorchclipError } from "../errors.js";
import { READ_AT_ONCE, readExactly, Untrusted, type JsonObject } from "../util/untrusted.js";
import { EmbeddingIndex, type IndexOptions } from "./embedding-index.js";
import { checkPages } from "./parquet-pages.js";

export interface ParquetOptions extends IndexOptions {
  signal?: AbortSignal;
}

export interface ParquetIndex {
  index: EmbeddingIndex;
  /** One for each row. */
  names: string[];
  /** Hash of the content of each row; empty where there is no column of them. */
  contents: string[];
  /** What `torchclip embed` recorded about the run; undefined where something else wrote the file. */
  record: JsonObject | undefined;
}

/** Key of the record in the file's metadata. */
const RECORD_KEY = "torchclip";
const COLUMNS = ["name", "embedding"];
/** A column that files of earlier versions and of other tools do not have. */
const CONTENT = "content";
const MOST_DIM = 65536;
/** Of a row group, which is decoded as a whole; `torchclip embed` writes 4,096 rows. */
const MOST_ROWS = 1 << 17;
const MOST_VALUES = 1 << 25;

/**
 * Reads a .parquet that `torchclip embed` wrote: columns `name` (string) and `embedding` (list of floats, all
 * of one length). A row whose embedding is null becomes a row of NaN, which is never found. The rows go into
 * native memory a row group at a time.
 *
 * Throws E_INDEX_NOT_FOUND where there is no such file, E_INDEX_CORRUPT where it is damaged or not of this
 * form, E_READ where the system does not let it be read.
 */
export async function readParquetIndex(path: string, options: ParquetOptions = {}): Promise<ParquetIndex> {
  const check = new Untrusted("E_INDEX_CORRUPT", path);
  const { handle, size } = await openIndexFile(path, check);
  try {
    const file = bufferOf(handle, size, path);
    const metadata = await check.guard(() => readMetadata(file, check));
    const record = recordOf(metadata, check);
    const dim = record?.dim === undefined ? undefined : check.count(record.dim, "its dim", 1, MOST_DIM);
    const rows = new Rows(check, options, dim);
    try {
      await addGroups({ file, metadata }, rows, options.signal);
      return { ...rows.finish(Number(metadata.num_rows)), record };
    } catch (error) {
      rows.close();
      throw error;
    }
  } finally {
    await handle.close();
  }
}

interface OpenFile {
  handle: FileHandle;
  size: number;
}

async function openIndexFile(path: string, check: Untrusted): Promise<OpenFile> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, READ_AT_ONCE);
    const found = await handle.stat();
    if (found.isFile()) return { handle, size: found.size };
  } catch (cause) {
    await handle?.close();
    const reason = systemReason(cause) ?? (cause as Error).message;
    throw new TorchclipError("E_INDEX_NOT_FOUND", `cannot open ${path}: ${reason}`, { subject: path, cause });
  }
  await handle.close();
  throw check.error("it is no regular file");
}

/** The file as hyparquet reads it. Ranges come out of the file, so they are checked. */
function bufferOf(handle: FileHandle, size: number, path: string): AsyncBuffer {
  return {
    byteLength: size,
    async slice(start, end = size) {
      const isInside = start >= 0 && start <= end && end <= size;
      if (!isInside) throw new Error(`it names bytes ${start} to ${end} of ${size}`);
      try {
        const bytes = await readExactly(handle, start, end - start);
        return bytes.buffer as ArrayBuffer; // all of it: Buffer.alloc takes none from the pool
      } catch (error) {
        throw systemReason(error) ? toTorchclipError(error, "E_READ", { subject: path }) : error;
      }
    },
  };
}

async function readMetadata(file: AsyncBuffer, check: Untrusted): Promise<FileMetaData> {
  // Looking for maps, it would not come to an end with a damaged schema.
  const metadata = await parquetMetadataAsync(file, { geoparquet: false });
  const children = parquetSchema(metadata).children.map(({ element }) => element.name);
  checkColumns(children, "it", check);
  for (const [number, { num_rows: rows, columns }] of metadata.row_groups.entries()) {
    const group = `row group ${number}`;
    const paths = columns.map((column) => column.meta_data?.path_in_schema[0]);
    checkColumns(paths, group, check);
    const values = Math.max(...columns.map((column) => Number(column.meta_data?.num_values)));
    if (rows >= 0 && rows <= MOST_ROWS && values <= MOST_VALUES) continue;
    throw check.error(`${group} is too large to read: ${rows} rows, ${values} values`);
  }
  return metadata;
}

function checkColumns(there: readonly (string | undefined)[], what: string, check: Untrusted): void {
  const missing = COLUMNS.find((name) => !there.includes(name));
  if (missing) throw check.error(`${what} has no column "${missing}", which \`torchclip embed\` writes`);
}

function recordOf({ key_value_metadata: pairs }: FileMetaData, check: Untrusted): JsonObject | undefined {
  const text = pairs?.find(({ key }) => key === RECORD_KEY)?.value;
  if (text === undefined) return undefined;
  const what = `its metadata "${RECORD_KEY}"`;
  return check.object(check.json(text, what), what);
}

interface Source {
  file: AsyncBuffer;
  metadata: FileMetaData;
}

async function addGroups({ file, metadata }: Source, rows: Rows, signal?: AbortSignal): Promise<void> {
  let rowStart = 0;
  const hasContent = parquetSchema(metadata).children.some(({ element }) => element.name === CONTENT);
  const wanted = hasContent ? [...COLUMNS, CONTENT] : COLUMNS;
  for (const { num_rows: count, columns } of metadata.row_groups) {
    checkAborted(signal);
    const rowEnd = rowStart + Number(count);
    const range = { file, metadata, columns: wanted, rowStart, rowEnd };
    const read = async () => {
      await checkPages(file, columns, MOST_VALUES);
      return parquetReadObjects(range);
    };
    if (count > 0) await rows.add(read);
    rowStart = rowEnd;
  }
}

/** The rows that were read so far. */
class Rows {
  private index: EmbeddingIndex | undefined;
  private readonly names: string[] = [];
  private readonly contents: string[] = [];

  constructor(
    private readonly check: Untrusted,
    private readonly options: IndexOptions,
    /** Values of an embedding; where the file does not say it, that of the first one. */
    private dim: number | undefined,
  ) {}

  /** Appends the rows of a group, which `read` gives. */
  async add(read: () => Promise<Record<string, unknown>[]>): Promise<void> {
    const rows = await this.check.guard(read);
    const first = this.names.length;
    const dim = (this.dim ??= this.dimOf(rows));
    const data = new Float32Array(rows.length * dim);
    for (const [i, { name, embedding, content }] of rows.entries()) {
      this.names.push(this.check.text(name, `the name of row ${first + i}`));
      if (typeof content === "string") this.contents.push(content);
      this.copy(embedding, data.subarray(i * dim, (i + 1) * dim), first + i);
    }
    this.index ??= EmbeddingIndex.create(dim, this.options);
    await this.index.add({ data, rows: rows.length, dim });
  }

  /** `count` is how many rows the file says it has. */
  finish(count: number): { index: EmbeddingIndex; names: string[]; contents: string[] } {
    const { length } = this.names;
    if (length !== count) throw this.check.error(`it says ${count} rows, and its row groups hold ${length}`);
    if (this.dim === undefined) throw this.check.error("it holds no rows");
    this.index ??= EmbeddingIndex.create(this.dim, this.options);
    // A column with holes says nothing about the rows.
    const contents = this.contents.length === length ? this.contents : [];
    return { index: this.index, names: this.names, contents };
  }

  close(): void {
    this.index?.close();
  }

  private dimOf(rows: Record<string, unknown>[]): number {
    const first = rows.find(({ embedding }) => Array.isArray(embedding))?.embedding as unknown[] | undefined;
    return this.check.count(first?.length, "the length of its first embedding", 1, MOST_DIM);
  }

  private copy(embedding: unknown, into: Float32Array, row: number): void {
    // hyparquet gives undefined for a list that is null.
    if (embedding === null || embedding === undefined) {
      into.fill(NaN);
      return;
    }
    const what = `the embedding of row ${row}`;
    const values = this.check.array(embedding, what);
    const isWhole = values.length === into.length;
    if (!isWhole) throw this.check.error(`${what} has ${values.length} values, not ${into.length}`);
    const isNumbers = values.every((value) => typeof value === "number");
    if (!isNumbers) throw this.check.error(`${what} holds what is no number`);
    into.set(values);
  }
}
