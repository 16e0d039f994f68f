import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { cannotRead, checkAborted, toTorchclipError, TorchclipError } from "../errors.js";
import { pathInside } from "../util/inside.js";
import { shown, Untrusted } from "../util/untrusted.js";
import { EmbeddingIndex } from "./embedding-index.js";
import type { ParquetOptions } from "./parquet.js";

/** A file of embeddings, with the name and the content's hash of each row. */
interface ShardFile {
  file: string;
  index: EmbeddingIndex;
  names: readonly string[];
  contents: readonly string[];
}

type OpenShard = (file: string, options: ParquetOptions) => Promise<ShardFile>;

/** The rows of all shards. */
export interface ManifestRows extends Omit<ShardFile, "file"> {
  /** What was embedded, as the command that enqueued it was given it. */
  input: string;
  /** The model, by the name that this command gave, and the SHA-256 of its weights. */
  model: { name: string; sha256: string };
}

/** What the manifest says of its shards. */
interface Manifest extends Pick<ManifestRows, "input" | "model"> {
  dim: number;
  shards: { file: string; rows: number }[];
}

const EMBEDDINGS = /\.(npy|parquet)$/;
/** Values of a shard that are copied at once. */
const COPY_VALUES = 1 << 20;

/**
 * Opens what `torchclip embed --queue` wrote, by its manifest.json: the rows of all shards in their order, in
 * memory. The shards must lie beside the manifest, as the run wrote them.
 *
 * Throws E_INDEX_NOT_FOUND; E_INDEX_CORRUPT where the manifest or a shard is damaged or they do not fit; E_READ;
 * E_ABORTED.
 *
 * @param open Opens the file of a shard.
 */
export async function openManifest(
  file: string,
  options: ParquetOptions,
  open: OpenShard,
): Promise<ManifestRows> {
  const check = new Untrusted("E_INDEX_CORRUPT", file);
  const { dim, shards, ...run } = readManifest(await readText(file), check);
  const { precision, device } = options;
  const index = EmbeddingIndex.create(dim, { precision, device });
  const names: string[] = [];
  const contents: string[] = [];
  try {
    for (const { file: name, rows } of shards) {
      const shard = await open(await shardPath(file, name, check), { signal: options.signal });
      try {
        checkShard(shard, { rows, dim }, check);
        await copyRows(shard.index, index, options.signal);
        for (const each of shard.names) names.push(each);
        for (const each of shard.contents) contents.push(each);
      } finally {
        shard.index.close();
      }
    }
    await index.upload();
    const isWhole = contents.length === names.length;
    return { index, names, contents: isWhole ? contents : [], ...run };
  } catch (error) {
    index.close();
    throw error;
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    if (isMissing) throw cannotRead("E_INDEX_NOT_FOUND", file, error);
    throw toTorchclipError(error, "E_READ", { subject: file });
  }
}

function readManifest(text: string, check: Untrusted): Manifest {
  const about = check.object(check.largeJson(text), "it");
  if (about.shards === undefined) throw check.error("it is no manifest of `torchclip embed --queue`");
  const shards = check.array(about.shards, "shards").map((each, i) => {
    const what = `shards[${i}]`;
    const shard = check.object(each, what);
    const files = check.array(shard.files, `${what}.files`).map((one, k) => {
      const named = check.object(one, `${what}.files[${k}]`);
      return check.text(named.name, `${what}.files[${k}].name`);
    });
    const embeddings = files.find((name) => EMBEDDINGS.test(name));
    if (embeddings === undefined) throw check.error(`${what} names no file of embeddings`);
    return { file: embeddings, rows: check.count(shard.rows, `${what}.rows`) };
  });
  const { model: name } = check.object(about.settings, "settings");
  const { weights } = check.object(about.model, "model");
  return {
    input: check.text(about.input, "input"),
    model: { name: check.text(name, "settings.model"), sha256: check.text(weights, "model.weights") },
    dim: check.count(about.dim, "dim", 1, 65536),
    shards,
  };
}

/** The path of a shard's file, which must be in the manifest's folder; also of what a link leads to. */
async function shardPath(manifest: string, name: string, check: Untrusted): Promise<string> {
  try {
    const path = await pathInside(dirname(manifest), name);
    if (!EMBEDDINGS.test(path))
      throw check.error(`its shard ${shown(name)} is a link to no file of embeddings`);
    return path;
  } catch (error) {
    if (error instanceof TorchclipError && error.code === "E_INDEX_CORRUPT") throw error;
    if (error instanceof TorchclipError)
      throw check.error(`its shard cannot be opened: ${error.message}`, error);
    throw error;
  }
}

function checkShard(
  { file, index, names }: ShardFile,
  { rows, dim }: { rows: number; dim: number },
  check: Untrusted,
): void {
  if (index.rows !== rows) throw check.error(`${file} has ${index.rows} rows, not ${rows}`);
  if (index.dim !== dim) throw check.error(`${file} holds vectors of ${index.dim}, not of ${dim}`);
  if (names.length !== rows) throw check.error(`${file} names ${names.length} rows, not ${rows}`);
}

async function copyRows(from: EmbeddingIndex, to: EmbeddingIndex, signal?: AbortSignal): Promise<void> {
  const most = Math.ceil(COPY_VALUES / from.dim);
  for (let row = 0; row < from.rows; row += most) {
    checkAborted(signal);
    await to.add(from.vectors(row, Math.min(most, from.rows - row)));
  }
}
