import { nearDuplicates, type DuplicateGroup } from "../curate/near-duplicates.js";
import { TorchclipError } from "../errors.js";
import type { IndexPrecision } from "../search/embedding-index.js";
import { openStored, rowName, type StoredIndex } from "../search/stored.js";
import { csvText } from "../util/csv.js";
import { writeFileWhole } from "../util/files.js";
import { interruptSignal, note, progressBar } from "./io.js";
import { saveSheet } from "./sheet.js";

interface Flags {
  threshold: number;
  indexPrecision: IndexPrecision;
  indexDevice: string;
  out?: string;
  sheet?: string;
  root?: string;
  json?: boolean;
}

/** Images of a group that a contact sheet shows, and groups on a .png; an .html shows all groups. */
const SHOWN_IMAGES = 12;
const SHOWN_GROUPS = 40;

/** What `torchclip dedupe` does. It reads the index and deletes nothing. */
export async function run(file: string, flags: Flags): Promise<void> {
  const signal = interruptSignal();
  const { threshold, indexPrecision: precision, indexDevice: device, out } = flags;
  if (out !== undefined && !/\.csv$/i.test(out))
    throw new TorchclipError("E_ARGUMENT", `the groups go into a .csv file, not into ${out}`, {
      subject: "out",
    });
  const stored = await openStored(file, { precision, device, signal });
  const bar = progressBar("compare", "rows/s");
  try {
    const options = { threshold, signal, onProgress: bar.update };
    const groups = await nearDuplicates(stored.index, options).finally(() => bar.stop());
    const named = groups.map((group) => namedGroup(stored, group));
    if (out !== undefined) await writeFileWhole(out, groupsCsv(named));
    if (flags.sheet !== undefined) await saveGroups(flags.sheet, named, stored, flags.root);
    if (flags.json) process.stdout.write(`${JSON.stringify(named, null, 2)}\n`);
    else print(named, stored.index.rows, threshold);
    for (const saved of [out, flags.sheet]) if (saved !== undefined) note(`Saved: ${saved}`);
  } finally {
    stored.index.close();
  }
}

/** A group as it is printed: the score of an image is its cosine with the first. */
interface NamedGroup {
  images: { row: number; name: string; score: number }[];
}

function namedGroup(stored: StoredIndex, { rows, scores }: DuplicateGroup): NamedGroup {
  return { images: rows.map((row, i) => ({ row, name: rowName(stored, row), score: scores[i] })) };
}

function groupsCsv(groups: readonly NamedGroup[]): string {
  const rows = groups.flatMap(({ images }, group) =>
    images.map(({ row, name, score }) => [group + 1, row, name, score]),
  );
  return csvText([["group", "row", "name", "score"], ...rows]);
}

async function saveGroups(
  file: string,
  groups: readonly NamedGroup[],
  { record }: StoredIndex,
  root: string | undefined,
): Promise<void> {
  if (groups.length === 0) {
    note("There are no near-duplicates, and no contact sheet is written.");
    return;
  }
  const shown = /\.png$/i.test(file) ? groups.slice(0, SHOWN_GROUPS) : groups;
  const found = shown.map(({ images }, i) => ({
    query: `group ${i + 1} (${images.length} images)`,
    hits: images.slice(0, SHOWN_IMAGES),
  }));
  await saveSheet(file, found, { root, record, heading: "Near-duplicates" });
}

function print(groups: readonly NamedGroup[], rows: number, threshold: number): void {
  for (const [i, { images }] of groups.entries()) {
    process.stdout.write(`group ${i + 1}\n`);
    for (const { score, name } of images) process.stdout.write(`      ${score.toFixed(4)}  ${name}\n`);
  }
  const surplus = groups.reduce((sum, { images }) => sum + images.length - 1, 0);
  process.stdout.write(
    `${groups.length} groups of near-duplicates among ${rows} rows at a cosine of ${threshold}; ` +
      `${surplus} images beside the first of each group. Nothing was deleted.\n`,
  );
}
