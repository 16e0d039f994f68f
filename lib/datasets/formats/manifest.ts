import { TorchclipError } from "../../errors.js";
import { readText } from "../../util/text-file.js";
import { shown } from "../../util/untrusted.js";
import { countSplit, Dataset, type Sample } from "../dataset.js";
import { splitNames } from "./folder.js";
import { describe, readList, type ListRow } from "./list-file.js";

export interface ManifestOptions {
  /** "val", "valid" and "validation" mean the same. */
  split?: string;
  /**
   * Class names in order of their ids. Default: the labels found, numbers by value, others by name; labels
   * that are 0, 1, 2 … are ids of these.
   */
  classes?: string[];
  name?: string;
}

const SHOWN = 10; // class names in a message

/** A list of images in CSV, TSV or JSONL with the columns path (or image), label and, optionally, split. */
export async function manifestDataset(file: string, options: ManifestOptions = {}): Promise<Dataset> {
  const rows = (await readList(file)).map((row) => labelled(row, file));
  const classes = options.classes ?? labelsInOrder(rows.map((row) => row.label));
  const bySplit = new Map<string, Sample[]>();
  for (const row of rows) {
    const list = bySplit.get(row.split) ?? [];
    bySplit.set(row.split, list);
    list.push({ read: () => row.image, label: classId(row, classes, file), name: row.path });
  }
  const names = [...bySplit.keys()];
  const split = splitAmong(names, options.split);
  const samples = bySplit.get(split);
  if (!samples && bySplit.size)
    throw new TorchclipError(
      "E_DATASET_NOT_FOUND",
      `${file} has no split "${options.split ?? split}"; it has ${names.join(", ")}`,
      { subject: file },
    );
  const splits = [...bySplit].map(([name, list]) => countSplit(name, list, classes.length));
  return new Dataset({
    name: options.name ?? file,
    split,
    classes,
    samples: samples ?? [],
    splits,
    source: { kind: "path", location: file, hashKnown: false },
  });
}

/**
 * The name in the list of the wanted split, which may be another of its usual names. Where none is wanted,
 * "test", else the first. Where the list has none of these, the name that is missing.
 */
function splitAmong(names: readonly string[], wanted: string | undefined): string {
  if (wanted !== undefined && names.includes(wanted)) return wanted;
  const usual = wanted ? splitNames(wanted) : ["test", ...names.slice(0, 1)];
  return usual.find((name) => names.includes(name)) ?? usual[0] ?? "all";
}

type LabelledRow = ListRow & { label: string; split: string };

/**
 * A row with its label and split. Throws E_DATASET_FORMAT with the line where the label is missing or empty.
 */
function labelled(row: ListRow, file: string): LabelledRow {
  const { label, split } = row.columns;
  const text = typeof label === "number" ? String(label) : label;
  if (typeof text !== "string" || text.trim() === "") {
    const why =
      label === undefined ? `no column label; the row has ${describe(row.columns)}` : "the label is empty";
    throw new TorchclipError("E_DATASET_FORMAT", `${file}:${row.line}: ${why}`, {
      subject: file,
      index: row.line,
    });
  }
  return { ...row, label: text, split: typeof split === "string" && split ? split : "all" };
}

/** The different labels: by value where all are whole numbers, else by name. */
function labelsInOrder(labels: readonly string[]): string[] {
  const different = [...new Set(labels)];
  return different.every((label) => /^\d+$/.test(label))
    ? different.sort((a, b) => Number(a) - Number(b))
    : different.sort();
}

function classId({ label, line }: LabelledRow, classes: readonly string[], file: string): number {
  const byName = classes.indexOf(label);
  const id = byName < 0 && /^\d+$/.test(label) ? Number(label) : byName;
  if (id >= 0 && id < classes.length) return id;
  throw new TorchclipError(
    "E_LABEL_UNKNOWN",
    `${file}:${line}: the label "${shown(label)}" is none of ${shown(classes.slice(0, SHOWN).join(", "))}`,
    { subject: file, index: line },
  );
}

/** Sentences with labels, for rendering: a TSV of sentence and label, with or without a header line. */
export async function readSentences(file: string): Promise<{ text: string; label: string }[]> {
  const content = await readText(file);
  const lines = content.split(/\r?\n/).filter((l) => l.length > 0);
  if (/^(sentence|text)\tlabel$/i.test(lines[0] ?? "")) lines.shift();
  return lines.map((line, i) => {
    const tab = line.lastIndexOf("\t");
    if (tab < 0)
      throw new TorchclipError("E_DATASET_FORMAT", `${file}:${i + 1}: no tab between sentence and label`, {
        subject: file,
        index: i + 1,
      });
    return { text: line.slice(0, tab), label: line.slice(tab + 1).trim() };
  });
}
