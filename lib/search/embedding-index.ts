import { addon, type NativeIndex } from "../addon.js";
import { isEmbeddings, type Embeddings, type TopK } from "../embeddings.js";
import { checkAborted, TorchclipError, toTorchclipError } from "../errors.js";
import { writeWhole } from "../util/files.js";
import { writeNpy } from "../util/npy.js";
import { own } from "../util/own.js";

/** fp32: exact. bf16: half the memory. int8: a quarter; each row and query is scaled to −127 … 127. */
export type IndexPrecision = "fp32" | "bf16" | "int8";

export interface IndexOptions {
  /** Default "fp32". What it costs in recall is in docs/search.md. */
  precision?: IndexPrecision;
  /**
   * Where searches run: "cpu" (default), or a GPU, "cuda" or "cuda:N", which needs torchclip's CUDA kernels
   * and precision "fp32". The GPU holds a copy of the rows, some 5 bytes of its memory for each value. `open`
   * makes it; rows that are added later are copied by `upload` or the next search. A search for more than
   * 1,024 rows runs on the CPU.
   *
   * E_CUDA_UNAVAILABLE where that GPU cannot be used, and E_OUT_OF_MEMORY where it has no room. `open` throws
   * them; of an index that `create` made, every call throws the first, `search` and `upload` the second.
   */
  device?: string;
}

export interface SearchOptions {
  /** One bit a row, lowest bit of each byte first: rows whose bit is not set are left out. */
  allowed?: Uint8Array;
  /** A search that has not begun when it fires is left out: E_ABORTED. One that runs comes to its end. */
  signal?: AbortSignal;
}

const TYPES: readonly IndexPrecision[] = ["fp32", "bf16", "int8"];
/** Rows that are added, read or searched for at once: what is copied without a pause of the event loop. */
const BLOCK_BYTES = 4 << 20;
const READ_BYTES = 1 << 20;
/** Queries that are worth an int8 copy of the rows (native/core/search/index.cpp) stay together. */
const BLOCK_QUERIES = 1024;

/**
 * Embeddings in native memory, and the exact nearest rows by inner product (cosine, where rows and queries
 * are normalised) among what it holds: no graph, no clusters, nothing is missed. A search runs on all cores,
 * one at a time.
 *
 * Arrays that are given to `add` and `search` may be changed or transferred when the promise has settled. One
 * that is transferred before is E_ARGUMENT, and a view of a resizable ArrayBuffer is not taken.
 */
export class EmbeddingIndex {
  /** Adds and searches one after another, in the order of the calls. */
  private last: Promise<unknown> = Promise.resolve();
  private closed = false;
  /** Settles when the rows of the start are on the device. */
  private readonly placed: Promise<void>;

  private constructor(
    private readonly native: NativeIndex,
    readonly precision: IndexPrecision,
    /** Where searches run: "cpu", "cuda", "cuda:N". */
    readonly device: string,
  ) {
    this.placed = device === "cpu" ? Promise.resolve() : native.place(device);
    this.placed.catch(() => undefined); // `open` and the calls that wait for it throw it
  }

  /** An empty index of vectors of `dim` values, 1 to 65,536. */
  static create(dim: number, options: IndexOptions = {}): EmbeddingIndex {
    const type = TYPES.indexOf(options.precision ?? "fp32");
    if (type < 0)
      throw new TorchclipError(
        "E_ARGUMENT",
        `precision must be fp32, bf16 or int8, not ${String(options.precision)}`,
        { subject: "precision" },
      );
    if (!Number.isInteger(dim) || dim < 1 || dim > 65536)
      throw new TorchclipError("E_ARGUMENT", `dim must be in 1 to 65536, not ${dim}`, { subject: "dim" });
    const device = checkedDevice(options, TYPES[type]);
    return guarded(
      () => new EmbeddingIndex(new (addon().Index)(type as 0 | 1 | 2, dim), TYPES[type], device),
    );
  }

  /**
   * A .npy of float32 [rows, dim], as `save`, `torchclip embed` and numpy write it; [0, dim] is an empty
   * index. With fp32 the file is mapped, not read: a search brings it into memory, and the first `add` copies
   * it there. Throws E_INDEX_NOT_FOUND or E_INDEX_CORRUPT. A mapped file that is shortened while it is open
   * makes later calls fail with E_INDEX_CORRUPT.
   */
  static async open(file: string, options: IndexOptions = {}): Promise<EmbeddingIndex> {
    if (!isText(file) || file.includes("\0"))
      throw new TorchclipError("E_ARGUMENT", "the index must be the path of a .npy file", {
        subject: "file",
      });
    const device = checkedDevice(options, options.precision ?? "fp32");
    const mapped = guarded(() => new EmbeddingIndex(new (addon().Index)(file), "fp32", device), file);
    if ((options.precision ?? "fp32") === "fp32") return mapped.whenPlaced(file);
    const index = EmbeddingIndex.create(mapped.dim, options);
    try {
      for (const part of mapped.parts())
        await index.add({ data: part, rows: part.length / mapped.dim, dim: mapped.dim });
    } catch (error) {
      index.close();
      throw toTorchclipError(error, "E_INTERNAL", { subject: file });
    } finally {
      mapped.close();
    }
    return index;
  }

  /** Throws why the rows could not be copied to the device, as an error about the file. */
  private async whenPlaced(file: string): Promise<this> {
    try {
      await this.placed;
      return this;
    } catch (error) {
      this.close();
      throw toTorchclipError(error, "E_INTERNAL", { subject: file });
    }
  }

  /** 0 after `close`. */
  get rows(): number {
    return this.native.rows();
  }

  get dim(): number {
    return this.native.dim();
  }

  /** Bytes of native memory; a mapped file counts nothing. */
  get bytes(): number {
    return this.native.bytes();
  }

  /** Bytes of a GPU's memory; 0 without one. */
  get gpuBytes(): number {
    return this.native.gpuBytes();
  }

  /**
   * Appends rows, all or none; their numbers go on from `rows`. They are copied. A row that holds a NaN keeps
   * its number and is never found; with int8 neither is one that holds an infinity.
   */
  add(embeddings: Embeddings): Promise<void> {
    const rows = this.check(embeddings, "embeddings");
    return this.after(async () => {
      try {
        for (const block of blocks(rows, BLOCK_BYTES, 1)) {
          const data = await own(rows.data, "embeddings", block.values);
          await this.native.stage(data, block.rows, rows.rows - block.start - block.rows);
        }
        this.native.commit();
      } catch (error) {
        this.native.discard();
        throw error;
      }
    });
  }

  /**
   * Copies the rows that the GPU does not have yet, which the next search would do. Does nothing on the CPU.
   * E_CUDA_UNAVAILABLE, E_OUT_OF_MEMORY.
   */
  upload(): Promise<void> {
    return this.after(() => this.native.upload());
  }

  /**
   * The k best rows of each query, best first, equal scores by row number. `k` is lowered to the number of
   * rows. Where `allowed` leaves fewer than k, and for a query that holds a NaN, the rest is row −1 with
   * score NaN.
   */
  search(queries: Embeddings, k: number, options: SearchOptions = {}): Promise<TopK> {
    const asked = this.check(queries, "queries");
    if (!Number.isInteger(k) || k < 1)
      throw new TorchclipError("E_ARGUMENT", `k must be a whole number of at least 1, not ${k}`, {
        subject: "k",
      });
    const { signal } = options;
    return this.after(async () => {
      checkAborted(signal);
      const n = Math.min(k, this.rows);
      const allowed = await this.filter(options.allowed);
      const indices = new Int32Array(asked.rows * n);
      const scores = new Float32Array(asked.rows * n);
      for (const block of n > 0 ? blocks(asked, BLOCK_BYTES, BLOCK_QUERIES) : []) {
        const [from, to] = [block.start * n, (block.start + block.rows) * n];
        const data = await own(asked.data, "queries", block.values);
        await this.native.search(
          data,
          block.rows,
          n,
          allowed,
          indices.subarray(from, to),
          scores.subarray(from, to),
        );
      }
      return { indices, scores, k: n };
    });
  }

  /**
   * Row `row` as float32: what is stored, so that int8 gives its rounded values. Never waits for an addition
   * or a search that runs.
   */
  vector(row: number): Float32Array {
    this.checkOpen();
    if (!Number.isInteger(row) || row < 0 || row >= this.rows)
      throw new TorchclipError("E_ARGUMENT", `the index has rows 0 to ${this.rows - 1}, not ${row}`, {
        index: row,
      });
    const out = new Float32Array(this.dim);
    guarded(() => this.native.read(row, 1, out));
    return out;
  }

  /**
   * `count` rows from row `start` on as float32 [count, dim], as `vector` gives one. E_ARGUMENT where the index
   * does not have them.
   */
  vectors(start: number, count: number): Embeddings {
    this.checkOpen();
    const isInside = Number.isInteger(start) && Number.isInteger(count) && start >= 0 && count >= 0;
    if (!isInside || start + count > this.rows)
      throw new TorchclipError(
        "E_ARGUMENT",
        `the index has ${this.rows} rows; ${count} from row ${start} on are not in it`,
        { subject: "start" },
      );
    const data = new Float32Array(count * this.dim);
    if (count > 0) guarded(() => this.native.read(start, count, data));
    return { data, rows: count, dim: this.dim };
  }

  /**
   * Writes a .npy of float32 [rows, dim], whole or not at all (E_WRITE). Read back in the same precision it
   * is the same index.
   */
  async save(file: string): Promise<void> {
    if (!isText(file) || file === "")
      throw new TorchclipError("E_ARGUMENT", "the index is saved under a path", { subject: "file" });
    return this.after(() => writeWhole(file, (whole) => writeNpy(whole, this.rows, this.dim, this.parts())));
  }

  /**
   * Frees the memory, that of a GPU too, or unmaps the file, as soon as the search or addition that runs has
   * ended. Calls that wait, later ones and a `save` that is under way end with E_CLOSED. Safe to call twice.
   *
   * @example
   * using index = await EmbeddingIndex.open("photos.npy"); // closed at the end of the block
   */
  close(): void {
    this.closed = true;
    this.native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private *parts(): Generator<Float32Array> {
    const { rows, dim } = this;
    const most = Math.max(1, Math.floor(READ_BYTES / 4 / dim));
    for (let start = 0; start < rows; start += most) {
      const count = Math.min(most, rows - start);
      const part = new Float32Array(count * dim);
      this.native.read(start, count, part);
      yield part;
    }
  }

  private after<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last
      .then(async () => {
        await this.placed;
        this.checkOpen();
        return work();
      })
      .catch((error: unknown) => {
        throw toTorchclipError(error);
      });
    this.last = result.catch(() => undefined);
    return result;
  }

  /** The filter's bits for the rows that are there, as a copy. */
  private async filter(allowed: unknown): Promise<Uint8Array | null> {
    if (allowed === undefined || allowed === null) return null;
    const bytes = Math.ceil(this.rows / 8);
    if (!(allowed instanceof Uint8Array) || allowed.length < bytes) {
      throw new TorchclipError(
        "E_ARGUMENT",
        `allowed must be a Uint8Array with a bit for each of ${this.rows} rows`,
        { subject: "allowed" },
      );
    }
    return own(allowed, "allowed", { end: bytes });
  }

  private checkOpen(): void {
    if (this.closed) throw new TorchclipError("E_CLOSED", "the index is closed");
  }

  /** What was given, as it is now: the caller may change the object later. */
  private check(given: Embeddings, name: string): Embeddings {
    this.checkOpen();
    const copy = copyOf(given);
    if (!isEmbeddings(copy))
      throw new TorchclipError(
        "E_ARGUMENT",
        `${name} are not { data: Float32Array of rows × dim, rows, dim }`,
        { subject: name },
      );
    if (copy.dim !== this.dim) {
      const message = `${name} have ${copy.dim} dimensions, the index has ${this.dim}`;
      throw new TorchclipError("E_ARGUMENT", message, { subject: name });
    }
    return copy;
  }
}

/** Each property is read once. */
function copyOf(given: unknown): unknown {
  const { data, rows, dim } = (given ?? {}) as Partial<Embeddings>;
  return { data, rows, dim };
}

/** The device of the options; E_ARGUMENT unless it is one where rows of this precision are searched. */
function checkedDevice({ device }: IndexOptions, precision: IndexPrecision): string {
  const wanted: unknown = device ?? "cpu";
  if (typeof wanted !== "string" || !/^(cpu|cuda|cuda:[0-9]{1,4})$/.test(wanted))
    throw new TorchclipError("E_ARGUMENT", `device must be cpu, cuda or cuda:N, not ${String(wanted)}`, {
      subject: "device",
    });
  if (wanted !== "cpu" && precision !== "fp32")
    throw new TorchclipError("E_ARGUMENT", `an index on ${wanted} has precision fp32, not ${precision}`, {
      subject: "precision",
    });
  return wanted;
}

/** Callers in plain JavaScript may give anything. */
function isText(value: unknown): boolean {
  return typeof value === "string";
}

interface Block {
  start: number;
  rows: number;
  /** Where its values lie. */
  values: { start: number; end: number };
}

/** Consecutive rows of at most `bytes` bytes, but at least `least` rows. */
function* blocks({ rows, dim }: Embeddings, bytes: number, least: number): Generator<Block> {
  const most = Math.max(least, Math.floor(bytes / 4 / dim));
  for (let start = 0; start < rows; start += most) {
    const count = Math.min(most, rows - start);
    yield { start, rows: count, values: { start: start * dim, end: (start + count) * dim } };
  }
}

function guarded<T>(make: () => T, subject?: string): T {
  try {
    return make();
  } catch (error) {
    throw toTorchclipError(error, "E_INTERNAL", { subject });
  }
}
