import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { Argument, Option, type Command } from "commander";
import type { Clip } from "../clip/clip.js";
import type { Embeddings } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import { contactSheetHtml, contactSheetPng } from "../report/sheet.js";
import type { IndexPrecision } from "../search/embedding-index.js";
import { isImageQuery } from "../search/query.js";
import { openStored, type IndexRecord, type StoredIndex } from "../search/stored.js";
import { writeFileWhole } from "../util/files.js";
import { loadForIndex } from "./index-model.js";
import { interruptSignal, note } from "./io.js";
import { imageOptions, modelOptions, whole, type ImageFlags, type ModelFlags } from "./options.js";

interface Flags extends ModelFlags, ImageFlags {
  topK: number;
  indexPrecision: IndexPrecision;
  text?: boolean;
  force?: boolean;
  sheet?: string;
  root?: string;
  autoRotate?: boolean;
  json?: boolean;
}

interface Query {
  query: string;
  isImage: boolean;
}

interface Found {
  query: string;
  hits: { rank: number; row: number; name: string; score: number }[];
}

const DESCRIPTION = "the images or texts of an index that are nearest to a text or an image";
const PRECISIONS: readonly IndexPrecision[] = ["fp32", "bf16", "int8"];
const PRECISION = "fp32 searches the exact rows; bf16 and int8 hold them smaller";

export function searchCommand(program: Command): void {
  const described = program.command("search").description(DESCRIPTION);
  imageOptions(modelOptions(described))
    .addArgument(new Argument("<index>", "a .npy (with its .npy.json) or a .parquet of `torchclip embed`"))
    .addArgument(new Argument("<query...>", "texts, or paths and URLs of images"))
    .option("--text", "take every query for a text, also one that is written as a path or a URL")
    .option("--force", "search also with other weights than those that made the index")
    .addOption(new Option("-k, --top-k <n>", "how many").argParser(whole(1)).default(10))
    .addOption(new Option("--index-precision <type>", PRECISION).choices([...PRECISIONS]).default("fp32"))
    .option("--sheet <file>", "a contact sheet of the images found: .png or .html")
    .option("--root <folder>", "where the index's images are, if not where they were embedded from")
    .option("--auto-rotate", "turn a query image as its EXIF orientation says; for an index embedded so")
    .option("--json", "print JSON")
    .action(run);
  // What the other commands take by default would search an index of another model.
  const model = described.options.find((option) => option.attributeName() === "model");
  model?.default(model.defaultValue, "the model that made the index");
}

async function run(file: string, given: string[], flags: Flags, command: Command): Promise<void> {
  const signal = interruptSignal();
  const queries = await readQueries(given, flags.text);
  const stored = await openStored(file, { precision: flags.indexPrecision, signal });
  try {
    const isModelGiven = command.getOptionValueSource("model") === "cli";
    const clip = await loadForIndex(stored, { ...flags, isModelGiven }, signal);
    try {
      const found: Found[] = [];
      for (const query of queries) found.push(await search(clip, stored, query, { ...flags, signal }));
      await report(found, stored.record, flags);
    } finally {
      await clip.close();
    }
  } finally {
    stored.index.close();
  }
}

async function readQueries(given: readonly string[], areTexts = false): Promise<Query[]> {
  const queries: Query[] = [];
  for (const query of given) queries.push({ query, isImage: !areTexts && (await isImageQuery(query)) });
  return queries;
}

type SearchFlags = Pick<Flags, "topK" | "autoRotate"> & { signal: AbortSignal };

async function search(clip: Clip, stored: StoredIndex, query: Query, flags: SearchFlags): Promise<Found> {
  const { indices, scores } = await stored.index.search(await embed(clip, query, flags), flags.topK);
  const nameOf = (row: number) => stored.names[row] ?? `row ${row}`;
  const hits = Array.from(indices, (row, i) => ({ rank: i + 1, row, name: nameOf(row), score: scores[i] }));
  // Row −1 stands for a hit that is not there: rows of failed items are NaN and are never found.
  return { query: query.query, hits: hits.filter(({ row }) => row >= 0) };
}

function embed(clip: Clip, { query, isImage }: Query, flags: SearchFlags): Promise<Embeddings> {
  const { autoRotate, signal } = flags;
  return isImage ? clip.encodeImages([query], { autoRotate, signal }) : clip.encodeTexts([query], { signal });
}

async function report(found: Found[], record: IndexRecord, { sheet, root, json }: Flags): Promise<void> {
  if (sheet) await saveSheet(sheet, found, root, record.kind === "images" ? record.input : undefined);
  if (json) {
    process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
    return;
  }
  for (const { query, hits } of found) {
    process.stdout.write(`${query}\n`);
    for (const hit of hits) process.stdout.write(hitLine(hit));
  }
  if (sheet) note(`Saved: ${sheet}`);
}

function hitLine({ rank, score, name }: Found["hits"][number]): string {
  return `${String(rank).padStart(4)}  ${score.toFixed(4)}  ${name}\n`;
}

/** `named` is the folder that the index names, where the command line names none. */
async function saveSheet(file: string, found: Found[], given?: string, named?: string): Promise<void> {
  const root = given ?? named;
  if (!root || !(await stat(root).catch(() => undefined))?.isDirectory()) {
    const message = "a contact sheet needs the folder of the index's images: --root FOLDER";
    throw new TorchclipError("E_ARGUMENT", message, { subject: "root" });
  }
  if (!given) note(`Images for the contact sheet come from ${root}, which the index names.`);
  if (/\.html?$/i.test(file)) {
    await writeFileWhole(file, await contactSheetHtml(found, root, dirname(file)));
  } else if (/\.png$/i.test(file)) {
    await writeFileWhole(file, await contactSheetPng(found, root));
  } else {
    const message = `a contact sheet is a .png or .html file, not ${file}`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "sheet" });
  }
}
