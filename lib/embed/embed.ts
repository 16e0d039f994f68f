import { appendFile, mkdir, open, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { fileWriter, ParquetWriter } from "hyparquet-writer";
import { lock } from "proper-lockfile";
import { packageVersion } from "../addon.js";
import type { BatchOptions, Clip, StageTimes } from "../clip.js";
import { TorchclipError, toTorchclipError } from "../errors.js";
import type { TokenizeOptions } from "../text/tokenize.js";
import { writeFileWhole, writeWhole } from "../util/files.js";
import { floatBytes, npyHeader } from "../util/npy.js";
import type { ImageSource } from "./sources.js";

export interface EmbedOptions extends Pick<BatchOptions, "batchSize" | "autoRotate" | "fastDecode" | "resizeOn" | "decodeOn" | "signal">, TokenizeOptions {
  /** What the input was, for the record and to tell runs apart. */
  input: string;
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

interface Row {
  name: string;
  error?: { code: string; message: string };
}

const COPY_ROWS = 4096;

/**
 * Embeddings of all pictures of a source into a file: .npy (float32 [rows, dim], with OUT.json beside it, which holds
 * the names) or .parquet (columns name, embedding, error). A picture that cannot be read is a row of NaN with its error.
 * What is done is kept in OUT.partial until the file is whole, so that the same call after a stop, however hard, goes
 * on behind the last whole row.
 */
export async function embedImages(clip: Clip, source: ImageSource, out: string, options: EmbedOptions): Promise<EmbedResult> {
  const times = { read: 0, decode: 0, resize: 0, forward: 0 };
  return run(clip, out, options, "images", source.count, times, async function* (done) {
    const names: string[] = [];
    const images = async function* () {
      for await (const { name, image } of source.images(done)) {
        names.push(name);
        yield image;
      }
    };
    const { batchSize, autoRotate, fastDecode, resizeOn, decodeOn, signal } = options;
    for await (const batch of clip.streamImages(images(), { batchSize, autoRotate, fastDecode, resizeOn, decodeOn, signal, onError: "collect", times })) {
      const rows = names.splice(0, batch.rows).map((name, i): Row => {
        const e = batch.errors[i];
        return e ? { name, error: { code: e.code, message: e.message } } : { name };
      });
      yield { data: batch.data, rows };
    }
  });
}

/** The same for texts; names are the texts. */
export async function embedTexts(clip: Clip, texts: readonly string[], out: string, options: EmbedOptions): Promise<EmbedResult> {
  const times = { read: 0, decode: 0, resize: 0, forward: 0 };
  return run(clip, out, options, "texts", texts.length, times, async function* (done) {
    const size = options.batchSize ?? 256;
    for (let start = done; start < texts.length; start += size) {
      const part = texts.slice(start, start + size);
      const before = performance.now();
      const { data } = await clip.encodeTexts(part, { truncate: options.truncate, batchSize: size, signal: options.signal });
      times.forward += (performance.now() - before) / 1000;
      yield { data, rows: part.map((name) => ({ name })) };
    }
  });
}

async function run(
  clip: Clip,
  out: string,
  options: EmbedOptions,
  kind: "images" | "texts",
  total: number | undefined,
  times: StageTimes,
  batches: (done: number) => AsyncGenerator<{ data: Float32Array; rows: Row[] }>,
): Promise<EmbedResult> {
  if (!/\.(npy|parquet)$/i.test(out)) throw new TorchclipError("E_ARGUMENT", `the output must be a .npy or .parquet file, not ${out}`, { subject: "out" });
  const started = performance.now();
  const { config, precision, device, embedDim } = clip.info;
  const about = {
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
  const partial = `${out}.partial`;
  await mkdir(partial, { recursive: true });
  const release = await lock(partial, { stale: 15_000 }).catch((cause: unknown) => {
    throw new TorchclipError("E_LOCKED", `${partial} is in use by another process`, { subject: partial, cause });
  });
  try {
    const state = new Partial(partial, embedDim);
    const resumed = await state.begin(JSON.stringify(about));
    let done = resumed;
    options.onProgress?.(done, total);
    for await (const { data, rows } of batches(resumed)) {
      await state.add(data, rows);
      done += rows.length;
      options.onProgress?.(done, total);
    }
    if (done === 0) throw new TorchclipError("E_DATASET_EMPTY", `${options.input} holds nothing to embed`, { subject: options.input });
    const rows = await state.rows();
    if (/\.npy$/i.test(out)) await saveNpy(out, state, rows, embedDim, about);
    else await saveParquet(out, state, rows, embedDim, about);
    await release();
    await rm(partial, { recursive: true, force: true });
    const errors = rows.flatMap((r, index) => (r.error ? [{ index, name: r.name, ...r.error }] : []));
    return { rows: done, resumed, errors, times, seconds: (performance.now() - started) / 1000 };
  } catch (error) {
    await release().catch(() => {});
    throw toTorchclipError(error, "E_WRITE", { subject: out });
  }
}

/** What a run has done so far: rows.f32, and names.jsonl with a line a row. Only what both hold whole counts. */
class Partial {
  private readonly data: string;
  private readonly names: string;

  constructor(
    private readonly folder: string,
    private readonly dim: number,
  ) {
    this.data = join(folder, "rows.f32");
    this.names = join(folder, "names.jsonl");
  }

  /** Cuts off what a crash left half-written, or starts anew where the run was another; returns the rows that are done. */
  async begin(key: string): Promise<number> {
    const about = join(this.folder, "run.json");
    if ((await readFile(about, "utf8").catch(() => "")) !== key) {
      await rm(this.data, { force: true });
      await rm(this.names, { force: true });
      await writeFileWhole(about, key);
    }
    const text = await readFile(this.names, "utf8").catch(() => "");
    const handle = await open(this.data, "a");
    const { size } = await handle.stat();
    await handle.close();
    const lines = text.split("\n").slice(0, -1);
    const done = Math.min(Math.floor(size / (this.dim * 4)), lines.length);
    await truncate(this.data, done * this.dim * 4);
    await writeFileWhole(
      this.names,
      lines
        .slice(0, done)
        .map((l) => `${l}\n`)
        .join(""),
    );
    return done;
  }

  async add(data: Float32Array, rows: Row[]): Promise<void> {
    await appendFile(this.data, floatBytes(data));
    await appendFile(this.names, rows.map((r) => `${JSON.stringify(r)}\n`).join(""));
  }

  async rows(): Promise<Row[]> {
    const text = await readFile(this.names, "utf8");
    return text
      .split("\n")
      .slice(0, -1)
      .map((l) => JSON.parse(l) as Row);
  }

  /** The embeddings, some whole rows at a time. */
  async *parts(): AsyncGenerator<Buffer> {
    const file = await open(this.data, "r");
    try {
      const { size } = await file.stat();
      const step = COPY_ROWS * this.dim * 4;
      for (let at = 0; at < size; at += step) {
        const chunk = Buffer.alloc(Math.min(step, size - at));
        let filled = 0;
        while (filled < chunk.length) filled += (await file.read(chunk, filled, chunk.length - filled, at + filled)).bytesRead;
        yield chunk;
      }
    } finally {
      await file.close();
    }
  }
}

async function saveNpy(out: string, state: Partial, rows: Row[], dim: number, about: object): Promise<void> {
  const errors = rows.flatMap((r, index) => (r.error ? [{ index, ...r.error }] : []));
  await writeFileWhole(`${out}.json`, `${JSON.stringify({ ...about, rows: rows.length, errors, names: rows.map((r) => r.name) })}\n`);
  await writeWhole(out, async (temporary) => {
    const file = await open(temporary, "wx");
    try {
      await file.write(npyHeader(rows.length, dim));
      for await (const part of state.parts()) await file.write(part);
    } finally {
      await file.close();
    }
  });
}

async function saveParquet(out: string, state: Partial, rows: Row[], dim: number, about: object): Promise<void> {
  await writeWhole(out, async (temporary) => {
    const parquet = new ParquetWriter({
      writer: fileWriter(temporary),
      schema: [
        { name: "root", num_children: 3 },
        { name: "name", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
        { name: "embedding", repetition_type: "REQUIRED", num_children: 1, converted_type: "LIST" },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", type: "FLOAT", repetition_type: "REQUIRED" },
        { name: "error", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      ],
      kvMetadata: [{ key: "torchclip", value: JSON.stringify(about) }],
    });
    let at = 0;
    for await (const bytes of state.parts()) {
      const floats = new Float32Array(bytes.length / 4);
      Buffer.from(floats.buffer).set(bytes);
      const part = rows.slice(at, at + floats.length / dim);
      at += part.length;
      await parquet.write({
        columnData: [
          { name: "name", data: part.map((r) => r.name) },
          { name: "embedding", data: part.map((_, i) => Array.from(floats.subarray(i * dim, (i + 1) * dim))) },
          { name: "error", data: part.map((r) => (r.error ? `${r.error.code}: ${r.error.message}` : null)) },
        ],
        rowGroupSize: part.length,
      });
    }
    await parquet.finish();
  });
}
