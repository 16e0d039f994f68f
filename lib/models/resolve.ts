import { createHash } from "node:crypto";
import { open, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { TorchclipError } from "../errors.js";
import { settings, type Settings } from "../settings.js";
import { hashFile, writeFileWhole } from "../util/files.js";
import { download } from "./download.js";
import { TorchArchive } from "./formats/torch-zip.js";
import { findSource, importModel, type ImportOptions, type ImportSource } from "./import.js";
import { findModel, MODELS, type ModelEntry } from "./registry.js";

export interface ResolveOptions extends ImportOptions {
  cacheDir?: string;
  /** Never use the network; also TORCHCLIP_OFFLINE. */
  offline?: boolean;
  /** Tried before the official addresses: base URL. */
  mirror?: string;
  onProgress?: (event: { what: string; done: number; total: number | undefined }) => void;
}

const packageRoot = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const IMPORT_VERSION = 2; // raised when imports of the same file come out different

/** The artifact of a model given by name, alias or path: downloaded and imported into the cache where needed. */
export async function resolveModel(model: string, options: ResolveOptions = {}): Promise<string> {
  if (typeof model !== "string" || model === "") throw new TorchclipError("E_ARGUMENT", "model must be a name or a path", { subject: "model" });
  const at = settings(options);
  if (options.mirror) at.hubMirror = at.openaiMirror = options.mirror;
  const entry = findModel(model);
  const onDisk = await stat(model).catch(() => undefined);
  if (entry && !onDisk) return resolveEntry(entry, at, options);
  if (!onDisk) {
    const names = MODELS.map((m) => m.name).join(", ");
    throw new TorchclipError("E_MODEL_NOT_FOUND", `"${model}" is neither a file, a folder nor a known model (${names})`, { subject: model });
  }
  return resolvePath(model, at, options);
}

async function resolveEntry(entry: ModelEntry, at: Settings, options: ResolveOptions): Promise<string> {
  if (entry.bundled) return join(packageRoot, entry.bundled);
  const folder = join(at.cacheDir, "models", entry.name.replaceAll("/", "--"));
  const files: string[] = [];
  const artifact = join(folder, `torchclip-${IMPORT_VERSION}.pt`);
  if (await stat(artifact).catch(() => undefined)) return artifact;
  for (const file of entry.files) {
    const target = join(folder, file.name);
    files.push(
      await download({
        urls: file.urls(at),
        target,
        hash: file.sha256,
        offline: at.offline,
        signal: options.signal,
        onProgress: (done, total) => options.onProgress?.({ what: `${entry.name}: ${file.name}`, done, total }),
      }),
    );
  }
  const source: ImportSource = files.length === 1 ? { weights: files[0] } : await findSource(folder);
  await importModel(source, artifact, { name: entry.name, signal: options.signal });
  return artifact;
}

/** A path: an artifact is used as it is; weights are imported once, under the hash of their content. */
async function resolvePath(path: string, at: Settings, options: ResolveOptions): Promise<string> {
  const info = await stat(path);
  if (info.isFile() && (await isArtifact(path))) return path;
  const source = await findSource(path);
  const { arch, activation, signal } = options;
  const folder = join(at.cacheDir, "imports");
  const sha256 = await weightsHash(source.weights, folder, signal);
  // The same weights with another config or tokenizer are another model.
  const key = createHash("sha256").update(JSON.stringify([IMPORT_VERSION, sha256, arch, activation]));
  for (const file of [source.config, source.preprocessor, source.tokenizer]) key.update(file ? await readFile(file) : "-");
  const artifact = join(folder, `${key.digest("hex").slice(0, 32)}.pt`);
  if (!(await stat(artifact).catch(() => undefined))) {
    await importModel({ ...source, sha256 }, artifact, { name: options.name ?? basename(path), arch, activation, signal });
  }
  return artifact;
}

interface KnownHash {
  size: number;
  mtimeMs: number;
  sha256: string;
}

/** SHA-256 of a file, remembered by its path, size and time of change: hashing gigabytes takes seconds. */
async function weightsHash(file: string, folder: string, signal: AbortSignal | undefined): Promise<string> {
  const index = join(folder, "hashes.json");
  const known: Record<string, KnownHash> = await readFile(index, "utf8")
    .then((text) => JSON.parse(text) as Record<string, KnownHash>)
    .catch(() => ({}));
  const path = resolve(file);
  const { size, mtimeMs } = await stat(path);
  const entry = Object.hasOwn(known, path) ? known[path] : undefined;
  if (entry?.size === size && entry.mtimeMs === mtimeMs && /^[0-9a-f]{64}$/.test(entry.sha256)) return entry.sha256;
  const sha256 = await hashFile(path, "sha256", signal);
  await writeFileWhole(index, JSON.stringify({ ...known, [path]: { size, mtimeMs, sha256 } }));
  return sha256;
}

/** Whether a file is an artifact that torchclip wrote. */
async function isArtifact(path: string): Promise<boolean> {
  const handle = await open(path);
  const head = Buffer.alloc(4);
  await handle.read(head, 0, 4, 0).finally(() => handle.close());
  return head.toString("latin1") === "PK\u0003\u0004" && (await TorchArchive.open(path)).has("extra/torchclip.json");
}
