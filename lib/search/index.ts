import { addon, type NativeIndex } from "../addon.js";
import type { Embeddings, TopK } from "../embeddings.js";
import { TorchclipError, toTorchclipError } from "../errors.js";
import { writeWhole } from "../util/files.js";
import { writeNpy } from "../util/npy.js";

/** fp32: exact. bf16: half the memory. int8: a quarter; each row and query is scaled to −127 … 127. */
export type IndexPrecision = "fp32" | "bf16" | "int8";

export interface IndexOptions {
  /** Default "fp32". What it costs in recall is in docs/search.md. */
  precision?: IndexPrecision;
}

export interface SearchOptions {
  /** One bit a row, lowest bit of each byte first: rows whose bit is not set are left out. */
  allowed?: Uint8Array;
}

const TYPES: readonly IndexPrecision[] = ["fp32", "bf16", "int8"];
const CHUNK_ROWS = 65536;

/**
 * Embeddings in native memory, and the exact nearest rows by inner product (cosine, where rows and queries are
 * normalised) among what it holds: no graph, no clusters, nothing is missed. A search runs on all cores, one at a time.
 */
export class EmbeddingIndex {
  /** Adds and searches one after another, in the order of the calls. */
  private last: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly native: NativeIndex,
    readonly precision: IndexPrecision,
  ) {}

  /** An empty index of vectors of `dim` values. */
  static create(dim: number, options: IndexOptions = {}): EmbeddingIndex {
    const type = TYPES.indexOf(options.precision ?? "fp32");
    if (type < 0) throw new TorchclipError("E_ARGUMENT", `precision must be fp32, bf16 or int8, not ${options.precision}`, { subject: "precision" });
    if (!Number.isInteger(dim) || dim < 1 || dim > 65536) throw new TorchclipError("E_ARGUMENT", `dim must be in 1 to 65536, not ${dim}`, { subject: "dim" });
    return guarded(() => new EmbeddingIndex(new (addon().Index)(type as 0 | 1 | 2, dim), TYPES[type]));
  }

  /**
   * A .npy of float32 [rows, dim], as `save`, `torchclip embed` and numpy write it. With fp32 the file is mapped, not
   * read: the first search brings it into memory, and nothing can be added.
   */
  static async open(file: string, options: IndexOptions = {}): Promise<EmbeddingIndex> {
    if (typeof file !== "string") throw new TorchclipError("E_ARGUMENT", "the index must be the path of a .npy file", { subject: "file" });
    const mapped = guarded(() => new EmbeddingIndex(new (addon().Index)(file), "fp32"), file);
    if ((options.precision ?? "fp32") === "fp32") return mapped;
    const index = EmbeddingIndex.create(mapped.dim, options);
    for (const part of mapped.parts()) await index.add({ data: part, rows: part.length / mapped.dim, dim: mapped.dim });
    return index;
  }

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

  /** Appends rows; their numbers go on from `rows`. They are copied. */
  add(embeddings: Embeddings): Promise<void> {
    this.check(embeddings, "embeddings");
    return this.after(() => this.native.add(embeddings.data, embeddings.rows));
  }

  /**
   * The k best rows of each query, best first, equal scores by row number. `k` is lowered to the number of rows. Where
   * `allowed` leaves fewer than k, the rest is row −1 with score NaN.
   */
  search(queries: Embeddings, k: number, options: SearchOptions = {}): Promise<TopK> {
    this.check(queries, "queries");
    if (!Number.isInteger(k) || k < 1) throw new TorchclipError("E_ARGUMENT", `k must be a whole number of at least 1, not ${k}`, { subject: "k" });
    return this.after(async () => {
      const n = Math.min(k, this.rows);
      const { allowed } = options;
      if (allowed && (!(allowed instanceof Uint8Array) || allowed.length < Math.ceil(this.rows / 8))) {
        throw new TorchclipError("E_ARGUMENT", `allowed must be a Uint8Array with a bit for each of ${this.rows} rows`, { subject: "allowed" });
      }
      const indices = new Int32Array(queries.rows * n);
      const scores = new Float32Array(queries.rows * n);
      if (indices.length) await this.native.search(queries.data, queries.rows, n, allowed ?? null, indices, scores);
      return { indices, scores, k: n };
    });
  }

  /** Row `row` as float32: what is stored, so that int8 gives its rounded values. */
  vector(row: number): Float32Array {
    if (!Number.isInteger(row) || row < 0 || row >= this.rows)
      throw new TorchclipError("E_ARGUMENT", `the index has rows 0 to ${this.rows - 1}, not ${row}`, { index: row });
    const out = new Float32Array(this.dim);
    this.native.read(row, 1, out);
    return out;
  }

  /** Writes a .npy of float32 [rows, dim], whole or not at all (E_WRITE). Read back in the same precision it is the same index. */
  async save(file: string): Promise<void> {
    if (typeof file !== "string" || file === "") throw new TorchclipError("E_ARGUMENT", "the index is saved under a path", { subject: "file" });
    return this.after(() => writeWhole(file, (whole) => writeNpy(whole, this.rows, this.dim, this.parts())));
  }

  private *parts(): Generator<Float32Array> {
    for (let start = 0; start < this.rows; start += CHUNK_ROWS) {
      const count = Math.min(CHUNK_ROWS, this.rows - start);
      const part = new Float32Array(count * this.dim);
      this.native.read(start, count, part);
      yield part;
    }
  }

  private after<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work).catch((error: unknown) => {
      throw toTorchclipError(error);
    });
    this.last = result.catch(() => {});
    return result;
  }

  private check(e: Embeddings, name: string): void {
    if (!(e?.data instanceof Float32Array) || e.data.length !== e.rows * e.dim)
      throw new TorchclipError("E_ARGUMENT", `${name} are not { data: Float32Array of rows × dim, rows, dim }`, { subject: name });
    if (e.dim !== this.dim) throw new TorchclipError("E_ARGUMENT", `${name} have ${e.dim} dimensions, the index has ${this.dim}`, { subject: name });
  }
}

function guarded<T>(make: () => T, subject?: string): T {
  try {
    return make();
  } catch (error) {
    throw toTorchclipError(error, "E_INTERNAL", { subject });
  }
}
