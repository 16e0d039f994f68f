import { dirname, extname, resolve } from "node:path";
import { parse } from "csv-parse/sync";
import { TorchclipError } from "../../errors.js";
import { isLocation } from "../../redact.js";
import { readText } from "../../util/text-file.js";
import { isObject, shown, Untrusted } from "../../util/untrusted.js";

/** Endings of lists of images with columns. */
export const LIST_NAME = /\.(csv|tsv|jsonl)$/i;

/** A row of a list. */
export interface ListRow {
  /** The column path, or image, or file, as it stands there. */
  path: string;
  /** Absolute path of the image, relative ones taken from the list's folder, or its URL. */
  image: string;
  /** All columns by name. */
  columns: Record<string, unknown>;
  /** Line in the file, from 1: the last one of a row that has several. */
  line: number;
}

/**
 * A list of images: .csv, .tsv (no quotes) or .jsonl with a column path (or image, or file), or .txt with a
 * path a line; the ending in any case, with or without a byte order mark. Throws E_DATASET_FORMAT with the
 * line of what is wrong.
 */
export async function readList(file: string): Promise<ListRow[]> {
  const rows = await readRows(file);
  return rows.map(({ columns, line }) => {
    const path = columns.path ?? columns.image ?? columns.file;
    if (typeof path !== "string" || path.trim() === "") {
      const why = `no path in the column path (or image, or file); the row has ${describe(columns)}`;
      throw lineError(file, line, why);
    }
    return { path, image: isLocation(path) ? path : resolve(dirname(file), path), columns, line };
  });
}

/** A row as it stands in the file. */
export interface ParsedRow {
  /** By name. */
  columns: Record<string, unknown>;
  /** From 1: the last one of a row that has several. */
  line: number;
}

/**
 * The rows of a .csv, .tsv, .jsonl or .txt file. `separator`: what stands between the columns, where that is not what
 * the ending says. Throws E_DATASET_FORMAT with the line of what is wrong.
 */
export async function readRows(file: string, separator?: string): Promise<ParsedRow[]> {
  return recordsOf(await readText(file), extname(file).toLowerCase(), file, separator);
}

interface CsvRow {
  record: Record<string, unknown>;
  info: { lines: number };
}

function recordsOf(text: string, ending: string, file: string, separator?: string): ParsedRow[] {
  if (ending === ".txt" || ending === ".jsonl") {
    const lines = text.split(/\r?\n/).map((content, i) => ({ content, line: i + 1 }));
    const filled = lines.filter(({ content }) => content.trim() !== "");
    return filled.map(({ content, line }) => ({
      columns: ending === ".txt" ? { path: content } : jsonRecord(content, file, line),
      line,
    }));
  }
  const tabs = ending === ".tsv";
  try {
    const options = {
      columns: true,
      delimiter: separator ?? (tabs ? "\t" : ","),
      skip_empty_lines: true,
      quote: tabs ? null : '"',
      info: true,
    } as const;
    // The package's types leave out what its option `info` adds.
    const rows = parse(text, options) as unknown as CsvRow[];
    return rows.map(({ record, info }) => ({ columns: record, line: info.lines }));
  } catch (cause) {
    throw new TorchclipError("E_DATASET_FORMAT", `${file}: ${(cause as Error).message}`, {
      subject: file,
      cause,
    });
  }
}

/** A line of a .jsonl file: an object. Throws E_DATASET_FORMAT with the number of the line. */
function jsonRecord(line: string, file: string, number: number): Record<string, unknown> {
  let value: unknown;
  try {
    value = new Untrusted("E_DATASET_FORMAT", file).json(line, "JSON");
  } catch (cause) {
    throw lineError(file, number, (cause as Error).message, cause);
  }
  if (isObject(value)) return value;
  throw lineError(file, number, "the line is no JSON object");
}

/** The error of a line of a file, from 1. */
export function lineError(file: string, line: number, why: string, cause?: unknown): TorchclipError {
  return new TorchclipError("E_DATASET_FORMAT", `${file}:${line}: ${why}`, {
    subject: file,
    index: line,
    cause,
  });
}

/** The columns of a row, for messages. */
export function describe(columns: Record<string, unknown>): string {
  const names = Object.keys(columns);
  return names.length > 0 ? shown(names.join(", ")) : "no columns";
}
