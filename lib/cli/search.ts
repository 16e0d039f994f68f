import type { Command } from "commander";
import type { Clip } from "../clip/clip.js";
import type { TowerChoice } from "../clip/towers.js";
import type { Embeddings } from "../embeddings.js";
import type { IndexPrecision } from "../search/embedding-index.js";
import { isImageQuery } from "../search/query.js";
import { nearestHits, openStored, type IndexRecord, type StoredIndex } from "../search/stored.js";
import { loadForIndex } from "./index-model.js";
import { interruptSignal, note } from "./io.js";
import type { ImageFlags, ModelFlags } from "./options.js";
import { saveSheet } from "./sheet.js";

interface Flags extends ModelFlags, ImageFlags {
  topK: number;
  indexPrecision: IndexPrecision;
  indexDevice: string;
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

/** What `torchclip search` does. */
export async function run(file: string, given: string[], flags: Flags, command: Command): Promise<void> {
  const signal = interruptSignal();
  const queries = await readQueries(given, flags.text);
  const { indexPrecision: precision, indexDevice: device } = flags;
  const stored = await openStored(file, { precision, device, signal });
  try {
    const isModelGiven = command.getOptionValueSource("model") === "cli";
    const clip = await loadForIndex(stored, { ...flags, isModelGiven, towers: towersFor(queries) }, signal);
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

/** The towers that the queries need. */
function towersFor(queries: readonly Query[]): TowerChoice {
  if (queries.every(({ isImage }) => !isImage)) return "text";
  return queries.every(({ isImage }) => isImage) ? "image" : "both";
}

type SearchFlags = Pick<Flags, "topK" | "autoRotate"> & { signal: AbortSignal };

async function search(clip: Clip, stored: StoredIndex, query: Query, flags: SearchFlags): Promise<Found> {
  const hits = await nearestHits(stored, await embed(clip, query, flags), flags.topK);
  return { query: query.query, hits };
}

function embed(clip: Clip, { query, isImage }: Query, flags: SearchFlags): Promise<Embeddings> {
  const { autoRotate, signal } = flags;
  return isImage ? clip.encodeImages([query], { autoRotate, signal }) : clip.encodeTexts([query], { signal });
}

async function report(found: Found[], record: IndexRecord, { sheet, root, json }: Flags): Promise<void> {
  if (sheet) await saveSheet(sheet, found, { root, record, heading: "Search" });
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
