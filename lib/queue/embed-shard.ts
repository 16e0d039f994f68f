import { createHash } from "node:crypto";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clip } from "../clip/clip.js";
import { embedImages, type EmbedResult } from "../embed/embed.js";
import type { ImageSource } from "../embed/sources.js";
import { TorchclipError, toTorchclipError } from "../errors.js";
import { hashFile } from "../util/files.js";
import {
  doneName,
  MODEL,
  numberOf,
  readDone,
  SHARDS,
  type DoneShard,
  type Run,
  type Shard,
  type ShardFile,
} from "./run.js";
import type { Store } from "./store.js";

/** Digits of a hash in a name: 64 bits. */
const NAME_DIGITS = 16;

export interface ShardWork {
  clip: Clip;
  store: Store;
  run: Run;
}

/**
 * Embeds a shard and makes it part of the run. The files get names with the hash of their content; the
 * record, which names them, is created only where there is none. So a shard that several workers embed, as a
 * queue that delivers at least once may let them, is in the run once: two workers of one kind write the same
 * file, and of two kinds (a CPU, a GPU) the first one counts and the other removes its file.
 *
 * Resolves with the record; `isOurs` is whether this call made it.
 */
export async function embedShard(
  { clip, store, run }: ShardWork,
  shard: Shard,
  source: ImageSource,
): Promise<{ done: DoneShard; isOurs: boolean }> {
  const folder = await store.workFolder();
  try {
    const { settings } = run;
    const out = join(folder, `shard.${settings.format}`);
    const { batchSize, autoRotate, fastDecode, resizeOn, decodeOn } = settings;
    const options = { batchSize, autoRotate, fastDecode, resizeOn, decodeOn };
    const result = await embedImages(clip, source, out, {
      ...options,
      input: run.input,
      model: settings.model,
    });
    checkRows(result, shard);
    const files = await placeFiles(store, shard, out, settings.format);
    return await record(store, recordOf(clip, shard, files, result));
  } finally {
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

function checkRows({ rows }: EmbedResult, shard: Shard): void {
  if (rows !== shard.rows)
    throw new TorchclipError("E_INTERNAL", `shard ${shard.shard}: ${rows} rows for ${shard.rows} images`);
}

function recordOf(
  clip: Clip,
  { shard, first, rows }: Shard,
  files: ShardFile[],
  result: EmbedResult,
): DoneShard {
  const { config, embedDim: dim, device, precision } = clip.info;
  const errors = result.errors.map(({ index, name, code, message }) => ({ index, name, code, message }));
  return { shard, first, rows, dim, device, precision, weights: config.source.sha256, files, errors };
}

/** The files of a shard under their names in the store; the one that the others belong to comes last. */
async function placeFiles(
  store: Store,
  { shard }: Shard,
  out: string,
  format: "npy" | "parquet",
): Promise<ShardFile[]> {
  const endings = format === "npy" ? [".npy.json", ".npy"] : [".parquet"];
  const local = endings.map((ending) => (ending === ".npy.json" ? `${out}.json` : out));
  const hashes: string[] = [];
  for (const file of local) hashes.push(await hashFile(file, "sha256"));
  const content = createHash("sha256").update(hashes.join(" ")).digest("hex").slice(0, NAME_DIGITS);
  const files: ShardFile[] = [];
  for (const [i, ending] of endings.entries()) {
    const name = `${SHARDS}/${numberOf(shard)}-${content}${ending}`;
    const { size } = await stat(local[i]).catch((error: unknown) => {
      throw toTorchclipError(error, "E_READ", { subject: local[i] });
    });
    await store.place(name, local[i]);
    files.push({ name, bytes: size, sha256: hashes[i] });
  }
  return files;
}

/** Creates the record of a shard, or removes the files where another worker's counts. */
async function record(store: Store, mine: DoneShard): Promise<{ done: DoneShard; isOurs: boolean }> {
  if (await store.create(doneName(mine.shard), `${JSON.stringify(mine)}\n`))
    return { done: mine, isOurs: true };
  const done = await readDone(store, mine.shard);
  if (!done)
    throw new TorchclipError("E_QUEUE", `${store.where}/${doneName(mine.shard)} was removed meanwhile`);
  const kept = new Set(done.files.map(({ name }) => name));
  await store.remove(mine.files.map(({ name }) => name).filter((name) => !kept.has(name)));
  return { done, isOurs: false };
}

/**
 * Throws E_ARGUMENT where this worker's model is not the one of the run: other weights, another preprocessing
 * or another precision would make rows that cannot be compared. The first worker says which it is.
 */
export async function checkModel({ clip, store, run }: ShardWork): Promise<void> {
  const { config, embedDim, precision } = clip.info;
  const { image, preprocessing, source } = config;
  const mine = { weights: source.sha256, precision, dim: embedDim, image, preprocessing };
  const text = `${JSON.stringify(mine)}\n`;
  if (await store.create(MODEL, text)) return;
  const there = (await store.read(MODEL))?.toString("utf8") ?? "";
  if (there === text) return;
  const differing = differenceOf(there, mine);
  const message = `${store.where} was begun with another ${differing} than this worker has (${run.settings.model})`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: "model" });
}

/** Which of the fields differs. */
function differenceOf(there: string, mine: Record<string, unknown>): string {
  try {
    const other = JSON.parse(there) as Record<string, unknown>;
    const isOther = (key: string) => JSON.stringify(other[key]) !== JSON.stringify(mine[key]);
    return Object.keys(mine).find(isOther) ?? "model";
  } catch {
    return "model";
  }
}
