import { existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { arch, platform } from "node:process";
import { extract } from "tar";
import { TorchclipError } from "../errors.js";
import { registryUrl, settings } from "../settings.js";
import { download } from "../util/download.js";
import { writeFolderWhole } from "../util/files.js";
import { packageRoot, packageVersion } from "../util/package.js";
import { SCOPE } from "../util/platform.js";
import { cacheFolder, checkLibtorch, findLibtorch, PINNED_SOURCES, type FindOptions } from "./libtorch.js";

/** What `torchclip setup` installs: libtorch, and the part of torchclip that uses it. */
export type BackendName = "torch" | "cuda";

export const BACKENDS: readonly BackendName[] = ["torch", "cuda"];

/** The library of each backend that the core opens, beside the addon or in the backend's folder. */
const LIBRARIES: Record<BackendName, string> = {
  torch: "libtorchclip_torch.so",
  cuda: "libtorchclip_cuda.so",
};

/** The npm package of a backend for this platform: "@torchclip/torch-linux-x64". */
export const backendPackage = (name: BackendName): string => `${SCOPE}/${name}-${platform}-${arch}`;

/** A backend and the libtorch that it is opened with. */
export interface BackendPaths {
  /** The folder that holds libtorch's lib/. */
  libtorch: string;
  /** The backend's own library. */
  library: string;
}

/**
 * Where a backend is, for what opens it: the local build first, then what `torchclip setup` installed;
 * undefined where a part of it is missing. This is the place at which the core learns of both paths.
 *
 * @example
 * backendPaths("torch")?.libtorch; // "/home/me/.cache/torchclip/libtorch/2.13.0-cpu/torch"
 */
export function backendPaths(name: BackendName): BackendPaths | undefined {
  const libtorch = cacheFolder({ flavour: flavourOf(name) });
  const library = backendFiles(name).find((file) => existsSync(file));
  return library && existsSync(join(libtorch, "lib")) ? { libtorch, library } : undefined;
}

const flavourOf = (name: BackendName): "cpu" | "cuda" => (name === "cuda" ? "cuda" : "cpu");

/** The files that may be a backend's library, in their order. */
export function backendFiles(name: BackendName): string[] {
  const library = LIBRARIES[name];
  return [join(packageRoot, "build", "Release", library), join(backendFolder(name), library)];
}

/** The folder of the cache for a backend of this version of torchclip. */
const backendFolder = (name: BackendName): string =>
  join(settings().cacheDir, "backends", `${name}-${packageVersion()}`);

/** What a release knows about its backends: `backends.json` of the package, by the names of their packages. */
type Pins = Record<string, { sha256: string } | undefined>;

function pinOf(packageName: string, file: string): { sha256: string } | undefined {
  if (!existsSync(file)) return undefined;
  return (JSON.parse(readFileSync(file, "utf8")) as Pins)[packageName];
}

export interface SetupOptions extends Omit<FindOptions, "flavour"> {
  /** `backends.json` with the SHA-256 of each backend's package; for tests. */
  pins?: string;
}

/**
 * Installs a backend into the cache: libtorch (about 200 MB, with CUDA 3 GB) and torchclip's library for it.
 * What is there is not fetched again. Throws E_DOWNLOAD where there is no backend for this platform and
 * version, before anything is fetched.
 *
 * @example
 * const { libtorch } = await setupBackend("torch");
 */
export async function setupBackend(name: BackendName, options: SetupOptions = {}): Promise<BackendPaths> {
  const [built, installed] = backendFiles(name);
  const packageName = backendPackage(name);
  const pin = pinOf(packageName, options.pins ?? join(packageRoot, "backends.json"));
  if (!existsSync(built) && !existsSync(installed) && !pin) throw notPublished(packageName);
  const sources = options.sources ?? PINNED_SOURCES;
  const libtorch = await findLibtorch({ ...options, sources, flavour: flavourOf(name) });
  await checkLibtorch(libtorch);
  if (existsSync(built)) return { libtorch, library: built };
  if (!existsSync(installed) && pin) await fetchBackend(name, pin.sha256, options);
  return { libtorch, library: installed };
}

function notPublished(packageName: string): TorchclipError {
  return new TorchclipError(
    "E_DOWNLOAD",
    `torchclip ${packageVersion()} has no ${packageName}: no backend is published for this version and platform. ` +
      "A clone of the repository that is built by `npm run build` has it (docs/install.md)",
    { subject: packageName },
  );
}

/** The package from the registry, checked by its SHA-256, unpacked into the cache. */
async function fetchBackend(name: BackendName, sha256: string, options: SetupOptions): Promise<void> {
  const packageName = backendPackage(name);
  const version = packageVersion();
  const target = backendFolder(name);
  const tarball = `${target}.tgz`;
  const url = `${registryUrl()}/${packageName}/-/${packageName.slice(SCOPE.length + 1)}-${version}.tgz`;
  options.note?.(`${packageName}: fetching ${url}`);
  const { onProgress, signal } = options;
  const { offline } = settings();
  await download({ urls: [url], target: tarball, hash: sha256, offline, onProgress, signal });
  await rm(target, { recursive: true, force: true });
  await writeFolderWhole(target, (temporary) =>
    extract({ file: tarball, cwd: temporary, strip: 1, strict: true }),
  );
  await rm(tarball, { force: true });
  if (!existsSync(join(target, LIBRARIES[name])))
    throw new TorchclipError("E_DOWNLOAD", `${packageName} holds no ${LIBRARIES[name]}`, { subject: url });
}

/** The folder of the cache that holds all backends. */
export const backendsCache = (): string => dirname(backendFolder("torch"));
