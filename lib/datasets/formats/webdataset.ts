import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TorchclipError } from "../../errors.js";
import { IMAGE_NAME, LeftOut } from "../../images/image-names.js";
import { isRemote, redactUrl } from "../../redact.js";
import { settings } from "../../settings.js";
import { download } from "../../util/download.js";
import { readRange } from "../../util/read-range.js";
import { readLines } from "../../util/text-file.js";
import { shown } from "../../util/untrusted.js";
import { countSplit, Dataset, type Sample } from "../dataset.js";
import type { DatasetOptions } from "../types.js";
import { tarEntries, type TarEntry } from "./tar.js";

/** The part of a sample that holds the class id, or the class by name, by its usual extensions. */
const LABEL = /^(cls|label)$/;
/**
 * Where the names of the classes are: beside the shards, one a line (LAION's CLIP_benchmark writes the
 * first).
 */
const CLASS_FILES = ["classnames.txt", "classes.txt"];

const MOST_LABEL = 65536;
/** Names that braces may stand for. */
const MOST_SHARDS = 1_000_000;

/** Where an image lies. */
interface Place {
  shard: string;
  at: number;
  bytes: number;
}

interface Parts {
  image?: Place;
  label?: string;
}

interface LabelledImage {
  key: string;
  image: Place;
  label: string;
}

export const isWebDataset = (path: string): boolean => /\.tar$/i.test(path);

/**
 * WebDataset: .tar shards whose entries KEY.jpg (or of another format) and KEY.cls make a sample. `path` is a
 * shard, or several as name-{0000..0009}.tar; http(s) shards come to the cache first. All shards are counted
 * before anything runs; an image is read from its shard when it is used.
 */
export async function webDataset(path: string, options: DatasetOptions): Promise<Dataset> {
  const shards: string[] = [];
  for (const name of expandBraces(path)) shards.push(isRemote(name) ? await fetched(name, options) : name);
  const samples: { key: string; parts: Parts }[] = [];
  const leftOut = new LeftOut();
  for (const [i, shard] of shards.entries()) {
    for (const [key, parts] of await readShard(shard, leftOut)) samples.push({ key, parts });
    options.onProgress?.(i + 1, shards.length);
  }
  const labelled = samples.flatMap(({ key, parts }) => labelledImage(key, parts));
  const classes = options.classes ?? (await classNames(path)) ?? labelsInOrder(labelled);
  const list = labelled.map(({ key, image, label }): Sample => ({
    name: key,
    label: classId(key, label, classes, path),
    read: () => readRange(image.shard, image.at, image.bytes),
  }));
  const split = options.split ?? "all";
  return new Dataset({
    name: /^https?:.*[@?#]/i.test(path) ? redactUrl(path) : path,
    split,
    classes,
    samples: list,
    splits: list.length ? [countSplit(split, list, classes.length)] : undefined,
    source: {
      kind: isRemote(path) ? "download" : "path",
      location: isRemote(path) ? redactUrl(path) : path,
      hashKnown: false,
    },
    notes: leftOut.notes(path),
  });
}

/** A sample with an image; none where it has no image. Throws E_DATASET_FORMAT where it has no label. */
function labelledImage(key: string, { image, label }: Parts): LabelledImage[] {
  if (!image) return [];
  if (label !== undefined) return [{ key, image, label }];
  const { shard } = image;
  const message = `${shard}: the sample ${shown(key)} has an image and no .cls`;
  throw new TorchclipError("E_DATASET_FORMAT", message, { subject: shard });
}

/** The different labels: numbers by value, others by name. */
function labelsInOrder(labelled: readonly LabelledImage[]): string[] {
  const different = new Set(labelled.map(({ label }) => label));
  return [...different].sort((a, b) => Number(a) - Number(b) || (a < b ? -1 : 1));
}

function classId(key: string, label: string, classes: readonly string[], path: string): number {
  const byName = classes.indexOf(label);
  const id = /^\d+$/.test(label) && byName < 0 ? Number(label) : byName;
  if (id >= 0 && id < classes.length) return id;
  throw new TorchclipError(
    "E_LABEL_UNKNOWN",
    `${path}: the sample ${key} has class "${shown(label)}", there are ${classes.length} classes`,
    { subject: path },
  );
}

/** a-{00..02}.tar to a-00.tar, a-01.tar, a-02.tar; {x,y} likewise. */
export function expandBraces(path: string): string[] {
  const found = /\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}/.exec(path);
  if (!found) return [path];
  const [whole, from = "", to = "", names] = found;
  const before = path.slice(0, found.index);
  const behind = path.slice(found.index + whole.length);
  const middle = names === undefined ? numbersBetween(from, to, path) : names.split(",");
  return middle.flatMap((text) => expandBraces(before + text + behind));
}

/** The numbers from `from` to `to`, each with the digits of `from`. */
function numbersBetween(from: string, to: string, path: string): string[] {
  const first = Number(from);
  const steps = Number(to) - first;
  if (steps >= MOST_SHARDS)
    throw new TorchclipError("E_ARGUMENT", `${path} stands for more than ${MOST_SHARDS} shards`, {
      subject: path,
    });
  return Array.from({ length: steps + 1 }, (_, i) => String(first + i).padStart(from.length, "0"));
}

async function fetched(url: string, o: DatasetOptions): Promise<string> {
  const at = settings(o);
  const target = join(at.cacheDir, "datasets", "shards", shardName(url));
  return download({ urls: [url], target, offline: at.offline, signal: o.signal });
}

/** A shard's name in the cache. Credentials and query, which may be secrets, go into a hash. */
export function shardName(url: string): string {
  const name = (text: string) => text.replace(/^https?:\/\//i, "").replace(/[^\w.-]+/g, "-");
  if (!/[@?#]/.test(url)) return name(url);
  return `${createHash("sha256").update(url).digest("hex").slice(0, 16)}-${name(redactUrl(url))}`;
}

async function classNames(path: string): Promise<string[] | undefined> {
  if (isRemote(path)) return undefined;
  for (const name of CLASS_FILES) {
    for (const folder of [dirname(path), dirname(dirname(path))]) {
      const file = join(folder, name);
      if (await stat(file).catch(() => undefined)) return readLines(file);
    }
  }
  return undefined;
}

async function readShard(shard: string, leftOut: LeftOut): Promise<Map<string, Parts>> {
  const samples = new Map<string, Parts>();
  for await (const { name, at, bytes, content } of tarEntries(shard)) {
    const { key, extension } = partsOfName(name);
    if (key === "") continue;
    const isImage = IMAGE_NAME.test(`.${extension}`) && !extension.includes(".");
    leftOut.add(name);
    if (!isImage && !LABEL.test(extension)) continue;
    const parts = samples.get(key) ?? {};
    samples.set(key, parts);
    if (isImage) parts.image = { shard, at, bytes };
    else parts.label = await readLabel(shard, { name, bytes, content });
  }
  return samples;
}

/** The class that a label's entry holds. */
async function readLabel(
  shard: string,
  { name, bytes, content }: Pick<TarEntry, "name" | "bytes" | "content">,
): Promise<string> {
  const refuse = (why: string) =>
    new TorchclipError("E_DATASET_FORMAT", `${shard}: ${why}`, { subject: shard });
  if (bytes > MOST_LABEL) throw refuse(`${name} has ${bytes} bytes, too many for a label`);
  const label = (await content()).toString("utf8").trim();
  if (label !== "") return label;
  const { key, extension } = partsOfName(name);
  throw refuse(`the .${extension} of the sample ${shown(key)} is empty; it must hold a class`);
}

/** The key of a sample ends at the first dot of the file's name; an empty one where there is none. */
function partsOfName(name: string): { key: string; extension: string } {
  const dot = name.indexOf(".", name.lastIndexOf("/") + 1);
  return { key: name.slice(0, Math.max(0, dot)), extension: name.slice(dot + 1).toLowerCase() };
}
