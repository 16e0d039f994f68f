import { randomBytes } from "node:crypto";
import { TorchclipError } from "../errors.js";
import { openInput } from "./input.js";
import { digestOf, writeList, type CutOptions } from "./list.js";
import { parseLocation } from "./location.js";
import {
  DONE,
  listFolder,
  MANIFEST,
  readRanges,
  readRun,
  RUN,
  type Run,
  type RunSettings,
  type Shard,
} from "./run.js";
import type { S3Options } from "./s3.js";
import type { ShardQueue } from "./shard-queue.js";
import { openStore } from "./open-store.js";
import type { Store } from "./store.js";

export interface EnqueueOptions extends CutOptions {
  settings: RunSettings;
  s3?: S3Options;
}

export interface Enqueued {
  run: Run;
  /** Where the run writes. */
  out: string;
  /** Shards that an earlier call and its workers had done. */
  done: number;
  /** Whether the run was there before this call. */
  resumed: boolean;
  notes: string[];
}

/**
 * Puts the embedding of a list on a queue: writes the list and its cut into shards beside the output, and
 * adds a job for each shard. The same call again goes on: it adds the shards that are neither done nor on the
 * queue, also after Redis lost everything, and gives shards that failed new attempts.
 *
 * Throws E_ARGUMENT where `out` holds another run; E_QUEUE while the queue works on another one.
 *
 * @param given what `openInput` takes.
 * @param out a folder that all workers see, or s3://bucket/prefix.
 *
 * @example
 * const queue = await ShardQueue.connect("redis://localhost");
 * await enqueue(queue, "photos.jsonl", "/shared/photos", { settings: { model, precision: "fp32", format: "npy" } });
 */
export async function enqueue(
  queue: ShardQueue,
  given: string,
  out: string,
  options: EnqueueOptions,
): Promise<Enqueued> {
  const location = parseLocation(out, "out");
  const store = await openStore(location, options.s3);
  const input = await openInput(given, options.s3);
  const there = await readRun(store);
  if (there) await checkSame(store, there, input.images(), options.settings);
  const run = there ?? (await writeRun(store, input, options));
  const isNew = await queue.begin({ id: run.id, out: store.where, shards: run.shards, rows: run.rows });
  const done = await doneShards(store);
  const ranges = await readRanges(store, run);
  const open = ranges.filter(({ shard }) => !done.has(shard));
  if (isNew) await queue.addProgress(run.rows - rowsOf(open), 0);
  if (open.length > 0) await store.remove([MANIFEST]); // a record was removed, so that its shard is done anew
  await queue.add(run.id, open);
  return { run, out: store.where, done: done.size, resumed: there !== undefined, notes: input.notes };
}

const rowsOf = (shards: readonly Shard[]): number => shards.reduce((sum, { rows }) => sum + rows, 0);

/** The numbers of the shards that are done, by the names of their records. */
export async function doneShards(store: Store): Promise<Set<number>> {
  const done = new Set<number>();
  for await (const { name } of store.list(DONE)) {
    const [, digits] = /\/(\d+)\.json$/.exec(name) ?? [];
    if (digits) done.add(Number(digits));
  }
  return done;
}

async function writeRun(
  store: Store,
  input: { name: string; images: () => AsyncGenerator<{ name: string; image: string }> },
  { settings, ...cut }: EnqueueOptions,
): Promise<Run> {
  if (await store.read(MANIFEST)) throw otherRun(store, "a finished run without its run.json");
  const id = randomBytes(6).toString("hex");
  const { name } = input;
  const { digest, rows, ranges } = await writeList(store, id, { name, images: input.images() }, cut);
  const run: Run = { version: 1, id, input: name, digest, rows, shards: ranges.length, settings };
  if (await store.create(RUN, `${JSON.stringify(run)}\n`)) return run;
  // Another call was quicker: its run counts, where it is the same.
  const names: string[] = [];
  for await (const { name: part } of store.list(listFolder(id))) names.push(part);
  await store.remove(names);
  const winner = await readRun(store);
  if (!winner) throw new TorchclipError("E_QUEUE", `${store.where}/${RUN} was removed meanwhile`);
  await checkSame(store, winner, input.images(), settings);
  return winner;
}

async function checkSame(
  store: Store,
  there: Run,
  images: AsyncIterable<{ name: string; image: string }>,
  settings: RunSettings,
): Promise<void> {
  const names = new Set([...Object.keys(settings), ...Object.keys(there.settings)]) as Set<keyof RunSettings>;
  const differing = [...names].find((name) => settings[name] !== there.settings[name]);
  if (differing) {
    const [before, now] = [there.settings[differing], settings[differing]].map(String);
    throw otherRun(store, `a run with ${differing} ${before}, not ${now}`);
  }
  if ((await digestOf(images)) !== there.digest)
    throw otherRun(store, `a run of another list (${there.rows} images)`);
}

function otherRun(store: Store, what: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", `${store.where} holds ${what}; take another --out`, {
    subject: "out",
  });
}
