import { createHash } from "node:crypto";
import { open, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { TorchclipError } from "../../errors.js";
import { addressesOf, settings, type Settings } from "../../settings.js";
import { downloadFrom } from "../../util/download.js";
import { packageRoot } from "../../util/package.js";
import type { HubId } from "../catalog/hub-id.js";
import { namedOrigin } from "../catalog/lookup.js";
import { isPublishedHash, type ModelOrigin } from "../catalog/registry.js";
import type { WeightsOrigin } from "../config-types.js";
import { readWeightMap } from "../formats/weight-index.js";
import type { ImportOptions } from "../import/import.js";
import {
  CONFIG_NAMES,
  findSource,
  nameOf,
  PREPROCESSOR_NAMES,
  PROCESSOR_NAMES,
  TOKENIZER_CONFIG_NAMES,
  TOKENIZER_NAMES,
  WEIGHT_NAMES,
  type ImportSource,
} from "../import/source.js";
import { hashFromBlob, HubRepository } from "./hub.js";
import { IMPORT_VERSION, installedModels, remember, type InstalledModel } from "./installed.js";
import { weightsHash } from "./weights-hash.js";

export interface ResolveOptions extends ImportOptions {
  /**
   * Where imported models are kept; with it, the hub's files too (below `hub`), otherwise Python's own cache
   * holds those.
   */
  cacheDir?: string;
  /** Never use the network; also TORCHCLIP_OFFLINE, HF_HUB_OFFLINE. */
  offline?: boolean;
  /**
   * Base URL that is asked in place of the official addresses, whose paths it serves. No other address is
   * asked.
   */
  mirror?: string;
  /** Ask the official address, too, where the mirror fails. Default false; also TORCHCLIP_MIRROR_FALLBACK. */
  mirrorFallback?: boolean;
  /** Ask the hub again, although the model is installed. */
  refresh?: boolean;
  /**
   * Told, a sentence each, where a mirror or the hub fails and something else is used. Default: a warning of
   * the process.
   */
  onNote?: (text: string) => void;
  onProgress?: (event: { what: string; done: number; total: number | undefined }) => void;
}

/** A model's artifact, and where its weights came from. */
export interface LocatedModel {
  artifact: string;
  origin: WeightsOrigin;
}

/**
 * The artifact of a model: by a name of `models`, by a hub id ("org/name", "org/name@revision"), or by the
 * path of an artifact, of weights, or of a folder with weights. Downloaded and imported into the cache where
 * that was not done yet; an installed one needs no network.
 */
export async function resolveModel(model: string, options: ResolveOptions = {}): Promise<string> {
  return (await locateModel(model, options)).artifact;
}

/** What `resolveModel` gives, and where the weights came from. */
export async function locateModel(model: string, options: ResolveOptions = {}): Promise<LocatedModel> {
  if (typeof model !== "string" || model === "")
    throw new TorchclipError("E_ARGUMENT", "model must be a name or a path", { subject: "model" });
  const at = modelSettings(options);
  if (await stat(model).catch(() => undefined)) return resolvePath(model, at, options);
  const { name, origin } = namedOrigin(model);
  if (options.trustCode) {
    throw new TorchclipError(
      "E_ARGUMENT",
      `trustCode is for files of yours alone, and "${model}" is no path; ` +
        "download it, look at it, and load its path",
      { subject: "trustCode" },
    );
  }
  if (origin.kind === "bundled")
    return {
      artifact: join(packageRoot, origin.path),
      origin: { kind: "package", location: origin.path, hashKnown: false },
    };
  const known = (await installedModels(at))[name];
  if (known && !options.refresh && !options.arch && !options.activation)
    return { artifact: known.artifact, origin: originOfInstalled(known) };
  const source =
    origin.kind === "file"
      ? await fetchFile(name, origin, at, options)
      : await fetchHub(name, origin, at, options);
  const arch = options.arch ?? (origin.kind === "hub" && !source.config ? origin.arch : undefined);
  const { artifact, files } = await importOnce(source, at, { ...options, arch, name: options.name ?? name });
  await remember(name, { artifact, files, origin: source.origin, importVersion: IMPORT_VERSION }, at);
  return { artifact, origin: source.origin };
}

export const modelSettings = (options: ResolveOptions): Settings => settings(options);

function originOfInstalled({ origin, files, artifact }: InstalledModel): WeightsOrigin {
  return origin ?? { kind: "cache", location: files[0] ?? artifact, hashKnown: false };
}

/** Weights, and where they came from. */
type FetchedSource = ImportSource & { origin: WeightsOrigin };

async function fetchFile(
  name: string,
  { file }: ModelOrigin & { kind: "file" },
  at: Settings,
  options: ResolveOptions,
): Promise<FetchedSource> {
  const weights = join(at.cacheDir, "downloads", file.sha256, file.name);
  const origin = await downloadFrom(addressesOf(file.url, at), {
    target: weights,
    hash: file.sha256,
    offline: at.offline,
    remedy: file.hub ? `The same weights are on the hub as ${file.hub}: \`--model ${file.hub}\`` : undefined,
    signal: options.signal,
    onNote: options.onNote,
    onProgress: (done, total) => options.onProgress?.({ what: `${name}: ${file.name}`, done, total }),
  });
  return { weights, sha256: file.sha256, origin };
}

const isOpenClips = (name: string): boolean => name.startsWith("open_clip");
const OPEN_CLIP_FIRST = [
  ...WEIGHT_NAMES.filter((name) => isOpenClips(name)),
  ...WEIGHT_NAMES.filter((name) => !isOpenClips(name)),
];

/** The files of a hub repository that an import reads, and no others. */
async function fetchHub(
  name: string,
  origin: { repo: string; revision?: string },
  at: Settings,
  options: ResolveOptions,
): Promise<FetchedSource> {
  const id: HubId = { repo: origin.repo, revision: origin.revision ?? "main" };
  const onProgress = (file: string, done: number, total: number | undefined) =>
    options.onProgress?.({ what: `${name}: ${file}`, done, total });
  const hub = new HubRepository(id, at, { signal: options.signal, onNote: options.onNote, onProgress });
  const config = await hub.first(CONFIG_NAMES);
  // Repositories that serve both libraries hold the weights twice: open_clip's go with open_clip's config.
  const openClip = config !== undefined && basename(config) === CONFIG_NAMES[0];
  const weights = await hub.first(openClip ? OPEN_CLIP_FIRST : WEIGHT_NAMES);
  if (!weights) throw noWeights(id, at);
  if (weights.endsWith(".index.json")) await fetchShards(weights, hub);
  if (weights.endsWith(".onnx"))
    await hub.file(`${weights.includes("/onnx/") ? "onnx/" : ""}${basename(weights)}_data`);
  return {
    weights,
    config,
    preprocessor: await hub.first(PREPROCESSOR_NAMES),
    processor: await hub.first(PROCESSOR_NAMES),
    tokenizer: await hub.first(TOKENIZER_NAMES),
    tokenizerConfig: await hub.first(TOKENIZER_CONFIG_NAMES),
    origin: await hub.originOf(weights),
  };
}

/** The error of a repository without weights, or of one that is not in the cache. */
function noWeights({ repo, revision }: HubId, at: Settings): TorchclipError {
  if (!at.offline) {
    const message = `${repo} holds none of ${WEIGHT_NAMES.join(", ")}`;
    return new TorchclipError("E_MODEL_UNSUPPORTED", message, { subject: repo });
  }
  return new TorchclipError(
    "E_OFFLINE",
    `${repo} at ${revision} is not in ${at.hubCache}, and the network is off (offline mode)`,
    { subject: repo },
  );
}

async function fetchShards(index: string, hub: HubRepository): Promise<void> {
  for (const shard of new Set((await readWeightMap(index)).values())) {
    if (!(await hub.file(shard)))
      throw new TorchclipError("E_MODEL_CORRUPT", `${index} names ${shard}, which the repository lacks`, {
        subject: index,
      });
  }
}

/** A path: an artifact is used as it is; weights are imported once, under the hash of their content. */
async function resolvePath(path: string, at: Settings, options: ResolveOptions): Promise<LocatedModel> {
  const info = await stat(path);
  if (info.isFile() && (await isArtifact(path)))
    return { artifact: path, origin: { kind: "path", location: path, hashKnown: false } };
  const source = await findSource(path);
  const { artifact, sha256 } = await importOnce(source, at, {
    ...options,
    name: options.name ?? nameOf(path),
  });
  return { artifact, origin: { kind: "path", location: source.weights, hashKnown: isPublishedHash(sha256) } };
}

interface Imported {
  artifact: string;
  /** The weights, and what lay beside them. */
  files: string[];
  /** Of the weights. */
  sha256: string;
}

async function importOnce(source: ImportSource, at: Settings, options: ResolveOptions): Promise<Imported> {
  const { name, arch, activation, trustCode, imageSize, contextLength, signal } = options;
  const folder = join(at.cacheDir, "imports");
  const sha256 =
    source.sha256 ??
    (await hashFromBlob(source.weights)) ??
    (await weightsHash(source.weights, folder, signal));
  // The same weights with another config or tokenizer are another model.
  const beside = [
    source.config,
    source.preprocessor,
    source.processor,
    source.tokenizer,
    source.tokenizerConfig,
  ];
  const key = createHash("sha256").update(
    JSON.stringify([IMPORT_VERSION, sha256, arch, activation, imageSize, contextLength]),
  );
  for (const file of beside) key.update(file ? await readFile(file) : "-");
  const artifact = join(folder, `${key.digest("hex").slice(0, 32)}.pt`);
  if (!(await stat(artifact).catch(() => undefined))) {
    const { importModel } = await import("../import/import.js");
    await importModel({ ...source, sha256 }, artifact, {
      name,
      arch,
      activation,
      trustCode,
      imageSize,
      contextLength,
      signal,
    });
  }
  const files = [source.weights, ...beside.filter((file) => file !== undefined)];
  return { artifact, files, sha256 };
}

/** Room for the directory of a zip of some ten thousand records. */
const DIRECTORY_BYTES = 1 << 20;

/**
 * Whether a file is an artifact that torchclip wrote: a zip whose directory, at its end, names
 * torchclip.json. Whether it is a whole one, the native loader says.
 */
async function isArtifact(path: string): Promise<boolean> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    const head = Buffer.alloc(4);
    await handle.read(head, 0, 4, 0);
    if (head.toString("latin1") !== "PK\u0003\u0004") return false;
    const tail = Buffer.alloc(Math.min(size, DIRECTORY_BYTES));
    await handle.read(tail, 0, tail.length, size - tail.length);
    return tail.includes("/extra/torchclip.json");
  } finally {
    await handle.close();
  }
}
