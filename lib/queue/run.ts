import type { ImageLimits } from "../images/types.js";
import type { Precision } from "../clip/options.js";
import type { EmbedOptions } from "../embed/embed.js";
import { Untrusted } from "../util/untrusted.js";
import type { Store } from "./store.js";

/** How all workers of a run embed. */
export interface RunSettings extends Pick<
  EmbedOptions,
  "batchSize" | "autoRotate" | "fastDecode" | "resizeOn" | "decodeOn"
> {
  /** A name, or an absolute path that every worker sees. */
  model: string;
  precision: Precision;
  format: "npy" | "parquet";
  maxPixels?: ImageLimits["maxPixels"];
  /** Whether images are fetched by URL. Default true. */
  urls?: boolean;
  /** Whether these URLs may lead to addresses that are not public. Default false. */
  allowPrivate?: boolean;
}

/** What run.json holds: everything that a worker has to know beside its shard. It is never changed. */
export interface Run {
  version: 1;
  /** 12 hex digits, of this run alone. */
  id: string;
  /** As the command line named it. */
  input: string;
  /** SHA-256 of the list, in hex. */
  digest: string;
  rows: number;
  shards: number;
  settings: RunSettings;
}

/** A range of the list: the images that one job embeds. */
export interface Shard {
  /** From 0. */
  shard: number;
  /** The file of the list that holds it, from 0. */
  part: number;
  /** Where its lines begin in that file, and their length; bytes. */
  at: number;
  length: number;
  /** Row of its first image in the whole run. */
  first: number;
  rows: number;
}

/** An image of the list: a line of JSON. */
export interface ListedImage {
  /** As the input names it. */
  name: string;
  /** An absolute path, an http(s) URL or s3://bucket/key. */
  image: string;
}

/** An image that has no embedding: its row is NaN. */
export interface FailedImage {
  /** In its shard. */
  index: number;
  name: string;
  code: string;
  message: string;
}

/** A file of a shard. */
export interface ShardFile {
  /** In the store: shards/NUMBER-HASH.parquet. */
  name: string;
  bytes: number;
  sha256: string;
}

/** What done/NUMBER.json holds: which files are the shard, and what is in them. The first one counts. */
export interface DoneShard {
  shard: number;
  first: number;
  rows: number;
  dim: number;
  device: string;
  precision: string;
  /** SHA-256 of the model's weights. */
  weights: string;
  files: ShardFile[];
  errors: FailedImage[];
}

export const RUN = "run.json";
export const MODEL = "model.json";
export const MANIFEST = "manifest.json";
export const FAILED = "failed.jsonl";
export const SHARDS = "shards";
export const DONE = "done";
const LISTS = "lists";

const DIGITS = 6; // names sort by number up to a million shards, and stay unique beyond

/** A shard's number as names hold it. */
export const numberOf = (shard: number): string => String(shard).padStart(DIGITS, "0");

export const doneName = (shard: number): string => `${DONE}/${numberOf(shard)}.json`;

/** The folder of a run's list. */
export const listFolder = (id: string): string => `${LISTS}/${id}`;

/** A file of the list. */
export const partName = (id: string, part: number): string => `${listFolder(id)}/${numberOf(part)}.jsonl`;

/** The file that holds the ranges, a line for each shard. */
export const rangesName = (id: string): string => `${listFolder(id)}/shards.jsonl`;

/** Reads run.json; undefined where there is none. E_QUEUE where it is damaged or of another version. */
export async function readRun(store: Store): Promise<Run | undefined> {
  const bytes = await store.read(RUN);
  if (!bytes) return undefined;
  const check = new Untrusted("E_QUEUE", `${store.where}/${RUN}`);
  const found = check.object(check.json(bytes.toString("utf8")), "it");
  check.count(found.version, "version", 1, 1);
  const settings = check.object(found.settings, "settings");
  check.text(settings.model, "settings.model");
  check.text(settings.precision, "settings.precision");
  check.choice(settings.format, ["npy", "parquet"], "settings.format");
  return {
    version: 1,
    id: check.text(found.id, "id"),
    input: check.text(found.input, "input"),
    digest: check.text(found.digest, "digest"),
    rows: check.count(found.rows, "rows", 1),
    shards: check.count(found.shards, "shards", 1),
    settings: settings as unknown as RunSettings,
  };
}

/** The ranges of a run, in their order. E_QUEUE where the file is missing or damaged. */
export async function readRanges(store: Store, { id, shards }: Run): Promise<Shard[]> {
  const name = rangesName(id);
  const check = new Untrusted("E_QUEUE", `${store.where}/${name}`);
  const bytes = await store.read(name);
  if (!bytes) throw check.error("it is missing");
  const lines = bytes.toString("utf8").split("\n").slice(0, -1);
  if (lines.length !== shards) throw check.error(`it has ${lines.length} lines for ${shards} shards`);
  return lines.map((line, shard) => {
    const [part, at, length, first, rows] = check
      .array(check.largeJson(line), `line ${shard + 1}`)
      .map((value) => check.count(value, `line ${shard + 1}`));
    return { shard, part, at, length, first, rows };
  });
}

/** A line of the file that `readRanges` reads. */
export function rangeLine({ part, at, length, first, rows }: Shard): string {
  return `${JSON.stringify([part, at, length, first, rows])}\n`;
}

/** Reads the record of a shard; undefined where it is not done. E_QUEUE where it is damaged. */
export async function readDone(store: Store, shard: number): Promise<DoneShard | undefined> {
  const bytes = await store.read(doneName(shard));
  if (!bytes) return undefined;
  const check = new Untrusted("E_QUEUE", `${store.where}/${doneName(shard)}`);
  const found = check.object(check.largeJson(bytes.toString("utf8")), "it");
  check.count(found.shard, "shard", shard, shard);
  for (const key of ["first", "rows", "dim"]) check.count(found[key], key);
  for (const key of ["device", "precision", "weights"]) check.text(found[key], key);
  for (const file of check.array(found.files, "files"))
    check.text(check.object(file, "a file").name, "a file's name");
  check.array(found.errors, "errors");
  return found as unknown as DoneShard;
}
