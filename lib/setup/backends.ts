import { existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { arch, platform } from "node:process";
import { extract } from "tar";
import { TorchclipError } from "../errors.js";
import { registryUrl, settings } from "../settings.js";
import { backendFolder, type BackendName } from "../util/backend-folders.js";
import { download } from "../util/download.js";
import { writeFileWhole, writeFolderWhole } from "../util/files.js";
import { withLock } from "../util/lock.js";
import { packageRoot, packageVersion } from "../util/package.js";
import { SCOPE } from "../util/platform.js";
import { findLibtorch, pinnedVersion, PINNED_SOURCES, type FindOptions } from "./libtorch.js";

/** As the core's `kLibrarySuffix`. */
const SUFFIX = platform === "darwin" ? "dylib" : "so";

/** The library of each backend that the core opens, beside the addon or in the backend's folder. */
const LIBRARIES: Record<BackendName, string> = {
  torch: `libtorchclip_torch.${SUFFIX}`,
  cuda: `libtorchclip_cuda.${SUFFIX}`,
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

const flavourOf = (name: BackendName): "cpu" | "cuda" => (name === "cuda" ? "cuda" : "cpu");

/** Where a local build of the repository puts the addon and its backends. */
const BUILT = join(packageRoot, "build", "Release");

/** The library of a backend: that of the local build first, then what `torchclip setup` installed. */
export function backendLibrary(name: BackendName, built = BUILT): string | undefined {
  const files = [built, backendFolder(name)].map((folder) => join(folder, LIBRARIES[name]));
  return files.find((file) => existsSync(file));
}

/** The backends that are needed for each: the one for GPUs uses the one for libtorch. */
const NEEDED: Record<BackendName, readonly BackendName[]> = { torch: ["torch"], cuda: ["torch", "cuda"] };

/** The file beside the torch backend that names its libtorch, for the core that opens both. */
const LIBTORCH_RECORD = "libtorchclip_torch.libtorch.txt";

/** What a release knows about a backend: an entry of `backends.json`, which scripts/package writes. */
interface Pin {
  /** The version of the backend's package. */
  version: string;
  /** The libtorch that it is compiled for: "2.13.0". */
  libtorch: string;
  /** Of the package's tarball. */
  sha256: string;
}

/** By the names of the packages. */
type Pins = Record<string, Pin | undefined>;

function readPins(file: string): Pins {
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Pins) : {};
}

export interface SetupOptions extends Omit<FindOptions, "flavour"> {
  /** Another `backends.json`; for tests. */
  pins?: string;
  /** The folder of a local build; for tests. */
  built?: string;
}

/**
 * Installs a backend into the cache: libtorch (about 200 MB, with CUDA 3 GB) and torchclip's libraries for it.
 * What is there is not fetched again. `load` finds them from then on. Throws E_DOWNLOAD where there is no
 * backend for this platform and version, or one for another libtorch, before anything is fetched.
 *
 * @example
 * const { libtorch } = await setupBackend("torch");
 */
export async function setupBackend(name: BackendName, options: SetupOptions = {}): Promise<BackendPaths> {
  const pins = readPins(options.pins ?? join(packageRoot, "backends.json"));
  const missing: { part: BackendName; pin: Pin }[] = [];
  for (const part of NEEDED[name]) {
    const library = backendLibrary(part, options.built);
    const pin = pins[backendPackage(part)];
    // A local build belongs to the libtorch that it was built with, which it has recorded.
    if (pin && (!library || library.startsWith(backendsCache() + sep))) checkFits(part, pin, name);
    if (library) continue;
    if (!pin) throw notPublished(backendPackage(part));
    missing.push({ part, pin });
  }
  const sources = options.sources ?? PINNED_SOURCES;
  const libtorch = await findLibtorch({ ...options, sources, flavour: flavourOf(name) });
  for (const { part, pin } of missing) {
    const fetch = async () => {
      if (!backendLibrary(part, options.built)) await fetchBackend(part, pin, options);
    };
    await withLock(`${backendFolder(part)}.lock`, fetch, { signal: options.signal });
  }
  // A local build has recorded its own libtorch.
  if (existsSync(backendFolder("torch"))) await recordLibtorch(name, libtorch);
  const library = backendLibrary(name, options.built);
  if (!library) throw new TorchclipError("E_INTERNAL", `${LIBRARIES[name]} is not where it was installed`);
  return { libtorch, library };
}

/** Names the libtorch for the torch backend; one with CUDA, which runs on the CPU as well, is kept. */
async function recordLibtorch(name: BackendName, libtorch: string): Promise<void> {
  const file = join(backendFolder("torch"), LIBTORCH_RECORD);
  const known = existsSync(file) ? readFileSync(file, "utf8").trim() : "";
  const hasCuda = existsSync(join(known, "lib", `libtorch_cuda.${SUFFIX}`));
  if (name === "torch" && known !== "" && hasCuda) return;
  await writeFileWhole(file, `${libtorch}\n`);
}

/** Throws E_DOWNLOAD where a backend was compiled for another minor version than that of the libtorch. */
function checkFits(part: BackendName, { libtorch }: Pin, wanted: BackendName): void {
  const version = pinnedVersion(flavourOf(wanted));
  const minor = (text: string) => text.split(".").slice(0, 2).join(".");
  if (minor(libtorch) === minor(version)) return;
  const packageName = backendPackage(part);
  throw new TorchclipError(
    "E_DOWNLOAD",
    `${packageName} is compiled for libtorch ${libtorch}, and \`setup ${wanted}\` installs ${version}: one cannot ` +
      "open the other. A clone of the repository that is built by `npm run build` has both (docs/install.md)",
    { subject: packageName },
  );
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
async function fetchBackend(name: BackendName, pin: Pin, options: SetupOptions): Promise<void> {
  const packageName = backendPackage(name);
  const target = backendFolder(name);
  const tarball = `${target}.tgz`;
  const url = `${registryUrl()}/${packageName}/-/${packageName.slice(SCOPE.length + 1)}-${pin.version}.tgz`;
  options.note?.(`${packageName} for libtorch ${pin.libtorch}: fetching ${url}`);
  const { onProgress, signal } = options;
  const { offline } = settings();
  await download({ urls: [url], target: tarball, hash: pin.sha256, offline, onProgress, signal });
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
