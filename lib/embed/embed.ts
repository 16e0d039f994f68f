import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { rm } from "node:fs/promises";
import type { Clip } from "../clip/clip.js";
import type { BatchOptions, StageTimes } from "../clip/options.js";
import { TorchclipError, toTorchclipError, withoutIndex } from "../errors.js";
import type { TokenizeOptions } from "../text/tokenize.js";
import { NewFile, writeWhole, writing } from "../util/files.js";
import { chunks } from "../util/iterate.js";
import { lock } from "../util/lock.js";
import { writeNpy } from "../util/npy.js";
import { packageVersion } from "../util/package.js";
import { identified, type Identity } from "./identity.js";
import { Partial, type Row } from "./partial.js";
import { Resume, wholeBatchesOf } from "./resume.js";
import type { ImageSource } from "./sources.js";

export interface EmbedOptions
  extends
    Pick<BatchOptions, "batchSize" | "autoRotate" | "fastDecode" | "resizeOn" | "decodeOn" | "signal">,
    TokenizeOptions {
  /** What the input was, for the record. */
  input: string;
  /** What `load` finds the model by again, for the record: a name, a hub id, or an absolute path. */
  model?: string;
  /** Called with 0 before the first item and then after each batch; `total` is undefined for an archive. */
  onProgress?: (done: number, total: number | undefined) => void;
}

export interface EmbedResult {
  rows: number;
  /** Rows that an earlier, stopped run had done. */
  resumed: number;
  errors: { index: number; name: string; code: string; message: string }[];
  times: StageTimes;
  seconds: number;
}

/** Embeddings of some items, in their order. */
interface Batch {
  data: Float32Array;
  errors: (TorchclipError | undefined)[];
}

const IMAGE_BATCH = 32;
const TEXT_BATCH = 256;

/**
 * Writes the embeddings of all images of a source into a file: .npy (float32 [rows, dim], with OUT.json
 * beside it, which holds the names) or .parquet (columns name, embedding, error). An image that cannot be
 * read is a row of NaN with its error.
 *
 * What is done is kept in OUT.partial until the file is whole, so that the same call after a stop, however
 * hard, goes on. Rows are taken over by name and content: images that were added, removed or changed in
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
  const times = { read: 0, decode: 0, resize: 0, forward: 0 };
  const { batchSize = IMAGE_BATCH, autoRotate, fastDecode, resizeOn, decodeOn, signal } = options;
  const encode = async function* (
    items: AsyncIterable<Identity & { image: Parameters<Clip["encodeImages"]>[0][number] }>,
  ): AsyncGenerator<Batch> {
    const images = async function* () {
      for await (const { image } of items) yield image;
    };
    yield* clip.streamImages(images(), {
      batchSize,
      autoRotate,
      fastDecode,
      resizeOn,
      decodeOn,
      signal,
      onError: "collect",
      times,
    });
  };
  const job = { kind: "images" as const, total: source.count, batchSize, runner: clip.info.imageRunner };
  return run(clip, out, options, job, times, identified(source.images(0)), encode);
}

/** Embeds texts into a file as `embedImages` does images; the names are the texts. */
export async function embedTexts(
  clip: Clip,
  texts: readonly string[],
  out: string,
  options: EmbedOptions,
): Promise<EmbedResult> {
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
  const all = async function* (): AsyncGenerator<Identity> {
    for (const name of texts) yield { name, content: "text" };
    await Promise.resolve();
  };
  const job = { kind: "texts" as const, total: texts.length, batchSize, runner: clip.info.textRunner };
  return run(clip, out, options, job, times, all(), encode);
}

interface Job {
  kind: "images" | "texts";
  total: number | undefined;
  batchSize: number;
  runner: string;
}

async function run<T extends Identity>(
  clip: Clip,
  out: string,
  options: EmbedOptions,
  job: Job,
  times: StageTimes,
  items: AsyncGenerator<T>,
  encode: (items: AsyncIterable<T>) => AsyncGenerator<Batch>,
): Promise<EmbedResult> {
  if (!/\.(npy|parquet)$/i.test(out))
    throw new TorchclipError("E_ARGUMENT", `the output must be a .npy or .parquet file, not ${out}`, {
      subject: "out",
    });
  const started = performance.now();
  const about = runAbout(clip, job, options);
  const wholeBatches = wholeBatchesOf(job.runner, job.batchSize);
  const settings = JSON.stringify({
    ...about,
    input: undefined,
    runner: job.runner,
    batchSize: wholeBatches,
  });
  // Not among the settings: another name of the same weights goes on with the same partial.
  const record = { ...about, model: { requested: options.model, ...about.model } };
  const held = await lock(`${out}.partial.lock`);
  const state = new Partial(`${out}.partial`, clip.info.embedDim);
  try {
    const stored = await state.begin(settings);
    /** The row of the partial that each row of the output is. */
    const order: number[] = [];
    const work = new Resume({
      items,
      stored,
      wholeBatches,
      take: (position, row) => (order[position] = row),
      cut: (count) => state.cut(count),
      onProgress: (done) => options.onProgress?.(done, job.total),
    });
    for await (const { data, errors } of encode(work.missing())) {
      await held.check();
      const done = work.next(errors.length);
      const first = await state.add(
        data,
        done.map(({ item }, i) => rowOf(item, errors[i])),
      );
      done.forEach(({ position }, i) => (order[position] = first + i));
      work.finished(done.length);
    }
    if (order.length === 0)
      throw new TorchclipError("E_DATASET_EMPTY", `${options.input} holds nothing to embed`, {
        subject: options.input,
      });
    await held.check();
    const save = /\.npy$/i.test(out) ? saveNpy : saveParquet;
    await save(out, { state, order, dim: clip.info.embedDim, record });
    const errors = errorsOf(state, order).map((e) => ({ ...e, name: state.at(order[e.index]).name }));
    await state.remove();
    return {
      rows: order.length,
      resumed: work.taken,
      errors,
      times,
      seconds: (performance.now() - started) / 1000,
    };
  } catch (error) {
    throw toTorchclipError(error, "E_INTERNAL", { subject: out });
  } finally {
    await state.close();
    await held.release();
  }
}

/** What is recorded in the output, and (without the input's path) tells runs apart. */
function runAbout(clip: Clip, job: Job, options: EmbedOptions) {
  const { config, precision, device, embedDim } = clip.info;
  return {
    torchclip: packageVersion(),
    model: { name: config.name, weights: config.source },
    device,
    precision,
    kind: job.kind,
    input: options.input,
    dim: embedDim,
    autoRotate: options.autoRotate ?? false,
    fastDecode: options.fastDecode ?? false,
    decodeOn: options.decodeOn ?? "cpu",
  };
}

function rowOf({ name, content }: Identity, error: TorchclipError | undefined): Row {
  // The index in the message counts what this run computed, not rows of the output.
  return error
    ? { name, content, error: { code: error.code, message: withoutIndex(error) } }
    : { name, content };
}

function errorsOf(
  state: Partial,
  order: readonly number[],
): { index: number; code: string; message: string }[] {
  return order.flatMap((row, index) => {
    const { error } = state.at(row);
    return error ? [{ index, ...error }] : [];
  });
}

/** All rows of a run, as they go into its file. */
interface Finished {
  state: Partial;
  /** The row of `state` that each row of the file is. */
  order: readonly number[];
  dim: number;
  /** What is recorded about the run. */
  record: object;
}

/**
 * OUT.npy and OUT.npy.json: both are written before either takes its name, and the old names never lie beside
 * new rows.
 */
async function saveNpy(out: string, { state, order, dim, record }: Finished): Promise<void> {
  const about = () => ({
    ...record,
    rows: order.length,
    errors: errorsOf(state, order),
    names: order.map((row) => state.at(row).name),
  });
  const names = await NewFile.create(`${out}.json`);
  try {
    await names.write(`${JSON.stringify(about())}\n`);
    await names.sync();
    await writeWhole(out, async (rows) => {
      await writeNpy(rows, order.length, dim, state.parts(order));
      await rows.sync();
      await writing(names.path, () => rm(names.path, { force: true }));
    });
    await names.place();
  } catch (error) {
    await names.discard();
    throw error;
  }
}

/** A Parquet writer's buffer that goes to a file after each group of rows, and at the end by `flush`. */
class ParquetBuffer extends ByteWriter {
  constructor(private readonly file: NewFile) {
    super();
  }

  async flush(): Promise<void> {
    const bytes = Buffer.from(this.getBytes());
    this.index = 0;
    await this.file.write(bytes);
  }
}

async function saveParquet(out: string, { state, order, dim, record }: Finished): Promise<void> {
  await writeWhole(out, async (file) => {
    const buffer = new ParquetBuffer(file);
    const parquet = new ParquetWriter({
      writer: buffer,
      schema: [
        { name: "root", num_children: 3 },
        { name: "name", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
        { name: "embedding", repetition_type: "REQUIRED", num_children: 1, converted_type: "LIST" },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", type: "FLOAT", repetition_type: "REQUIRED" },
        { name: "error", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      ],
      kvMetadata: [{ key: "torchclip", value: JSON.stringify(record) }],
    });
    let at = 0;
    for await (const floats of state.parts(order)) {
      const part = order.slice(at, at + floats.length / dim).map((row) => state.at(row));
      at += part.length;
      await parquet.write({
        columnData: [
          { name: "name", data: part.map((r) => r.name) },
          {
            name: "embedding",
            data: part.map((_, i) => Array.from(floats.subarray(i * dim, (i + 1) * dim))),
          },
          { name: "error", data: part.map((r) => (r.error ? `${r.error.code}: ${r.error.message}` : null)) },
        ],
        rowGroupSize: part.length,
      });
    }
    await parquet.finish();
    await buffer.flush();
  });
}
