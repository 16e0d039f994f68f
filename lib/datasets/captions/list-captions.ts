import { TorchclipError } from "../../errors.js";
import { readText } from "../../util/text-file.js";
import { splitNames } from "../formats/folder.js";
import { describe, lineError, readRows, type ParsedRow } from "../formats/list-file.js";
import type { CaptionOptions } from "./caption-set.js";
import { checkNoSplit, type Listed, type ListedImage } from "./json-captions.js";
import type { Problems } from "./problems.js";

/** Columns of images and captions; open_clip's `filepath` and `title` come first. */
const IMAGE_KEYS = ["filepath", "path", "image", "file"];
const CAPTION_KEYS = ["title", "caption", "captions", "text"];

/** Images in the order of their first captions. */
class Grouped {
  private readonly byName = new Map<string, ListedImage>();

  add(name: string, caption: string): void {
    const image = this.byName.get(name) ?? { name, captions: [] };
    this.byName.set(name, image);
    image.captions.push(caption);
  }

  images(most: number | undefined): ListedImage[] {
    return [...this.byName.values()].map(({ name, captions }) => ({
      name,
      captions: captions.slice(0, most),
    }));
  }
}

/**
 * A .csv, .tsv or .jsonl list of images and captions: a row for each caption, so that an image may have several,
 * or in .jsonl also a list of captions. Throws E_DATASET_FORMAT with the line of what is wrong.
 */
export async function readListCaptions(
  file: string,
  options: CaptionOptions,
  problems: Problems,
): Promise<Listed> {
  const rows = await readRows(file, options.separator);
  const splits = new Set(rows.map(splitOf));
  const split = wantedSplit(file, splits, options.split);
  const grouped = new Grouped();
  for (const row of rows) {
    const own = splitOf(row);
    if (own !== undefined && !splitNames(split).includes(own)) continue;
    const name = imageOf(row, file, options.imageKey);
    const captions = captionsOf(row, file, options.captionKey);
    if (captions.length === 0) problems.addImageWithoutCaption(name);
    for (const caption of captions) {
      if (caption.trim() === "") problems.addEmptyCaption(`line ${row.line} (${name})`);
      else grouped.add(name, caption);
    }
  }
  return { split, images: grouped.images(options.maxCaptions) };
}

function splitOf({ columns: { split } }: ParsedRow): string | undefined {
  return typeof split === "string" && split !== "" ? split : undefined;
}

/** The split that is asked for; without a name "test", else the first. */
function wantedSplit(
  file: string,
  found: ReadonlySet<string | undefined>,
  wanted: string | undefined,
): string {
  const names = [...found].filter((name) => name !== undefined);
  if (names.length === 0) {
    checkNoSplit(file, wanted);
    return "all";
  }
  const split = wanted ?? names.find((name) => name === "test") ?? names[0] ?? "all";
  if (names.some((name) => splitNames(split).includes(name))) return split;
  throw new TorchclipError(
    "E_DATASET_NOT_FOUND",
    `${file} has no split "${split}"; it has ${names.join(", ")}`,
    { subject: file },
  );
}

function imageOf(row: ParsedRow, file: string, key: string | undefined): string {
  const keys = key === undefined ? IMAGE_KEYS : [key];
  const value = firstOf(row, keys);
  if (typeof value === "string" && value.trim() !== "") return value;
  throw noValue(row, file, "image", keys);
}

function captionsOf(row: ParsedRow, file: string, key: string | undefined): string[] {
  const keys = key === undefined ? CAPTION_KEYS : [key];
  const value = firstOf(row, keys);
  const captions = Array.isArray(value) ? (value as unknown[]) : [value];
  if (captions.every((caption) => typeof caption === "string")) return captions;
  throw noValue(row, file, "caption", keys);
}

function firstOf({ columns }: ParsedRow, keys: readonly string[]): unknown {
  return keys.map((key) => columns[key]).find((value) => value !== undefined);
}

function noValue(row: ParsedRow, file: string, what: string, keys: readonly string[]): TorchclipError {
  const [first = "", ...others] = keys;
  const column = others.length > 0 ? `${first} (or ${others.join(", ")})` : first;
  const why = `no ${what} in the column ${column}; the row has ${describe(row.columns)}`;
  return lineError(file, row.line, why);
}

/** The image's name ends at the first of these, as in CLIP_benchmark's reader: captions have commas as well. */
const NAME_END = /\.(jpe?g|png|webp),/i;

/**
 * CLIP_benchmark's `flickr30k_test_karpathy.txt`: a line of `image,caption` as a heading, then a line for each
 * caption, `1007129816.jpg,The man with pierced ears…`, without quotes.
 */
export async function readTextCaptions(
  file: string,
  options: CaptionOptions,
  problems: Problems,
): Promise<Listed> {
  checkNoSplit(file, options.split);
  const grouped = new Grouped();
  const lines = (await readText(file)).split(/\r?\n/);
  for (const [i, line] of lines.entries()) {
    const end = NAME_END.exec(line);
    if (end) {
      const name = line.slice(0, end.index + end[0].length - 1).trim();
      const caption = line.slice(end.index + end[0].length).trim();
      if (caption === "") problems.addEmptyCaption(`line ${i + 1} (${name})`);
      else grouped.add(name, caption);
    } else if (i > 0 && line.trim() !== "") {
      throw lineError(file, i + 1, 'no "image.jpg,caption"');
    }
  }
  return { split: "all", images: grouped.images(options.maxCaptions) };
}
