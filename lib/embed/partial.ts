import { open, readFile, rm, truncate, type FileHandle } from "node:fs/promises";
import { endianness } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { TorchclipError } from "../errors.js";
import { makeFolder, readAll, writeAll, writeFileWhole, writing } from "../util/files.js";
import { floatBytes } from "../util/npy.js";
import { parseRows, rowLines, StoredRows, type Identity } from "./identity.js";

/** One row: its identity, and the error where it has no embedding (its values are NaN). */
export interface Row extends Identity {
  error?: { code: string; message: string };
}

interface StoredRow extends Row {
  /** CRC-32 of the row's bytes in rows.f32. */
  crc: number;
}

const COPY_ROWS = 4096;
/**
 * Errors that come back for the same content; others (a file that could not be read, a limit of time or of
 * pixels, which the next run may raise) are tried again.
 */
const LASTING = new Set(["E_IMAGE_DECODE"]);

/**
 * What a run has done so far, in a folder beside the output: rows.f32 with the embeddings in the order in
 * which they were computed, rows.jsonl with a line for each, run.json with the settings. Only what both files
 * hold whole counts.
 */
export class Partial {
  private readonly data: string;
  private readonly lines: string;
  private rows: (StoredRow | undefined)[] = [];
  private dataFile: FileHandle | undefined;
  private linesFile: FileHandle | undefined;

  constructor(
    private readonly folder: string,
    private readonly dim: number,
  ) {
    this.data = join(folder, "rows.f32");
    this.lines = join(folder, "rows.jsonl");
  }

  private get rowBytes(): number {
    return this.dim * 4;
  }

  /** Cuts off what a stop left half-written; starts anew where the settings were others. */
  async begin(settings: string): Promise<void> {
    await writing(this.folder, () => this.openFiles(settings));
    await this.checkRows();
  }

  /** How many rows there are. */
  get count(): number {
    return this.rows.length;
  }

  /** The rows that are there now, for a run to take over. */
  stored(): StoredRows {
    const rows = this.rows.map((row) => (isLasting(row) ? row : undefined));
    return new StoredRows(rows, { anyName: true });
  }

  private async openFiles(settings: string): Promise<void> {
    await makeFolder(this.folder);
    const about = join(this.folder, "run.json");
    if ((await readFile(about, "utf8").catch(() => "")) !== settings) {
      await rm(this.data, { force: true });
      await rm(this.lines, { force: true });
      await writeFileWhole(about, settings);
    }
    this.dataFile = await open(this.data, "a");
    this.linesFile = await open(this.lines, "a");
    const { size } = await this.dataFile.stat();
    const lines = await readFile(this.lines);
    const rows = parseRows(lines) as (StoredRow | undefined)[];
    this.rows = rows.slice(0, Math.floor(size / this.rowBytes));
    await this.cut(this.rows.length, lines);
  }

  /** Keeps the first `count` rows alone. */
  async cut(count: number, lines?: Buffer): Promise<void> {
    await writing(this.folder, async () => {
      await truncate(this.data, count * this.rowBytes);
      await truncate(this.lines, lengthOfLines(lines ?? (await readFile(this.lines)), count));
    });
    this.rows.length = count;
  }

  /** Appends rows; returns the number of the first. */
  async add(data: Float32Array, rows: Row[]): Promise<number> {
    const bytes = floatBytes(data);
    const stored = rows.map((row, i): StoredRow => ({
      ...row,
      crc: crc32(bytes.subarray(i * this.rowBytes, (i + 1) * this.rowBytes)),
    }));
    const { dataFile, linesFile } = this;
    if (!dataFile || !linesFile) throw new TorchclipError("E_INTERNAL", `${this.folder} is not open`);
    await writing(this.folder, async () => {
      await writeAll(dataFile, bytes);
      await writeAll(linesFile, rowLines(stored));
    });
    return this.rows.push(...stored) - rows.length;
  }

  /** A row by its number. */
  at(row: number): Row {
    const found = this.rows[row];
    if (!found)
      throw new TorchclipError("E_INTERNAL", `${this.folder} has no row ${row}`, { subject: this.folder });
    return found;
  }

  /** The embeddings of `order` in memory. */
  async read(order: readonly number[]): Promise<{ data: Float32Array; rows: number; dim: number }> {
    const data = new Float32Array(order.length * this.dim);
    let at = 0;
    for await (const part of this.parts(order)) {
      data.set(part, at);
      at += part.length;
    }
    return { data, rows: order.length, dim: this.dim };
  }

  /** The embeddings of `order`, some rows at a time, each part float32 [rows, dim]. */
  async *parts(order: readonly number[]): AsyncGenerator<Float32Array> {
    const file = await open(this.data, "r");
    try {
      for (let from = 0; from < order.length; from += COPY_ROWS) {
        const wanted = order.slice(from, from + COPY_ROWS);
        const part = new Float32Array(wanted.length * this.dim);
        await this.readRows(file, wanted, part);
        if (endianness() === "BE") Buffer.from(part.buffer).swap32();
        yield part;
      }
    } finally {
      await file.close();
    }
  }

  /** Reads rows into `part`; rows that follow one another in the file as well are read at once. */
  private async readRows(file: FileHandle, wanted: readonly number[], part: Float32Array): Promise<void> {
    for (let i = 0; i < wanted.length;) {
      let run = 1;
      while (wanted[i + run] === wanted[i] + run) run++;
      const into = Buffer.from(part.buffer, i * this.rowBytes, run * this.rowBytes);
      if ((await readAll(file, into, wanted[i] * this.rowBytes)) < into.length)
        throw new TorchclipError("E_READ", "the file of a partial run became shorter while it was read");
      i += run;
    }
  }

  async close(): Promise<void> {
    await this.dataFile?.close();
    await this.linesFile?.close();
  }

  async remove(): Promise<void> {
    await this.close();
    await writing(this.folder, () => rm(this.folder, { recursive: true, force: true }));
  }

  /** Forgets rows whose bytes are not those that were written: a power cut can leave zeros. */
  private async checkRows(): Promise<void> {
    let at = 0;
    for await (const part of this.parts(this.rows.map((_, i) => i))) {
      const bytes = floatBytes(part);
      for (let start = 0; start < bytes.length; start += this.rowBytes, at++) {
        if (this.rows[at]?.crc !== crc32(bytes.subarray(start, start + this.rowBytes)))
          this.rows[at] = undefined;
      }
    }
  }
}

/** Whether a row would be the same if it were computed again. */
function isLasting(row: StoredRow | undefined): boolean {
  return !row?.error || (LASTING.has(row.error.code) && row.content !== "url");
}

/** Bytes of the first `count` lines. */
function lengthOfLines(text: Buffer, count: number): number {
  let end = 0;
  for (let i = 0; i < count; i++) end = text.indexOf(10, end) + 1;
  return end;
}
