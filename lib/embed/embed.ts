import { createHash } from "node:crypto";
import type { Clip } from "../clip/clip.js";
import type { BatchOptions, StageTimes } from "../clip/options.js";
import { TorchclipError, toTorchclipError, withoutIndex } from "../errors.js";
import type { TokenizeOptions } from "../text/tokenize.js";
import { chunks } from "../util/iterate.js";
import { lock, type Lock } from "../util/lock.js";
import { packageVersion } from "../util/package.js";
import { identified, type Identity, type StoredRows } from "./identity.js";
import { Partial, type Row } from "./partial.js";
import { changesSince, Previous, type Changes } from "./previous.js";
import { Resume, wholeBatchesOf } from "./resume.js";
import { errorsOf, saveNpy, type Finished, type RowError } from "./save-npy.js";
import type { ImageSource, NamedImage } from "./sources.js";

export interface EmbedOptions
  extends
    Pick<BatchOptions, "batchSize" | "autoRotate" | "fastDecode" | "resizeOn" | "decodeOn" | "signal">,
    TokenizeOptions {
  /** What the input was, for the record. */
  input: string;
  /** What `load` finds the model by again, for the record: a name, a hub id, or an absolute path. */
  model?: string;
  /**
   * Take over the rows of the file that is there, of the items whose content is the same as then.
   * Where it was made by another model or with other settings, all is embedded anew. Default false.
   */
  update?: boolean;
  /** Called with 0 before the first item and then after each batch; `total` is undefined for an archive. */
  onProgress?: (done: number, total: number | undefined) => void;
}

export interface EmbedResult {
  rows: number;
  /** Rows that an earlier, stopped run had done. */
  resumed: number;
  errors: RowError[];
  /** With `update`: what became of the rows of the file that was there. */
  changes?: Changes;
  times: StageTimes;
  seconds: number;
}

/** Embeddings of some items, in their order. */
interface Batch {
  data: Float32Array;
  errors: (TorchclipError | undefined)[];
}

/** What is embedded, and how. */
export interface Job<T extends Identity> {
  kind: "images" | "texts";
  total: number | undefined;
  batchSize: number;
  /** Of the tower that embeds. */
  runner: string;
  items: AsyncGenerator<T>;
  encode: (items: AsyncIterable<T>) => AsyncGenerator<Batch>;
  /** What is kept of an item's error. Default: its message without the index, which counts this run's items. */
  messageOf?: (error: TorchclipError, item: T) => string;
  /** Stage times are added to it. */
  times: StageTimes;
}

const IMAGE_BATCH = 32;
const TEXT_BATCH = 256;

/**
 * Writes the embeddings of all images of a source into a file: .npy (float32 [rows, dim], with OUT.json
 * beside it, which holds the names) or .parquet (columns name, embedding, error). An image that cannot be
 * read is a row of NaN with its error.
 *
 * What is done is kept in OUT.partial until the file is whole, so that the same call after a stop, however
 * hard, goes on. Rows are taken over by content: images that were added, removed or changed in
 * between are done as in a run without a stop, and the file has the same bytes. A partial of another model or
 * of other settings is begun anew.
 *
 * Throws E_LOCKED while another process writes the same file, E_WRITE where it cannot be written,
 * E_DATASET_EMPTY.
 */
export async function embedImages(
  clip: Clip,
  source: ImageSource,
  out: string,
  options: EmbedOptions,
): Promise<EmbedResult> {
  return run(clip, out, options, imageJob(clip, source, options));
}

/** Embeds texts into a file as `embedImages` does images; the names are the texts. */
export async function embedTexts(
  clip: Clip,
  texts: readonly string[],
  out: string,
  options: EmbedOptions,
): Promise<EmbedResult> {
  return run(clip, out, options, textJob(clip, texts, options));
}

/** How a model embeds the images of a source. */
export function imageJob(clip: Clip, source: ImageSource, options: EmbedOptions): Job<NamedImage & Identity> {
  const times = { read: 0, decode: 0, resize: 0, forward: 0 };
  const { batchSize = IMAGE_BATCH, autoRotate, fastDecode, resizeOn, decodeOn, signal } = options;
  const how = { batchSize, autoRotate, fastDecode, resizeOn, decodeOn, signal, times };
  const encode = async function* (items: AsyncIterable<NamedImage>): AsyncGenerator<Batch> {
    const images = async function* () {
      for await (const { image } of items) yield image;
    };
    yield* clip.streamImages(images(), { ...how, onError: "collect" });
  };
  return {
    kind: "images",
    total: source.count,
    batchSize,
    runner: clip.info.imageRunner,
    items: identified(source.images(0)),
    encode,
    times,
  };
}

/** How a model embeds texts. */
export function textJob(clip: Clip, texts: readonly string[], options: EmbedOptions): Job<Identity> {
  const times = { read: 0, decode: 0, resize: 0, forward: 0 };
  const { batchSize = TEXT_BATCH, truncate, signal } = options;
  const encode = async function* (items: AsyncIterable<Identity>): AsyncGenerator<Batch> {
    for await (const batch of chunks(items, batchSize)) {
      const before = performance.now();
      const names = batch.map((item) => item.name);
      const { data } = await clip.encodeTexts(names, { truncate, batchSize, signal });
      times.forward += (performance.now() - before) / 1000;
      yield { data, errors: names.map(() => undefined) };
    }
  };
  return {
    kind: "texts",
    total: texts.length,
    batchSize,
    runner: clip.info.textRunner,
    items: textItems(texts),
    encode,
    times,
  };
}

async function* textItems(texts: readonly string[]): AsyncGenerator<Identity> {
  for (const name of texts) yield { name, content: "text" };
  await Promise.resolve();
}

async function run<T extends Identity>(
  clip: Clip,
  out: string,
  options: EmbedOptions,
  job: Job<T>,
): Promise<EmbedResult> {
  const save = await saver(out);
  const started = performance.now();
  const { about, settings, wholeBatches } = settingsOf(clip, job, options);
  // Not among the settings: another name of the same weights goes on with the same partial.
  const lasting = lastingSettings(settings);
  const record = { ...about, model: { requested: options.model, ...about.model }, settings: lasting };
  const held = await lock(`${out}.partial.lock`);
  const dim = clip.info.embedDim;
  const state = new Partial(`${out}.partial`, dim);
  let previous: Previous | undefined;
  try {
    if (options.update) previous = await Previous.open(out, lasting);
    await state.begin(settings);
    await previous?.copyTo(state);
    const kept = { state, held, stored: state.stored(), wholeBatches };
    const { order, resumed } = await embedRows(job, kept, options.onProgress);
    if (order.length === 0) throw nothingIn(options.input);
    await held.check();
    await save(out, { state, order, dim, record });
    const errors = errorsOf({ state, order });
    const changes =
      previous &&
      changesSince(
        previous,
        order.map((row) => state.at(row)),
      );
    await state.remove();
    const seconds = (performance.now() - started) / 1000;
    return { rows: order.length, resumed, errors, ...(changes && { changes }), times: job.times, seconds };
  } catch (error) {
    throw toTorchclipError(error, "E_INTERNAL", { subject: out });
  } finally {
    previous?.close();
    await state.close();
    await held.release();
  }
}

/**
 * What must be equal for a later run to take over rows of the file: a hash of all settings but those that
 * change with the machine and with each version of torchclip.
 */
function lastingSettings(settings: string): string {
  const changing = { torchclip: undefined, device: undefined, runner: undefined, batchSize: undefined };
  const lasting = { ...(JSON.parse(settings) as object), ...changing };
  return createHash("sha256").update(JSON.stringify(lasting)).digest("hex").slice(0, 32);
}

/** The error of an input without items. */
export function nothingIn(input: string): TorchclipError {
  return new TorchclipError("E_DATASET_EMPTY", `${input} holds nothing to embed`, { subject: input });
}

/** What is recorded of a run, what must be equal for its rows to be taken over, and how many at once. */
export function settingsOf(
  clip: Clip,
  job: Pick<Job<Identity>, "kind" | "runner" | "batchSize">,
  options: EmbedOptions,
) {
  const about = runAbout(clip, job, options);
  const wholeBatches = wholeBatchesOf(job.runner, job.batchSize);
  const { image, text, preprocessing, tokenizer } = clip.info.config;
  const ofModel = { image, text, preprocessing, tokenizer };
  const changing = { input: undefined, runner: job.runner, batchSize: wholeBatches, ofModel };
  return { about, settings: JSON.stringify({ ...about, ...changing }), wholeBatches };
}

/** What writes a file of this name. */
async function saver(out: string): Promise<(out: string, finished: Finished) => Promise<void>> {
  if (/\.npy$/i.test(out)) return saveNpy;
  if (/\.parquet$/i.test(out)) return (await import("./save-parquet.js")).saveParquet;
  throw new TorchclipError("E_ARGUMENT", `the output must be a .npy or .parquet file, not ${out}`, {
    subject: "out",
  });
}

/** Where the rows of a run are kept until all of them are there. */
export interface Kept {
  state: Partial;
  held: Lock;
  /** What an earlier run left, and how it may be taken over. */
  stored: StoredRows;
  wholeBatches: number | undefined;
}

/**
 * Embeds what an earlier run did not leave. `order`: the row of the partial that each row of the output is.
 */
export async function embedRows<T extends Identity>(
  {
    items,
    encode,
    total,
    messageOf = withoutIndex,
  }: Pick<Job<T>, "items" | "encode" | "total" | "messageOf">,
  { state, held, stored, wholeBatches }: Kept,
  onProgress: EmbedOptions["onProgress"],
): Promise<{ order: number[]; resumed: number }> {
  const order: number[] = [];
  const renamed: Renamed[] = [];
  const work = new Resume({
    items,
    stored,
    wholeBatches,
    take: (position, row, item) => {
      order[position] = row;
      if (state.at(row).name !== item.name) renamed.push({ position, row, item });
    },
    cut: (count) => state.cut(count),
    onProgress: (done) => onProgress?.(done, total),
  });
  for await (const { data, errors } of encode(work.missing())) {
    await held.check();
    const done = work.next(errors.length);
    const rows = done.map(({ item }, i): Row => {
      const { name, content } = item;
      const error = errors[i];
      return error
        ? { name, content, error: { code: error.code, message: messageOf(error, item) } }
        : { name, content };
    });
    const first = await state.add(data, rows);
    done.forEach(({ position }, i) => {
      order[position] = first + i;
    });
    work.finished(done.length);
  }
  await rename(state, renamed, order);
  return { order, resumed: work.taken };
}

/** An item whose content a stored row has under another name. */
interface Renamed {
  position: number;
  row: number;
  item: Identity;
}

/** Rows that are copied at once. */
const COPY_ROWS = 1024;

/** Copies the rows of items with other names, so that the output names the items. */
async function rename(state: Partial, renamed: readonly Renamed[], order: number[]): Promise<void> {
  for await (const some of chunks(renamed, COPY_ROWS)) {
    const { data } = await state.read(some.map(({ row }) => row));
    const first = await state.add(
      data,
      some.map(({ item: { name, content } }) => ({ name, content })),
    );
    for (const [i, { position }] of some.entries()) order[position] = first + i;
  }
}

/** What is recorded in the output, and (without the input's path) tells runs apart. */
function runAbout(clip: Clip, { kind }: { kind: Job<Identity>["kind"] }, options: EmbedOptions) {
  const { config, precision, device, embedDim } = clip.info;
  return {
    torchclip: packageVersion(),
    model: { name: config.name, weights: config.source },
    device,
    precision,
    kind,
    input: options.input,
    dim: embedDim,
    autoRotate: options.autoRotate ?? false,
    fastDecode: options.fastDecode ?? false,
    decodeOn: options.decodeOn ?? "cpu",
  };
}
