import { TorchclipError } from "../errors.js";
import { mapLimited } from "../util/iterate.js";
import { packageVersion } from "../util/package.js";
import { doneShards } from "./enqueue.js";
import {
  FAILED,
  listFolder,
  MANIFEST,
  MODEL,
  readDone,
  readRanges,
  SHARDS,
  type DoneShard,
  type FailedImage,
  type Run,
  type Shard,
} from "./run.js";
import { readImages } from "./shard-images.js";
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
  const found = await mapLimited(ranges, AT_ONCE, (range) => readMerged(store, range));
  const shards = found.filter((shard) => shard !== undefined);
  if (shards.length < run.shards) return undefined;
  checkWeights(store, shards);
  await checkFiles(store, shards);
  await store.write(FAILED, failedLines(store, run, ranges, shards));
  await store.write(MANIFEST, manifestLines(await headOf(store, run, shards), shards));
  await store.sweep();
  return { rows: run.rows, shards: run.shards, failed: failedIn(shards) };
}

/** The record of a shard with the number of its errors in their place: of all shards they may be many. */
type MergedShard = Omit<DoneShard, "errors"> & { failed: number };

const failedIn = (shards: readonly MergedShard[]): number =>
  shards.reduce((sum, { failed }) => sum + failed, 0);

async function readMerged(store: Store, range: Shard): Promise<MergedShard | undefined> {
  const done = await readDone(store, range.shard);
  if (!done) return undefined;
  if (done.rows !== range.rows || done.first !== range.first) {
    const message = `${store.where}: the record of shard ${range.shard} is of another run`;
    throw new TorchclipError("E_QUEUE", message, { subject: store.where });
  }
  const { errors, ...rest } = done;
  return { ...rest, failed: errors.length };
}

/** All files of the records must be there; those of no record are of workers that were stopped. */
async function checkFiles(store: Store, done: readonly MergedShard[]): Promise<void> {
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
async function* failedLines(
  store: Store,
  run: Run,
  ranges: readonly Shard[],
  shards: readonly MergedShard[],
): AsyncGenerator<string> {
  for (const { shard, first, failed } of shards) {
    const done = failed > 0 ? await readDone(store, shard) : undefined;
    if (!done) continue;
    const images = await readImages(store, run, ranges[shard]);
    for (const error of done.errors) yield failedLine(error, images[error.index].image, shard, first);
  }
}

function failedLine(
  { index, name, code, message }: FailedImage,
  image: string,
  shard: number,
  first: number,
): string {
  return `${JSON.stringify({ image, name, row: first + index, shard, index, code, message })}\n`;
}

/** What the manifest says of all shards. */
async function headOf(store: Store, run: Run, shards: readonly MergedShard[]): Promise<object> {
  const model = JSON.parse((await store.read(MODEL))?.toString("utf8") ?? "{}") as object;
  return {
    torchclip: packageVersion(),
    run: run.id,
    input: run.input,
    list: listFolder(run.id),
    digest: run.digest,
    settings: run.settings,
    model,
    rows: run.rows,
    dim: shards[0].dim,
    failed: failedIn(shards),
  };
}

/** JSON with a line for each shard, so that the file can be read, compared and cut by lines. */
async function* manifestLines(head: object, shards: readonly MergedShard[]): AsyncGenerator<string> {
  yield `${JSON.stringify(head).slice(0, -1)},"shards":[\n`;
  for (const [i, { shard, first, rows, failed, device, files }] of shards.entries()) {
    const end = i + 1 < shards.length ? "," : "";
    yield `${JSON.stringify({ shard, first, rows, failed, device, files })}${end}\n`;
  }
  yield "]}\n";
  await Promise.resolve();
}

function checkWeights(store: Store, done: readonly MergedShard[]): void {
  const of = ({ weights, precision, dim }: MergedShard) => `${weights} ${precision} ${dim}`;
  const other = done.find((shard) => of(shard) !== of(done[0]));
  if (!other) return;
  const message = `${store.where}: shard ${other.shard} is of another model than shard ${done[0].shard}`;
  throw new TorchclipError("E_QUEUE", message, { subject: store.where });
}
