import type { Embeddings } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import { writeNpy, writeNpyWithJson } from "../util/npy.js";
import type { JsonObject } from "../util/untrusted.js";
import { CollectionRows, type CollectionEntry } from "./collection-rows.js";
import { EmbeddingIndex, type IndexOptions } from "./embedding-index.js";
import { openStored, type IndexModel } from "./stored.js";

/** What a collection uses of a model: a `Clip` is one. */
export interface EmbeddingModel {
  readonly info: {
    readonly embedDim: number;
    readonly config: { readonly name: string; readonly source: { readonly sha256: string } };
  };
}

/** An entry that a search found. */
export interface CollectionHit extends CollectionEntry {
  /** Cosine, −1 to 1. */
  score: number;
}

export interface CollectionSearchOptions {
  /** Whether an entry may be found. Called once for each entry. */
  filter?: (entry: CollectionEntry) => boolean;
}

/** Rows that are copied at once. */
const COPY_ROWS = 4096;

/**
 * An index whose rows have an id and metadata and can be replaced and deleted. It knows the model that made its
 * embeddings, by the SHA-256 of the weights: embeddings of another one are E_ARGUMENT, with the names of both.
 * Searches are exact. Calls work one after another, in their order.
 *
 * @example
 * const photos = EmbeddingCollection.create(clip);
 * const entries = [{ id: "cat.jpg", metadata: { album: "pets" } }, { id: "dog.jpg" }];
 * await photos.upsert(entries, await clip.encodeImages(["cat.jpg", "dog.jpg"]), clip);
 * const [hits] = await photos.search(await clip.encodeTexts(["a cat"]), 1, clip);
 * await photos.delete(["dog.jpg"]);
 * await photos.save("photos.npy");
 */
export class EmbeddingCollection {
  private last: Promise<unknown> = Promise.resolve();
  private readonly rows: CollectionRows;

  private constructor(
    private index: EmbeddingIndex,
    /** The model that made the embeddings. */
    readonly model: Readonly<IndexModel>,
    entries: readonly CollectionEntry[],
  ) {
    this.rows = new CollectionRows(entries);
  }

  /** An empty collection of embeddings of this model. */
  static create(model: EmbeddingModel, options: IndexOptions = {}): EmbeddingCollection {
    return new EmbeddingCollection(EmbeddingIndex.create(model.info.embedDim, options), modelOf(model), []);
  }

  /**
   * Opens what `save` or `torchclip embed` wrote (.npy with its .npy.json, .parquet); the names are the ids.
   * E_INDEX_NOT_FOUND; E_INDEX_CORRUPT where the file is damaged, names no model or has a name twice.
   */
  static async open(file: string, options: IndexOptions = {}): Promise<EmbeddingCollection> {
    const { index, names, metadata, record } = await openStored(file, options);
    try {
      if (!record.model || names.length !== index.rows)
        throw corrupt(file, "it does not say its model and ids");
      if (new Set(names).size < names.length) throw corrupt(file, "one of its names stands twice");
      const entries = names.map((id, row) => entryOf(id, metadata[row]));
      return new EmbeddingCollection(index, record.model, entries);
    } catch (error) {
      index.close();
      throw error;
    }
  }

  /** How many entries there are. */
  get size(): number {
    return this.rows.size;
  }

  /** Rows of replaced and deleted entries, whose memory `compact` frees. */
  get unused(): number {
    return this.rows.unused;
  }

  /** The entry of an id; undefined where there is none. */
  get(id: string): CollectionEntry | undefined {
    return this.rows.get(id);
  }

  /** All entries, in the order of their rows. */
  entries(): IterableIterator<CollectionEntry> {
    return this.rows.entries();
  }

  /**
   * Adds entries, or replaces those of the same ids, all or none. `embeddings`: a row for each, float32
   * [entries, dim], normalised, made by `model`. E_ARGUMENT, with the index, for an id that is no string, is
   * empty or stands twice, and for a row of NaN; for another model, with both names.
   */
  upsert(entries: readonly CollectionEntry[], embeddings: Embeddings, model: EmbeddingModel): Promise<void> {
    return this.after(async () => {
      this.checkModel(model);
      const copies = checkedEntries(entries, embeddings);
      const first = this.index.rows;
      await this.index.add(embeddings);
      this.rows.put(copies, first);
    });
  }

  /** Replaces the metadata of an entry. False where there is none of this id. */
  setMetadata(id: string, metadata: JsonObject | undefined): Promise<boolean> {
    return this.after(() => Promise.resolve(this.rows.setMetadata(id, metadata)));
  }

  /** Deletes entries; ids that are not there are no error. Gives the number of those that were. */
  delete(ids: readonly string[]): Promise<number> {
    return this.after(() => Promise.resolve(this.rows.delete(ids)));
  }

  /**
   * The k nearest entries of each query, best first; fewer where fewer may be found. `queries`: float32
   * [queries, dim], made by `model`, which must be the collection's.
   */
  search(
    queries: Embeddings,
    k: number,
    model: EmbeddingModel,
    { filter }: CollectionSearchOptions = {},
  ): Promise<CollectionHit[][]> {
    return this.after(async () => {
      this.checkModel(model);
      const found = await this.index.search(queries, k, { allowed: this.rows.allowed(filter) });
      return Array.from({ length: queries.rows }, (_, query) => {
        const from = query * found.k;
        const rows = Array.from(found.indices.subarray(from, from + found.k)).filter((row) => row >= 0);
        return rows.map((row, i) => ({ ...this.rows.at(row), score: found.scores[from + i] }));
      });
    });
  }

  /** Frees the memory of replaced and deleted entries. The order of the others stays. */
  compact(): Promise<void> {
    return this.after(async () => {
      if (this.unused === 0) return;
      const { dim, precision, device } = this.index;
      const compacted = EmbeddingIndex.create(dim, { precision, device });
      try {
        for (const data of this.parts()) await compacted.add({ data, rows: data.length / dim, dim });
      } catch (error) {
        compacted.close();
        throw error;
      }
      this.index.close();
      this.index = compacted;
      this.rows.compact();
    });
  }

  /**
   * Writes FILE.npy, float32 [size, dim], and FILE.npy.json with ids, metadata and the model, whole or not at
   * all (E_WRITE). Replaced and deleted entries are left out. `torchclip search` reads the file, too.
   */
  save(file: string): Promise<void> {
    return this.after(async () => {
      if (!/\.npy$/i.test(file))
        throw new TorchclipError("E_ARGUMENT", `a collection is saved as a .npy file, not as ${file}`, {
          subject: "file",
        });
      const { dim } = this.index;
      const entries = [...this.rows.entries()];
      const { name, sha256 } = this.model;
      const about = {
        model: { requested: name, weights: { sha256 } },
        dim,
        rows: entries.length,
        names: entries.map(({ id }) => id),
        metadata: entries.map(({ metadata }) => metadata ?? null),
      };
      await writeNpyWithJson(file, about, (out) => writeNpy(out, entries.length, dim, this.parts()));
    });
  }

  /** Frees the memory; later calls are E_CLOSED. Safe to call twice. */
  close(): void {
    this.index.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The rows of the entries, some at a time. */
  private *parts(): Generator<Float32Array> {
    const { dim } = this.index;
    const rows = this.rows.numbers();
    for (let from = 0; from < rows.length; from += COPY_ROWS) {
      const some = rows.slice(from, from + COPY_ROWS);
      const part = new Float32Array(some.length * dim);
      some.forEach((row, i) => part.set(this.index.vector(row), i * dim));
      yield part;
    }
  }

  private checkModel(model: EmbeddingModel): void {
    const other = modelOf(model);
    if (other.sha256 === this.model.sha256) return;
    const message = `the collection holds embeddings of ${shown(this.model)}, and not of ${shown(other)}`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "model" });
  }

  private after<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work);
    this.last = result.catch(() => undefined);
    return result;
  }
}

function modelOf({ info }: EmbeddingModel): IndexModel {
  return { name: info.config.name, sha256: info.config.source.sha256 };
}

function shown({ name, sha256 }: IndexModel): string {
  return `${name} (weights of SHA-256 ${sha256.slice(0, 12)}…)`;
}

function entryOf(id: string, metadata: JsonObject | null | undefined): CollectionEntry {
  return metadata ? { id, metadata } : { id };
}

function corrupt(file: string, why: string): TorchclipError {
  return new TorchclipError("E_INDEX_CORRUPT", `${file}: ${why}`, { subject: file });
}

/** Copies of the entries, which the caller may change later. */
function checkedEntries(entries: readonly CollectionEntry[], embeddings: Embeddings): CollectionEntry[] {
  if (entries.length !== embeddings.rows) {
    const message = `${entries.length} entries do not fit ${embeddings.rows} embeddings`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "entries" });
  }
  const seen = new Set<string>();
  return entries.map(({ id, metadata }, index) => {
    const wrong =
      wrongId(id, seen) ?? (Number.isNaN(embeddings.data[index * embeddings.dim]) ? "is NaN" : undefined);
    if (wrong !== undefined)
      throw new TorchclipError("E_ARGUMENT", `entry ${index} ${wrong}`, { index, subject: "entries" });
    seen.add(id);
    return entryOf(id, metadata && structuredClone(metadata));
  });
}

function wrongId(id: unknown, seen: ReadonlySet<string>): string | undefined {
  if (typeof id !== "string" || id === "") return "has no id";
  return seen.has(id) ? `has the id of an earlier one: ${id}` : undefined;
}
