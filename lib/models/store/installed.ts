import { readFile, stat, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import { addon } from "../../addon.js";
import { TorchclipError, toTorchclipError } from "../../errors.js";
import type { Settings } from "../../settings.js";
import { hashFile, isReadOnly, writeFileWhole, writing } from "../../util/files.js";
import { withLock } from "../../util/lock.js";
import { packageRoot } from "../../util/package.js";
import { namedOrigin } from "../catalog/lookup.js";
import type { WeightsOrigin } from "../config-types.js";
import { TorchArchive } from "../formats/torch-zip.js";
import { hashFromBlob } from "./hub.js";

/** A model that was loaded by name once. */
export interface InstalledModel {
  artifact: string;
  /** The weights that it was made of, and what lay beside them. */
  files: string[];
  /** Where the weights came from; absent where an earlier version installed it. */
  origin?: WeightsOrigin;
  importVersion: number;
}

/** Raised when imports of the same file come out different. */
export const IMPORT_VERSION = 4;

const installedFile = (at: Settings): string => join(at.cacheDir, "models.json");

type InstalledModels = Record<string, InstalledModel | undefined>;

async function readInstalled(at: Settings): Promise<InstalledModels> {
  return readFile(installedFile(at), "utf8")
    .then((text) => JSON.parse(text) as InstalledModels)
    .catch(() => ({}));
}

/** The models that were loaded by name and are still there. */
export async function installedModels(at: Settings): Promise<Record<string, InstalledModel>> {
  const found: Record<string, InstalledModel> = {};
  for (const [name, model] of Object.entries(await readInstalled(at))) {
    if (model?.importVersion !== IMPORT_VERSION) continue;
    if (await stat(model.artifact).catch(() => undefined)) found[name] = model;
  }
  return found;
}

/**
 * Adds a model to the list of installed ones. Where the cache cannot be written by this user (a container's
 * layer), the model is used all the same: its artifact is there.
 */
export async function remember(name: string, model: InstalledModel, at: Settings): Promise<void> {
  const same = (other: InstalledModel | undefined) => JSON.stringify(other) === JSON.stringify(model);
  if (same((await readInstalled(at))[name])) return;
  await changeInstalled(at, (all) => ({ ...all, [name]: model })).catch((error: unknown) => {
    if (!isReadOnly(error)) throw error;
  });
}

const without = (all: InstalledModels, name: string): InstalledModels =>
  Object.fromEntries(Object.entries(all).filter(([other]) => other !== name));

/** Changes the list of installed models; processes that change it at the same time wait for each other. */
async function changeInstalled(
  at: Settings,
  change: (all: InstalledModels) => InstalledModels,
): Promise<void> {
  const file = installedFile(at);
  await withLock(`${file}.lock`, async () =>
    writeFileWhole(file, JSON.stringify(change(await readInstalled(at)), null, 1)),
  );
}

/** The installed model of a name; E_MODEL_NOT_FOUND where it is not installed. */
export async function installedModel(
  model: string,
  at: Settings,
): Promise<InstalledModel & { name: string }> {
  const { name, origin } = namedOrigin(model);
  if (origin.kind === "bundled")
    return { name, artifact: join(packageRoot, origin.path), files: [], importVersion: IMPORT_VERSION };
  const known = (await installedModels(at))[name];
  if (!known)
    throw new TorchclipError(
      "E_MODEL_NOT_FOUND",
      `"${name}" is not installed; \`torchclip models pull ${name}\` installs it`,
      { subject: model },
    );
  return { ...known, name };
}

/**
 * Removes a model's artifact and, with `weights`, the files that it was made of. Returns what was removed.
 */
export async function removeModel(
  model: string,
  at: Settings,
  options: { weights?: boolean } = {},
): Promise<string[]> {
  const { name, artifact, files } = await installedModel(model, at);
  if (artifact.startsWith(packageRoot))
    throw new TorchclipError("E_ARGUMENT", `${name} is a part of torchclip`, { subject: model });
  const all = without(await readInstalled(at), name);
  const shared = Object.values(all).some((other) => other?.artifact === artifact);
  const doomed = shared ? [] : [artifact];
  if (options.weights) {
    const used = new Set(Object.values(all).flatMap((other) => other?.files ?? []));
    for (const file of files.filter((f) => !used.has(f))) {
      doomed.push(file);
      const blob = await realpath(file).catch(() => undefined);
      if (blob && blob !== file) doomed.push(blob);
    }
  }
  // The list first: a model that is listed and not there would be worse than a file that stays.
  await changeInstalled(at, (listed) => without(listed, name));
  for (const file of doomed) await writing(file, () => rm(file, { force: true }));
  return doomed;
}

/**
 * Reads every byte of a model's artifact against its checksums, and the weights against the hash in their
 * name.
 */
export async function verifyModel(model: string, at: Settings, signal?: AbortSignal): Promise<string[]> {
  const { artifact, files } = await installedModel(model, at);
  const archive = await TorchArchive.open(artifact);
  await archive.verify(signal);
  await addon()
    .verifyArtifact(artifact)
    .catch((error: unknown) => {
      throw toTorchclipError(error, "E_MODEL_CORRUPT", { subject: artifact });
    });
  const checked = [artifact];
  for (const file of files) {
    const expected =
      (await hashFromBlob(file)) ?? /\/downloads\/([0-9a-f]{64})\//.exec(file.replaceAll("\\", "/"))?.[1];
    if (!expected) continue;
    // A file may be removed to save space: the artifact does not need it.
    if (!(await stat(file).catch(() => undefined))) continue;
    const actual = await hashFile(file, "sha256", signal);
    if (actual !== expected)
      throw new TorchclipError("E_HASH_MISMATCH", `${file} has SHA-256 ${actual}, expected ${expected}`, {
        subject: file,
      });
    checked.push(file);
  }
  return checked;
}
