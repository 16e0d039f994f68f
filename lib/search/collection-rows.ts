import { TorchclipError } from "../errors.js";
import type { JsonObject } from "../util/untrusted.js";

/** A row of a collection by its id. */
export interface CollectionEntry {
  /** What tells entries apart: a path, a key of a database. */
  id: string;
  /** Anything that JSON can hold. */
  metadata?: JsonObject;
}

/** Which entry each row of an index is of, and which rows are of none any more. */
export class CollectionRows {
  private byRow: (CollectionEntry | undefined)[];
  private byId = new Map<string, number>();

  constructor(entries: readonly CollectionEntry[]) {
    this.byRow = [...entries];
    for (const [row, { id }] of entries.entries()) this.byId.set(id, row);
  }

  get size(): number {
    return this.byId.size;
  }

  get unused(): number {
    return this.byRow.length - this.byId.size;
  }

  get(id: string): CollectionEntry | undefined {
    const row = this.byId.get(id);
    return row === undefined ? undefined : this.byRow[row];
  }

  /** The entry of a row that is of one. */
  at(row: number): CollectionEntry {
    const entry = this.byRow[row];
    if (!entry) throw new TorchclipError("E_INTERNAL", `row ${row} of a collection is of no entry`);
    return entry;
  }

  *entries(): IterableIterator<CollectionEntry> {
    for (const entry of this.byRow) if (entry) yield entry;
  }

  /** The numbers of the rows that are of an entry, rising. */
  numbers(): number[] {
    return [...this.byRow.keys()].filter((row) => this.byRow[row]);
  }

  /** Entries of the rows from `first` on; rows that had their ids are of none any more. */
  put(entries: readonly CollectionEntry[], first: number): void {
    for (const [i, entry] of entries.entries()) {
      this.delete([entry.id]);
      this.byRow[first + i] = entry;
      this.byId.set(entry.id, first + i);
    }
  }

  setMetadata(id: string, metadata: JsonObject | undefined): boolean {
    const row = this.byId.get(id);
    if (row === undefined) return false;
    this.byRow[row] = metadata === undefined ? { id } : { id, metadata: structuredClone(metadata) };
    return true;
  }

  delete(ids: readonly string[]): number {
    let count = 0;
    for (const id of ids) {
      const row = this.byId.get(id);
      if (row === undefined) continue;
      this.byRow[row] = undefined;
      this.byId.delete(id);
      count++;
    }
    return count;
  }

  /** One bit a row, lowest bit of each byte first, as `EmbeddingIndex.search` takes it. */
  allowed(filter: (entry: CollectionEntry) => boolean = () => true): Uint8Array | undefined {
    const bits = new Uint8Array(Math.ceil(this.byRow.length / 8));
    let count = 0;
    for (const [row, entry] of this.byRow.entries()) {
      if (!entry || !filter(entry)) continue;
      bits[row >> 3] |= 1 << (row & 7);
      count++;
    }
    return count === this.byRow.length ? undefined : bits;
  }

  /** Rows of no entry are gone: the others move up. */
  compact(): void {
    this.byRow = this.byRow.filter((entry) => entry);
    this.byId = new Map([...this.entries()].map(({ id }, row) => [id, row]));
  }
}
