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
import { tarEntries } from "./tar.js";

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

interface Parts {
  image?: { shard: string; at: number; bytes: number };
  label?: string;
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
  const labelled = samples.filter((s) => s.parts.image);
  const without = labelled.find((s) => s.parts.label === undefined);
  if (without) {
    const { shard } = without.parts.image!;
    throw new TorchclipError(
      "E_DATASET_FORMAT",
      `${shard}: the sample ${shown(without.key)} has an image and no .cls`,
      { subject: shard },
    );
  }
  const classes =
    options.classes ??
    (await classNames(path)) ??
    [...new Set(labelled.map((s) => s.parts.label!))].sort(
      (a, b) => Number(a) - Number(b) || (a < b ? -1 : 1),
    );
  const list = labelled.map(({ key, parts }): Sample => {
    const byName = classes.indexOf(parts.label!);
    const label = /^\d+$/.test(parts.label!) && byName < 0 ? Number(parts.label) : byName;
    if (label < 0 || label >= classes.length)
      throw new TorchclipError(
        "E_LABEL_UNKNOWN",
        `${path}: the sample ${key} has class "${shown(parts.label!)}", there are ${classes.length} classes`,
        {
          subject: path,
        },
      );
    const { shard, at, bytes } = parts.image!;
    return { name: key, label, read: () => readRange(shard, at, bytes) };
  });
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

/** a-{00..02}.tar to a-00.tar, a-01.tar, a-02.tar; {x,y} likewise. */
export function expandBraces(path: string): string[] {
  const found = /\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}/.exec(path);
  if (!found) return [path];
  const [whole, from, to, names] = found;
  const width = from?.length ?? 0;
  if (Number(to) - Number(from) >= MOST_SHARDS)
    throw new TorchclipError("E_ARGUMENT", `${path} stands for more than ${MOST_SHARDS} shards`, {
      subject: path,
    });
  const middle =
    names !== undefined
      ? names.split(",")
      : Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) =>
          String(Number(from) + i).padStart(width, "0"),
        );
  return middle.flatMap((m) =>
    expandBraces(path.slice(0, found.index) + m + path.slice(found.index + whole.length)),
  );
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
    // The key ends at the first dot of the file's name.
    const dot = name.indexOf(".", name.lastIndexOf("/") + 1);
    if (dot <= 0) continue;
    const extension = name.slice(dot + 1).toLowerCase();
    const isImage = IMAGE_NAME.test(`.${extension}`) && !extension.includes(".");
    leftOut.add(name);
    if (!isImage && !LABEL.test(extension)) continue;
    const parts = samples.get(name.slice(0, dot)) ?? {};
    samples.set(name.slice(0, dot), parts);
    if (isImage) {
      parts.image = { shard, at, bytes };
    } else {
      if (bytes > MOST_LABEL)
        throw new TorchclipError(
          "E_DATASET_FORMAT",
          `${shard}: ${name} has ${bytes} bytes, too many for a label`,
          { subject: shard },
        );
      parts.label = (await content()).toString("utf8").trim();
      if (parts.label === "") {
        const key = shown(name.slice(0, dot));
        throw new TorchclipError(
          "E_DATASET_FORMAT",
          `${shard}: the .${extension} of the sample ${key} is empty; it must hold a class`,
          { subject: shard },
        );
      }
    }
  }
  return samples;
}
