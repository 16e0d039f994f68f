import { TorchclipError } from "../errors.js";
import { mapLimited } from "../util/iterate.js";
import { packageVersion } from "../util/package.js";
import { doneShards } from "./enqueue.js";
import {
  FAILED,
  listFolder,
  MANIFEST,
  MODEL,
  partName,
  readDone,
  readRanges,
  SHARDS,
  type DoneShard,
  type FailedImage,
  type Run,
  type Shard,
} from "./run.js";
import { parseImages } from "./shard-images.js";
import type { Store } from "./store.js";

const AT_ONCE = 32; // records that are read

export interface Merged {
  rows: number;
  shards: number;
  failed: number;
}

/**
 * Writes manifest.json, which lists the shards of a run in their order, and failed.jsonl with the images that
 * have no embedding; removes what no record names. Undefined, and nothing is written, while shards are not
 * done. It may run as often as one likes, and several times at once: it writes the same bytes.
 *
 * Throws E_QUEUE where records do not fit the run, or a shard's file is missing or has another size.
 */
export async function merge(store: Store, run: Run): Promise<Merged | undefined> {
  if ((await doneShards(store)).size < run.shards) return undefined;
  const ranges = await readRanges(store, run);
  const records = await mapLimited(ranges, AT_ONCE, (range) => recordOf(store, range));
  if (records.includes(undefined)) return undefined;
  const done = records as DoneShard[];
  await checkFiles(store, done);
  const failed = done.reduce((sum, { errors }) => sum + errors.length, 0);
  await store.write(FAILED, await failedLines(store, run, ranges, done));
  await store.write(MANIFEST, await manifestOf(store, run, done, failed));
  await store.sweep();
  return { rows: run.rows, shards: run.shards, failed };
}

async function recordOf(store: Store, range: Shard): Promise<DoneShard | undefined> {
  const done = await readDone(store, range.shard);
  if (done && (done.rows !== range.rows || done.first !== range.first)) {
    const message = `${store.where}: the record of shard ${range.shard} is of another run`;
    throw new TorchclipError("E_QUEUE", message, { subject: store.where });
  }
  return done;
}

/** All files of the records must be there; those of no record are of workers that were stopped. */
async function checkFiles(store: Store, done: readonly DoneShard[]): Promise<void> {
  const there = new Map<string, number>();
  for await (const { name, bytes } of store.list(SHARDS)) there.set(name, bytes);
  for (const { shard, files } of done) {
    for (const { name, bytes } of files) {
      const found = there.get(name);
      if (found !== bytes) throw damaged(store, name, shard, found);
      there.delete(name);
    }
  }
  await store.remove([...there.keys()]);
}

function damaged(store: Store, name: string, shard: number, bytes: number | undefined): TorchclipError {
  const what = bytes === undefined ? "is missing" : `has ${bytes} bytes, not those that were written`;
  const remedy = `remove the record of shard ${shard} in done/ and enqueue again`;
  return new TorchclipError("E_QUEUE", `${store.where}/${name} ${what}; ${remedy}`, { subject: name });
}

/** A line for each image without an embedding, in a form that `--enqueue` takes as a list. */
async function failedLines(
  store: Store,
  run: Run,
  ranges: readonly Shard[],
  done: readonly DoneShard[],
): Promise<string> {
  const lines: string[] = [];
  for (const { shard, first, errors } of done) {
    if (errors.length === 0) continue;
    const range = ranges[shard];
    const part = partName(run.id, range.part);
    const bytes = await store.readRange(part, range.at, range.length);
    const images = parseImages(bytes, range, `${store.where}/${part}`);
    for (const error of errors) lines.push(failedLine(error, images[error.index]?.image, shard, first));
  }
  return lines.join("");
}

function failedLine(
  { index, name, code, message }: FailedImage,
  image: string | undefined,
  shard: number,
  first: number,
): string {
  return `${JSON.stringify({ image: image ?? name, name, row: first + index, shard, index, code, message })}\n`;
}

async function manifestOf(
  store: Store,
  run: Run,
  done: readonly DoneShard[],
  failed: number,
): Promise<string> {
  const model = JSON.parse((await store.read(MODEL))?.toString("utf8") ?? "{}") as { dim?: number };
  const head = {
    torchclip: packageVersion(),
    run: run.id,
    input: run.input,
    list: listFolder(run.id),
    digest: run.digest,
    settings: run.settings,
    model,
    rows: run.rows,
    dim: done[0]?.dim,
    failed,
  };
  checkWeights(store, done);
  const shards = done.map(({ shard, first, rows, device, files, errors }) => {
    return { shard, first, rows, failed: errors.length, device, files };
  });
  // A line for each shard, so that the file can be read, compared and cut by lines.
  const lines = shards.map((shard) => JSON.stringify(shard)).join(",\n");
  return `${JSON.stringify(head).slice(0, -1)},"shards":[\n${lines}\n]}\n`;
}

function checkWeights(store: Store, done: readonly DoneShard[]): void {
  const of = ({ weights, precision, dim }: DoneShard) => `${weights} ${precision} ${dim}`;
  const other = done.find((shard) => of(shard) !== of(done[0]));
  if (!other) return;
  const message = `${store.where}: shard ${other.shard} is of another model than shard ${done[0].shard}`;
  throw new TorchclipError("E_QUEUE", message, { subject: store.where });
}
