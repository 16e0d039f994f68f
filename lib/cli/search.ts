import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { Argument, Option, type Command } from "commander";
import { load } from "../clip.js";
import { TorchclipError } from "../errors.js";
import { contactSheetHtml, contactSheetPng } from "../report/sheet.js";
import { EmbeddingIndex, type IndexPrecision } from "../search/index.js";
import { IMAGE_NAME } from "../datasets/index.js";
import { writeFileWhole } from "../util/files.js";
import { interruptSignal, note } from "./io.js";
import { imageOptions, loadOptions, modelOptions, whole, type ImageFlags, type ModelFlags } from "./options.js";

interface Flags extends ModelFlags, ImageFlags {
  topK: number;
  indexPrecision: IndexPrecision;
  sheet?: string;
  root?: string;
  autoRotate?: boolean;
  json?: boolean;
}

interface Names {
  names: string[];
  input?: string;
  kind?: string;
  model?: { weights?: { sha256?: string } };
}

export function searchCommand(program: Command): void {
  imageOptions(modelOptions(program.command("search").description("the images or texts of an index that are nearest to a text or an image")))
    .addArgument(new Argument("<index>", "a .npy that `torchclip embed` wrote (its .npy.json gives the names)"))
    .addArgument(new Argument("<query...>", "texts, or paths of pictures"))
    .addOption(new Option("-k, --top-k <n>", "how many").argParser(whole(1)).default(10))
    .addOption(
      new Option("--index-precision <type>", "fp32 searches the mapped file; bf16 and int8 hold it smaller").choices(["fp32", "bf16", "int8"]).default("fp32"),
    )
    .option("--sheet <file>", "a contact sheet of the pictures found: .png or .html")
    .option("--root <folder>", "where the index's pictures are, if not where they were embedded from")
    .option("--auto-rotate", "turn a query image as its EXIF orientation says, for an index that was embedded so")
    .option("--json", "print JSON")
    .action(run);
}

async function run(file: string, queries: string[], flags: Flags): Promise<void> {
  const signal = interruptSignal();
  const index = await EmbeddingIndex.open(file, { precision: flags.indexPrecision });
  const about = await readNames(file, index.rows);
  const clip = await load(flags.model, loadOptions(flags, signal));
  try {
    const wanted = about.model?.weights?.sha256;
    if (wanted && wanted !== clip.info.config.source.sha256)
      note(`Note: ${file} was embedded with other weights (SHA-256 ${wanted.slice(0, 12)}…) than ${flags.model}; the scores mean nothing unless they agree.`);
    if (clip.info.embedDim !== index.dim)
      throw new TorchclipError("E_ARGUMENT", `${file} holds vectors of ${index.dim}, ${flags.model} makes ${clip.info.embedDim}`, { subject: file });
    const found: { query: string; hits: { rank: number; row: number; name: string; score: number }[] }[] = [];
    for (const query of queries) {
      const isImage = IMAGE_NAME.test(query) && (await stat(query).catch(() => undefined))?.isFile();
      const embedded = isImage ? await clip.encodeImages([query], { autoRotate: flags.autoRotate, signal }) : await clip.encodeTexts([query], { signal });
      const { indices, scores } = await index.search(embedded, flags.topK);
      const hits = Array.from(indices, (row, i) => ({ rank: i + 1, row, name: about.names[row] ?? `row ${row}`, score: scores[i] })).filter((h) => h.row >= 0);
      found.push({ query, hits });
    }
    if (flags.sheet) await saveSheet(flags.sheet, found, flags.root, about.kind === "images" ? about.input : undefined);
    if (flags.json) {
      process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
      return;
    }
    for (const { query, hits } of found) {
      process.stdout.write(`${query}\n`);
      for (const h of hits) process.stdout.write(`${String(h.rank).padStart(4)}  ${h.score.toFixed(4)}  ${h.name}\n`);
    }
    if (flags.sheet) note(`Saved: ${flags.sheet}`);
  } finally {
    await clip.close();
  }
}

async function readNames(file: string, rows: number): Promise<Names> {
  const text = await readFile(`${file}.json`, "utf8").catch(() => undefined);
  if (text === undefined) return { names: [] };
  try {
    const about = JSON.parse(text) as Names;
    if (!Array.isArray(about.names) || about.names.length !== rows) throw new Error(`it names ${about.names?.length} rows, the index has ${rows}`);
    return about;
  } catch (cause) {
    throw new TorchclipError("E_DATASET_FORMAT", `${file}.json: ${(cause as Error).message}`, { subject: `${file}.json`, cause });
  }
}

type Found = { query: string; hits: { name: string; score: number }[] }[];

/** `named` is the folder that the index names, where the command line names none. */
async function saveSheet(file: string, found: Found, given: string | undefined, named: string | undefined): Promise<void> {
  const root = given ?? named;
  if (!root || !(await stat(root).catch(() => undefined))?.isDirectory())
    throw new TorchclipError("E_ARGUMENT", "a contact sheet needs the folder of the index's pictures: --root FOLDER", { subject: "root" });
  if (!given) note(`Images for the contact sheet come from ${root}, which the index names.`);
  if (/\.html?$/i.test(file)) await writeFileWhole(file, await contactSheetHtml(found, root, dirname(file)));
  else if (/\.png$/i.test(file)) await writeFileWhole(file, await contactSheetPng(found, root));
  else throw new TorchclipError("E_ARGUMENT", `a contact sheet is a .png or .html file, not ${file}`, { subject: "sheet" });
}
