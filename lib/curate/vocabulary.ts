import { TorchclipError } from "../errors.js";
import { readLines } from "../util/text-file.js";

/** A label that images may get. */
export interface VocabularyEntry {
  label: string;
  /** Least probability, 0 to 1; undefined where the file does not say it. */
  threshold?: number;
}

/**
 * The labels of a file, one a line, with a least probability after a tab where one is given. E_DATASET_FORMAT,
 * with the line, for a label that is empty or stands twice and for a threshold that is no number in 0 to 1.
 *
 * @example
 * // tags.txt: "beach\nsunset\t0.8\n"
 * await readVocabulary("tags.txt"); // [{ label: "beach" }, { label: "sunset", threshold: 0.8 }]
 */
export async function readVocabulary(file: string): Promise<VocabularyEntry[]> {
  const lines = await readLines(file, "E_READ");
  const seen = new Set<string>();
  const entries = lines.map((line, i) => {
    const entry = parse(line, (why) => error(file, `entry ${i + 1} ${why}`));
    if (seen.has(entry.label)) throw error(file, `entry ${i + 1} stands twice: ${entry.label}`);
    seen.add(entry.label);
    return entry;
  });
  if (entries.length === 0) throw error(file, "it holds no label");
  return entries;
}

function parse(line: string, wrong: (why: string) => TorchclipError): VocabularyEntry {
  const [label = "", text = ""] = line.split("\t").map((part) => part.trim());
  if (label === "") throw wrong("has no label");
  if (text === "") return { label };
  const threshold = Number(text);
  if (!(threshold >= 0 && threshold <= 1))
    throw wrong(`has a threshold that is no number in 0 to 1: ${text}`);
  return { label, threshold };
}

function error(file: string, why: string): TorchclipError {
  return new TorchclipError("E_DATASET_FORMAT", `${file}: ${why}`, { subject: file });
}
