import { open, readFile, truncate, type FileHandle } from "node:fs/promises";
import { TorchclipError } from "../errors.js";
import { parseRows, rowLines, StoredRows, type Identity } from "../embed/identity.js";
import { writeAll, writeFileWhole, writing } from "../util/files.js";
import { lock, type Lock } from "../util/lock.js";

/** One image: its cosine with each class, or why it has none. */
export type JournalRow = Identity & (Classified | Failed);

interface Classified {
  cosines: number[];
  error?: undefined;
}

interface Failed {
  cosines?: undefined;
  error: { code: string; message: string };
}

/** Finished images of an evaluation, a line each, behind a line with the settings of the run. */
export class Journal {
  private rows: JournalRow[] = [];
  private held: Lock | undefined;
  private handle: FileHandle | undefined;
  /** What an earlier run left. */
  stored = new StoredRows([]);

  constructor(
    private readonly file: string,
    private readonly settings: Record<string, unknown>,
  ) {}

  /** Takes the lock and reads what is there; starts a new journal where nothing is to be continued. */
  async begin(resume: boolean): Promise<void> {
    this.held = await lock(`${this.file}.lock`);
    const text = resume ? await readFile(this.file).catch(() => undefined) : undefined;
    const firstEnd = text?.indexOf(10) ?? -1;
    if (text === undefined || firstEnd < 0) {
      await writeFileWhole(this.file, `${JSON.stringify(this.settings)}\n`);
    } else {
      this.checkSettings(text.toString("utf8", 0, firstEnd));
      const rows = parseRows(text.subarray(firstEnd + 1)) as (JournalRow | undefined)[];
      this.rows = rows.filter((row) => row !== undefined);
      // A half-written last line is cut off.
      await writing(this.file, () => truncate(this.file, text.lastIndexOf(10) + 1));
    }
    this.handle = await writing(this.file, () => open(this.file, "a"));
    this.stored = new StoredRows(this.rows.map((row) => (row.cosines ? row : undefined)));
  }

  /** A stored row by its number. */
  at(row: number): JournalRow {
    return this.rows[row];
  }

  async add(rows: readonly JournalRow[]): Promise<void> {
    const { held, handle } = this;
    if (!held || !handle) throw new TorchclipError("E_INTERNAL", `${this.file} is not open`);
    await held.check();
    await writing(this.file, () => writeAll(handle, rowLines(rows)));
  }

  /** Keeps the first `count` rows alone. */
  async cut(count: number): Promise<void> {
    if (count === this.rows.length) return;
    this.rows.length = count;
    await this.handle?.close();
    await writeFileWhole(this.file, rowLines([this.settings, ...this.rows]));
    this.handle = await writing(this.file, () => open(this.file, "a"));
  }

  async close(): Promise<void> {
    await this.handle?.close();
    await this.held?.release();
  }

  private checkSettings(line: string): void {
    const before = parseSettings(line);
    const names = [...new Set([...Object.keys(before), ...Object.keys(this.settings)])];
    const differences = names
      .filter((name) => JSON.stringify(before[name]) !== JSON.stringify(this.settings[name]))
      .map((name) => `${name} was ${shown(before[name])} and is ${shown(this.settings[name])}`);
    if (differences.length === 0) return;
    const message = `${this.file} belongs to another evaluation: ${differences.join("; ")}`;
    throw new TorchclipError("E_ARGUMENT", `${message}; leave out --resume to start anew`, {
      subject: this.file,
    });
  }
}

/** The settings in the first line of a journal; none where the line is damaged. */
function parseSettings(line: string): Record<string, unknown> {
  try {
    return (JSON.parse(line) ?? {}) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** A setting in a message. */
function shown(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 60);
}
