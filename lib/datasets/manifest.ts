import { readFile } from "node:fs/promises";
import { dirname, extname, resolve } from "node:path";
import { parse } from "csv-parse/sync";
import { TorchclipError } from "../errors.js";
import { shown, Untrusted } from "../util/untrusted.js";
import { countSplit, Dataset, type Sample } from "./dataset.js";

interface Row {
  path: string;
  label: string;
  split: string;
  line: number;
}

export interface ManifestOptions {
  split?: string;
  /** Class names in order of their ids. Default: the labels found, sorted; labels that are 0, 1, 2 … are ids of these. */
  classes?: string[];
  name?: string;
}

/** A list of pictures in CSV, TSV or JSONL with the columns path (or image), label and, optionally, split. */
export async function manifestDataset(file: string, options: ManifestOptions = {}): Promise<Dataset> {
  const rows = await readRows(file);
  const labels = [...new Set(rows.map((r) => r.label))].sort();
  const classes = options.classes ?? labels;
  const idOf = (row: Row): number => {
    const byName = classes.indexOf(row.label);
    const id = byName >= 0 ? byName : /^\d+$/.test(row.label) ? Number(row.label) : -1;
    if (id < 0 || id >= classes.length) {
      throw new TorchclipError("E_LABEL_UNKNOWN", `${file}:${row.line}: the label "${shown(row.label)}" is none of ${shown(classes.slice(0, 10).join(", "))}`, {
        subject: file,
        index: row.line,
      });
    }
    return id;
  };
  const bySplit = new Map<string, Sample[]>();
  for (const row of rows) {
    const list = bySplit.get(row.split) ?? [];
    bySplit.set(row.split, list);
    const remote = /^(https?|file):/i.test(row.path);
    list.push({ image: remote ? row.path : resolve(dirname(file), row.path), label: idOf(row), name: row.path });
  }
  const split = options.split ?? (bySplit.has("test") ? "test" : ([...bySplit.keys()][0] ?? "all"));
  const samples = bySplit.get(split);
  if (!samples && bySplit.size)
    throw new TorchclipError("E_DATASET_NOT_FOUND", `${file} has no split "${split}"; it has ${[...bySplit.keys()].join(", ")}`, { subject: file });
  const splits = [...bySplit].map(([name, list]) => countSplit(name, list, classes.length));
  return new Dataset({ name: options.name ?? file, split, classes, samples: samples ?? [], splits });
}

async function readRows(file: string): Promise<Row[]> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new TorchclipError("E_DATASET_NOT_FOUND", `cannot read ${file}: ${(cause as Error).message}`, { subject: file, cause });
  });
  let records: Record<string, unknown>[];
  try {
    records =
      extname(file) === ".jsonl"
        ? text
            .split("\n")
            .filter((l) => l.trim())
            .map((l, i) => jsonRecord(l, file, i + 1))
        : parse(text, {
            columns: true,
            delimiter: extname(file) === ".tsv" ? "\t" : ",",
            skip_empty_lines: true,
            bom: true,
            quote: extname(file) === ".tsv" ? null : '"',
          });
  } catch (cause) {
    if (cause instanceof TorchclipError) throw cause;
    throw new TorchclipError("E_DATASET_FORMAT", `${file}: ${(cause as Error).message}`, { subject: file, cause });
  }
  const header = extname(file) === ".jsonl" ? 1 : 2;
  return records.map((r, i) => {
    const path = r.path ?? r.image ?? r.file;
    const { label, split } = r;
    if (typeof path !== "string" || !(typeof label === "string" || typeof label === "number")) {
      throw new TorchclipError("E_DATASET_FORMAT", `${file}:${i + header}: needs the columns path and label; it has ${shown(Object.keys(r).join(", "))}`, {
        subject: file,
        index: i + header,
      });
    }
    return { path, label: String(label), split: typeof split === "string" && split ? split : "all", line: i + header };
  });
}

/** A line of a .jsonl file: an object. Throws E_DATASET_FORMAT with the number of the line. */
export function jsonRecord(line: string, file: string, number: number): Record<string, unknown> {
  const check = new Untrusted("E_DATASET_FORMAT", file);
  return check.object(check.json(line, `line ${number}`), `line ${number}`);
}

/** Sentences with labels, for rendering: a TSV of sentence and label, with or without a header line. */
export async function readSentences(file: string): Promise<{ text: string; label: string }[]> {
  if (typeof file !== "string") throw new TorchclipError("E_ARGUMENT", "the list of sentences must be a path", { subject: "file" });
  const content = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new TorchclipError("E_DATASET_NOT_FOUND", `cannot read ${file}: ${(cause as Error).message}`, { subject: file, cause });
  });
  const lines = content.split(/\r?\n/).filter((l) => l.length > 0);
  if (/^(sentence|text)\tlabel$/i.test(lines[0] ?? "")) lines.shift();
  return lines.map((line, i) => {
    const tab = line.lastIndexOf("\t");
    if (tab < 0) throw new TorchclipError("E_DATASET_FORMAT", `${file}:${i + 1}: no tab between sentence and label`, { subject: file, index: i + 1 });
    return { text: line.slice(0, tab), label: line.slice(tab + 1).trim() };
  });
}
