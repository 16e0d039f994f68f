import { createHash } from "node:crypto";
import type { Clip } from "../clip/clip.js";
import type { StageTimes } from "../clip/options.js";
import { checkAborted, toTorchclipError, withoutIndex, type TorchclipError } from "../errors.js";
import { chunks } from "../util/iterate.js";
import { imageJob, nothingIn, textJob, type EmbedOptions, type Job } from "./embed.js";
import type { Identity } from "./identity.js";
import type { RowError } from "./save-npy.js";
import { openSink } from "./sinks/open.js";
import { fingerprint, type Sink, type SinkAbout, type SinkRow, type StoredName } from "./sinks/sink.js";
import type { DatabaseTarget } from "./sinks/target.js";
import type { ImageSource } from "./sources.js";

export interface EmbedToOptions extends EmbedOptions {
  /** The absolute path of the input: rows of it are told apart from those of other inputs. */
  source: string;
  /** Make the table where it is not there. Default false. */
  create?: boolean;
  /** Remove the rows of this source whose content is no longer in it. Default false. */
  prune?: boolean;
  /** Bytes that are sent to the database at once. Default 4,194,304 (4 MiB). */
  batchBytes?: number;
}

export interface EmbedToResult {
  /** Items of the source. */
  items: number;
  /** Rows that were written. */
  embedded: number;
  /** Items whose content was there already. */
  existing: number;
  /** Of these, rows that got another name. */
  renamed: number;
  /** Items whose content an earlier item of the source has: a row for both. */
  duplicates: number;
  /** Rows that `prune` removed. */
  removed: number;
  /** Why `prune` removed nothing, where it was asked for and could not know what is gone. */
  pruneNote?: string;
  /** Items that could not be embedded. They have no row; `index` counts the items of the source. */
  errors: RowError[];
  times: StageTimes;
  seconds: number;
}

const BATCH_BYTES = 4 << 20;
/** Items that are looked for in the database at once. */
const LOOK_UP = 256;

/**
 * Embeds the images of a source into a table of a vector database. The key of a row is the hash of its
 * content: what is there already is not embedded again, so that the same call after a stop goes on, and later
 * calls add what is new. An image that cannot be read has no row.
 */
export async function embedImagesTo(
  clip: Clip,
  source: ImageSource,
  target: DatabaseTarget,
  options: EmbedToOptions,
): Promise<EmbedToResult> {
  return run(clip, target, options, imageJob(clip, source, options));
}

/** Embeds texts as `embedImagesTo` does images. */
export async function embedTextsTo(
  clip: Clip,
  texts: readonly string[],
  target: DatabaseTarget,
  options: EmbedToOptions,
): Promise<EmbedToResult> {
  return run(clip, target, options, textJob(clip, texts, options));
}

async function run<T extends Identity>(
  clip: Clip,
  target: DatabaseTarget,
  options: EmbedToOptions,
  job: Job<T>,
): Promise<EmbedToResult> {
  const started = performance.now();
  const { config, embedDim: dim } = clip.info;
  const model = fingerprint(options.model ?? config.name, config.source.sha256);
  const about: SinkAbout = { source: options.source, kind: job.kind, model, dim };
  const sink = await openSink(target, { create: options.create ?? false, about });
  try {
    const transfer = new Transfer(sink, job, dim, options);
    await transfer.run();
    if (transfer.result.items === 0) throw nothingIn(options.input);
    if (options.prune) await transfer.prune();
    const seconds = (performance.now() - started) / 1000;
    return { ...transfer.result, times: job.times, seconds };
  } catch (error) {
    throw toTorchclipError(error, "E_INTERNAL", { subject: options.input });
  } finally {
    await sink.close();
  }
}

/** An item on its way through the model. */
interface Pending {
  index: number;
  id: string;
  name: string;
}

/** Brings the items of a job that are not in the database there. */
class Transfer<T extends Identity> {
  readonly result: Omit<EmbedToResult, "times" | "seconds"> = {
    items: 0,
    embedded: 0,
    existing: 0,
    renamed: 0,
    duplicates: 0,
    removed: 0,
    errors: [],
  };
  /** The ids of all items so far. */
  private readonly seen = new Set<string>();
  private readonly pending: Pending[] = [];
  private waiting: SinkRow[] = [];
  private waitingBytes = 0;
  /** Whether the content of an item is not known, so that its row cannot be told from one that is gone. */
  private hasUnknown = false;

  constructor(
    private readonly sink: Sink,
    private readonly job: Job<T>,
    private readonly dim: number,
    private readonly options: EmbedToOptions,
  ) {}

  async run(): Promise<void> {
    this.report();
    try {
      await this.encode();
    } catch (error) {
      // What is embedded already is not embedded again by the next run.
      if (this.options.signal?.aborted) await this.flush();
      throw error;
    }
    await this.flush();
    this.report();
  }

  private async encode(): Promise<void> {
    for await (const { data, errors } of this.job.encode(this.missing())) {
      const done = this.pending.splice(0, errors.length);
      for (const [row, item] of done.entries()) {
        const error = errors[row];
        if (error) this.fail(item, error);
        else await this.add(item, data.slice(row * this.dim, (row + 1) * this.dim));
      }
      this.report();
    }
  }

  /** Removes the rows of this source that are of none of its items. */
  async prune(): Promise<void> {
    if (this.hasUnknown) {
      this.result.pruneNote = "nothing was removed, because some files could not be read";
      return;
    }
    const gone: string[] = [];
    for await (const ids of this.sink.ids()) gone.push(...ids.filter((id) => !this.seen.has(id)));
    for await (const some of chunks(gone, LOOK_UP)) {
      checkAborted(this.options.signal);
      await this.sink.remove(some);
      this.result.removed += some.length;
    }
  }

  /** The items that must be embedded. */
  private async *missing(): AsyncGenerator<T> {
    for await (const group of chunks(this.job.items, LOOK_UP)) {
      checkAborted(this.options.signal);
      yield* await this.notThere(group);
    }
  }

  private async notThere(group: readonly T[]): Promise<T[]> {
    const fresh = group.flatMap((item) => this.take(item) ?? []);
    const stored = new Map(
      (await this.sink.existing(fresh.map(({ id }) => id))).map(({ id, name }) => [id, name]),
    );
    const renamed = fresh.filter(({ id, item }) => stored.has(id) && stored.get(id) !== item.name);
    if (renamed.length > 0) await this.rename(renamed.map(({ id, item }) => ({ id, name: item.name })));
    const missing = fresh.filter(({ id }) => !stored.has(id));
    this.result.existing += fresh.length - missing.length;
    this.pending.push(...missing.map(({ id, index, item }) => ({ id, index, name: item.name })));
    return missing.map(({ item }) => item);
  }

  /** Counts an item; undefined where an earlier one has its content. */
  private take(item: T): { id: string; index: number; item: T } | undefined {
    const index = this.result.items++;
    if (item.content === "") this.hasUnknown = true;
    const id = idOf(item, this.options);
    if (this.seen.has(id)) {
      this.result.duplicates++;
      return undefined;
    }
    this.seen.add(id);
    return { id, index, item };
  }

  private async rename(rows: readonly StoredName[]): Promise<void> {
    await this.sink.rename(rows);
    this.result.renamed += rows.length;
  }

  private async add({ id, name }: Pending, embedding: Float32Array): Promise<void> {
    this.waiting.push({ id, name, embedding });
    this.waitingBytes += this.dim * this.sink.valueBytes + Buffer.byteLength(name);
    if (this.waitingBytes >= (this.options.batchBytes ?? BATCH_BYTES)) await this.flush();
  }

  private async flush(): Promise<void> {
    if (this.waiting.length === 0) return;
    await this.sink.upsert(this.waiting);
    this.result.embedded += this.waiting.length;
    this.waiting = [];
    this.waitingBytes = 0;
  }

  private fail({ id, index, name }: Pending, error: TorchclipError): void {
    // An earlier run may have embedded the item under the same id only if it could be read.
    this.seen.delete(id);
    this.result.errors.push({ index, code: error.code, message: withoutIndex(error), name });
  }

  private report(): void {
    const { items } = this.result;
    this.options.onProgress?.(items - this.pending.length, this.job.total);
  }
}

const DIGITS = 32; // hex, 128 bits of SHA-256

/**
 * The key of an item's row: the hash of its content. Where the content is not read (URLs) or is the name
 * (texts), the hash of the name stands for it. What changes the embedding of a content is hashed with it.
 */
function idOf({ name, content }: Identity, options: EmbedToOptions): string {
  const isHash = content.length === DIGITS;
  const flags = (["autoRotate", "fastDecode"] as const).filter((flag) => options[flag]);
  if (options.decodeOn === "device") return digest(["decodeOn", ...flags, content, isHash ? "" : name]);
  if (isHash && flags.length === 0) return content;
  return digest([...flags, content, isHash ? "" : name]);
}

function digest(parts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, DIGITS);
}
