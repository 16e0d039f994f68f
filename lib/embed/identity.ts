import { createHash, type Hash } from "node:crypto";
import { stat } from "node:fs/promises";
import { EncodedImage } from "../images/source.js";
import type { ImageInput } from "../images/types.js";
import { isRemote, localPath } from "../redact.js";
import { hashFile } from "../util/files.js";
import { chunks } from "../util/iterate.js";
import type { NamedImage } from "./sources.js";

/** What a row is of. Rows of a stopped run are taken over where both are equal. */
export interface Identity {
  name: string;
  /**
   * Hash of the content; "text" where the name is all, "url" where the content is not read for it, "" where
   * it is not known.
   */
  content: string;
}

const DIGITS = 32; // hex, 128 bits of SHA-256

/** A row that was stored; it may be of an item that failed. */
interface StoredIdentity extends Identity {
  error?: unknown;
}

/**
 * Hash of what an image input holds now, read before the image is decoded: a file that changes in between
 * gets a row that a later run does not take over. A file that cannot be read, or is no regular one, has "".
 */
async function imageContent(image: ImageInput | EncodedImage): Promise<string> {
  const hash = createHash("sha256");
  if (image instanceof EncodedImage) {
    const bytes = await image.bytes.catch(() => undefined);
    return bytes ? digest(hash.update(bytes)) : "";
  }
  if (image instanceof Uint8Array) return digest(hash.update(image));
  if (typeof image === "object" && !(image instanceof URL)) {
    return digest(hash.update(`${image.width} ${image.height} ${image.channels} `).update(image.data));
  }
  const text = String(image);
  if (isRemote(text)) return "url";
  try {
    const path = localPath(text);
    if (!(await stat(path)).isFile()) return "";
    return (await hashFile(path, "sha256")).slice(0, DIGITS);
  } catch {
    return ""; // why it cannot be read is said when it is decoded
  }
}

const digest = (hash: Hash): string => hash.digest("hex").slice(0, DIGITS);

const AHEAD = 32; // files that are hashed at once

/** Images with their identity, in their order. */
export async function* identified(items: AsyncIterable<NamedImage>): AsyncGenerator<NamedImage & Identity> {
  for await (const group of chunks(items, AHEAD)) {
    yield* await Promise.all(
      group.map(async (item) => ({ ...item, content: await imageContent(item.image) })),
    );
  }
}

/** Rows as a file of them has them, a line each. */
export function rowLines(rows: readonly object[]): Buffer {
  return Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
}

/** The whole lines of such a file; one that is no row is undefined. */
export function parseRows(text: Buffer): (Identity | undefined)[] {
  const lines = text.toString("utf8").split("\n").slice(0, -1);
  return lines.map(parseRow);
}

function parseRow(line: string): Identity | undefined {
  try {
    const row = JSON.parse(line) as Partial<Record<keyof Identity, unknown>> | null;
    const isRow = typeof row?.name === "string" && typeof row.content === "string";
    return isRow ? (row as Identity) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Rows that an earlier run left, in its order; those that are undefined cannot be taken over. `anyName`: a row
 * of the same content is found under another name, too.
 */
export class StoredRows {
  private readonly byIdentity = new Map<string, number>();
  private readonly byContent = new Map<string, number>();

  constructor(
    private readonly rows: readonly (StoredIdentity | undefined)[],
    { anyName = false }: { anyName?: boolean } = {},
  ) {
    for (const [i, row] of rows.entries()) {
      if (!row?.content) continue;
      this.byIdentity.set(keyOf(row), i);
      // The message of an error names the file.
      if (anyName && row.content.length === DIGITS && !row.error) this.byContent.set(row.content, i);
    }
  }

  find(item: Identity): number | undefined {
    if (!item.content) return undefined;
    return this.byIdentity.get(keyOf(item)) ?? this.byContent.get(item.content);
  }

  isAt(row: number, item: Identity): boolean {
    const stored = this.rows[row];
    return item.content !== "" && stored?.content === item.content && stored.name === item.name;
  }
}

const keyOf = ({ name, content }: Identity): string => `${content} ${name}`;

/**
 * Tells for each item which stored row it has; without one it has to be computed. `wholeBatches` is for a
 * runner whose results depend on what shares the batch: then only the first rows are taken over, in whole
 * batches of this size, so that the rest falls into the same batches as in a run without a stop.
 */
export async function* matched<T extends Identity>(
  items: AsyncIterable<T>,
  stored: StoredRows,
  wholeBatches?: number,
): AsyncGenerator<{ item: T; row?: number }> {
  if (wholeBatches === undefined) {
    for await (const item of items) yield { item, row: stored.find(item) };
    return;
  }
  let position = 0;
  let same = true;
  let batch: T[] = [];
  for await (const item of items) {
    batch.push(item);
    same &&= stored.isAt(position++, item);
    if (same && batch.length < wholeBatches) continue;
    const first = position - batch.length;
    for (const [i, each] of batch.entries()) yield { item: each, row: same ? first + i : undefined };
    batch = [];
  }
  for (const item of batch) yield { item };
}
