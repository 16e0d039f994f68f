import { createHash } from "node:crypto";
import { TorchclipError } from "../errors.js";
import type { InputImage } from "./input.js";
import { partName, rangeLine, rangesName, type Shard } from "./run.js";
import type { Store } from "./store.js";

export interface CutOptions {
  /** Bytes of images in a shard. Default 67,108,864 (64 MiB). */
  shardBytes?: number;
  /** Bytes of the list in one of its files. Default 33,554,432 (32 MiB). */
  partBytes?: number;
}

/** 64 MiB: about 600 photographs of 110 kB, some seconds of ViT-B/32 on a CPU core. */
export const SHARD_BYTES = 64 << 20;
const PART_BYTES = 32 << 20;
/** Images of a shard at most, so that small ones do not make a file of millions of rows. */
const MOST_ROWS = 16_384;
/** What an image of unknown size counts as: the mean of the images that LAION-400M lists, rounded. */
const UNKNOWN_BYTES = 128 << 10;

/** What was written of a list. */
export interface WrittenList {
  /** SHA-256 of its lines, in hex. */
  digest: string;
  rows: number;
  ranges: Shard[];
}

/** The digest of a list, without writing it. */
export async function digestOf(images: AsyncIterable<InputImage>): Promise<string> {
  const hash = createHash("sha256");
  for await (const image of images) hash.update(lineOf(image));
  return hash.digest("hex");
}

/**
 * Writes the list of a run and cuts it into shards of about equal bytes of images, which take about equal
 * time: a shard ends before the image that would exceed `shardBytes`. Throws E_DATASET_EMPTY.
 */
export async function writeList(
  store: Store,
  id: string,
  input: { name: string; images: AsyncIterable<InputImage> },
  options: CutOptions = {},
): Promise<WrittenList> {
  const writer = new ListWriter(store, id, options);
  for await (const image of input.images) await writer.add(image);
  const written = await writer.finish();
  if (written.rows === 0)
    throw new TorchclipError("E_DATASET_EMPTY", `${input.name} names no images`, { subject: input.name });
  return written;
}

class ListWriter {
  private readonly hash = createHash("sha256");
  private readonly ranges: Shard[] = [];
  private readonly shardBytes: number;
  private readonly partBytes: number;
  private lines: string[] = [];
  /** Bytes of `lines`. */
  private partLength = 0;
  private part = 0;
  private rows = 0;
  private shard: Shard = this.newShard();
  /** Bytes of the images of `shard`. */
  private imageBytes = 0;

  constructor(
    private readonly store: Store,
    private readonly id: string,
    { shardBytes = SHARD_BYTES, partBytes = PART_BYTES }: CutOptions,
  ) {
    this.shardBytes = shardBytes;
    this.partBytes = partBytes;
  }

  async add(image: InputImage): Promise<void> {
    const { bytes = UNKNOWN_BYTES } = image;
    const isFull = this.imageBytes + bytes > this.shardBytes || this.shard.rows === MOST_ROWS;
    if (this.shard.rows > 0 && isFull) await this.endShard();
    const line = lineOf(image);
    const length = Buffer.byteLength(line);
    this.hash.update(line);
    this.lines.push(line);
    this.partLength += length;
    this.shard.length += length;
    this.shard.rows++;
    this.imageBytes += bytes;
    this.rows++;
  }

  async finish(): Promise<WrittenList> {
    const { store, id, ranges, rows } = this;
    if (this.shard.rows > 0) await this.endShard();
    if (this.lines.length > 0) await this.endPart();
    await store.write(rangesName(id), ranges.map(rangeLine).join(""));
    return { digest: this.hash.digest("hex"), rows, ranges };
  }

  /** A file of the list ends with a shard, so that a shard is one range. */
  private async endShard(): Promise<void> {
    this.ranges.push(this.shard);
    if (this.partLength >= this.partBytes) await this.endPart();
    this.shard = this.newShard();
    this.imageBytes = 0;
  }

  private async endPart(): Promise<void> {
    await this.store.write(partName(this.id, this.part), this.lines.join(""));
    this.part++;
    this.lines = [];
    this.partLength = 0;
  }

  private newShard(): Shard {
    const { part, partLength: at, rows: first } = this;
    return { shard: this.ranges.length, part, at, length: 0, first, rows: 0 };
  }
}

function lineOf({ name, image }: InputImage): string {
  return `${JSON.stringify({ name, image })}\n`;
}
