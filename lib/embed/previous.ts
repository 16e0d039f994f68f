import { openStored, type StoredIndex } from "../search/stored.js";
import { exists } from "../util/files.js";
import { gatherRows } from "../util/rows.js";
import type { Identity } from "./identity.js";
import type { Partial } from "./partial.js";

/** How the items of a run differ from the rows of the file that was there, by name and content. */
export interface Changes {
  /** Names that are new. */
  added: number;
  /** Names whose content is another one. */
  changed: number;
  /** Contents that have another name than before. */
  renamed: number;
  /** Names that are gone. */
  removed: number;
  unchanged: number;
  /** Why the rows of the file were not taken over; left out where they were. */
  anew?: string;
}

/** Rows that are copied at once. */
const COPY_ROWS = 1024;

/** The file of an earlier run, whose rows a run with `update` takes over. */
export class Previous {
  private constructor(
    /** Undefined where there is no file. */
    private readonly stored: StoredIndex | undefined,
    /** Why its rows cannot be taken over. */
    readonly anew: string | undefined,
  ) {}

  /**
   * Opens the output of an earlier run, where there is one. E_INDEX_NOT_FOUND for a file that cannot be
   * opened, E_INDEX_CORRUPT for one that is damaged or was not written by `embed`: neither is replaced.
   *
   * @param settings the hash of the run's settings
   */
  static async open(out: string, settings: string): Promise<Previous> {
    if (!(await exists(out))) return new Previous(undefined, undefined);
    const stored = await openStored(out);
    return new Previous(stored, reasonAgainst(stored, settings));
  }

  /** The names and contents of its rows. */
  identities(): Identity[] {
    const { names = [], contents = [] } = this.stored ?? {};
    return contents.map((content, row) => ({ name: names[row], content }));
  }

  /**
   * Appends its rows to the state of a new run; one that was stopped has them already. Rows of failed items
   * are left out.
   */
  async copyTo(state: Partial): Promise<void> {
    if (!this.stored || this.anew !== undefined || state.count > 0) return;
    const { index } = this.stored;
    const identities = this.identities();
    for (let from = 0; from < identities.length; from += COPY_ROWS) {
      const some = identities.slice(from, from + COPY_ROWS);
      const block = index.vectors(from, some.length);
      const kept = [...some.keys()].filter((row) => !Number.isNaN(block.data[row * block.dim]));
      await state.add(
        gatherRows(block, kept).data,
        kept.map((row) => some[row]),
      );
    }
  }

  close(): void {
    this.stored?.index.close();
  }
}

function reasonAgainst({ file, record, contents, index }: StoredIndex, settings: string): string | undefined {
  if (contents.length === 0 && index.rows > 0) return `${file} does not say what its rows are of`;
  if (record.settings === settings) return undefined;
  return `${file} was made by another model or with other settings`;
}

/** What became of the rows of the earlier file. */
export function changesSince(previous: Previous, rows: readonly Identity[]): Changes {
  const before = new Map(previous.identities().map(({ name, content }) => [name, content]));
  const changes: Changes = { added: 0, changed: 0, renamed: 0, removed: 0, unchanged: 0 };
  const gone = goneContents(before, new Set(rows.map(({ name }) => name)));
  for (const { name, content } of rows) {
    const stored = before.get(name);
    if (stored === content) changes.unchanged++;
    else if (stored !== undefined) changes.changed++;
    else if (takeOne(gone, content)) changes.renamed++;
    else changes.added++;
  }
  for (const count of gone.values()) changes.removed += count;
  return { ...changes, ...(previous.anew === undefined ? {} : { anew: previous.anew }) };
}

/** How often each content stood under a name that is gone. */
function goneContents(before: ReadonlyMap<string, string>, names: ReadonlySet<string>): Map<string, number> {
  const gone = new Map<string, number>();
  for (const [name, content] of before) if (!names.has(name)) gone.set(content, (gone.get(content) ?? 0) + 1);
  return gone;
}

function takeOne(counts: Map<string, number>, content: string): boolean {
  const count = counts.get(content) ?? 0;
  if (count > 0) counts.set(content, count - 1);
  return count > 0;
}
