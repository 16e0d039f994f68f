import { execFile } from "node:child_process";
import { createWriteStream } from "node:fs";
import { chmod, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { arch, platform } from "node:process";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import yauzl from "yauzl";
import { TorchclipError } from "../errors.js";
import { buildSettings, settings } from "../settings.js";
import { download } from "../util/download.js";
import { writeFolderWhole } from "../util/files.js";
import { openEntry } from "../util/unzip.js";

const run = promisify(execFile);

/**
 * The libtorch that is fetched, and the package with CUDA (TORCHCLIP_CUDA=1); 2.11 to 2.14 are built against.
 */
export const LIBTORCH_VERSION = "2.13.0";
export const CUDA_LIBTORCH_VERSION = "2.14.1";
/** Minor versions from `oldest` to `newest`. */
const SUPPORTED = { major: 2, oldest: 11, newest: 14 };

const DOWNLOADS = "https://download.pytorch.org/libtorch";
/**
 * Official archives by platform and flavour (cpu, or cu130 by TORCHCLIP_CUDA) with their SHA-256. PyTorch
 * publishes no list of hashes; each of these is pinned alike by at least two unrelated public projects. An
 * archive whose hash is not known here is not fetched: an unchecked library is never linked.
 */
const ARCHIVES: Record<string, { url: string; sha256: string } | undefined> = {
  "linux-x64-cpu": {
    url: `${DOWNLOADS}/cpu/libtorch-shared-with-deps-2.13.0%2Bcpu.zip`,
    sha256: "edbf4cbed78433d803e90a65f1752e57783d164bce66c95c0872b2ab8f5c159e",
  },
  "linux-x64-cu130": {
    url: `${DOWNLOADS}/cu130/libtorch-shared-with-deps-2.13.0%2Bcu130.zip`,
    sha256: "945c5a3d946a28b387ad9dc9fddda7ba03e35fae1375b84ebff15df789436f82",
  },
  "darwin-arm64-cpu": {
    url: `${DOWNLOADS}/cpu/libtorch-macos-arm64-2.13.0.zip`,
    sha256: "1e10c6c4dc2764150c9fb2ad28e1889191302734e7f939108e5d2f22f21a06f8",
  },
};

/**
 * "cpu"; "cuda", with NVIDIA's libraries; or the CUDA of an official archive ("cu130"), which brings none of
 * them.
 */
export type Flavour = "cpu" | "cuda" | `cu${number}`;

export interface FindOptions {
  /** Which libtorch. Default: the one that TORCHCLIP_CUDA asks for. */
  flavour?: Flavour;
  note?: (text: string) => void;
  onProgress?: (done: number, total: number | undefined) => void;
  signal?: AbortSignal;
  /** The order of the search, for tests; the default is all of it. */
  sources?: readonly Source[];
}

export interface Source {
  name: string;
  /** The folder with include/ and lib/; throws with the reason where this source has none. */
  find(options: FindOptions): Promise<string>;
}

/**
 * A usable libtorch, fetched where none is at hand. Throws E_DOWNLOAD with what was tried and why each
 * failed.
 */
export async function findLibtorch(options: FindOptions = {}): Promise<string> {
  const failures: string[] = [];
  for (const source of options.sources ?? SOURCES) {
    try {
      const folder = await source.find(options);
      await checkLibtorch(folder);
      options.note?.(`libtorch: ${folder} (${source.name})`);
      return folder;
    } catch (error) {
      if (options.signal?.aborted) throw error;
      failures.push(`${source.name}: ${firstLine((error as Error).message)}`);
      // A folder that the user named is never passed over silently.
      if (source === SOURCES[0] && buildSettings().libtorch) break;
    }
  }
  throw new TorchclipError(
    "E_DOWNLOAD",
    [
      "No libtorch 2.11 to 2.14 was found. Tried:",
      ...failures.map((failure) => `  ${failure}`),
      "Set TORCHCLIP_LIBTORCH to a folder with include/ and lib/ " +
        "(an unpacked libtorch, or the folder of an installed Python torch).",
    ].join("\n"),
  );
}

const firstLine = (text: string): string => text.split("\n")[0];

const CACHE: Source = { name: "cache", find: (options) => Promise.resolve(cacheFolder(options)) };
const ARCHIVE: Source = { name: "official archive", find: officialArchive };
const PIP: Source = { name: "pip download", find: pipDownload };

const SOURCES: readonly Source[] = [
  {
    name: "TORCHCLIP_LIBTORCH",
    find: () => {
      const { libtorch } = buildSettings();
      return libtorch ? Promise.resolve(libtorch) : Promise.reject(new Error("not set"));
    },
  },
  CACHE,
  { name: "installed Python torch", find: pythonTorch },
  ARCHIVE,
  PIP,
];

/** The sources that end in the cache: what is there is of one version, for which backends are compiled. */
export const PINNED_SOURCES: readonly Source[] = [CACHE, ARCHIVE, PIP];

function flavourOf({ flavour }: FindOptions): Flavour {
  if (flavour) return flavour;
  const { cuda: wanted } = buildSettings();
  if (wanted === "" || wanted === "0") return "cpu";
  return /^cu\d+$/.test(wanted) ? (wanted as Flavour) : "cuda";
}

/** The version of a flavour that is fetched. */
export function pinnedVersion(flavour: Flavour): string {
  return flavour === "cuda" ? CUDA_LIBTORCH_VERSION : LIBTORCH_VERSION;
}

/** The folder of the cache that holds all that was fetched of libtorch. */
export const libtorchCache = (): string => join(settings().cacheDir, "libtorch");

/** The name of a libtorch in the cache: "2.13.0-cpu". */
const cacheName = (options: FindOptions): string =>
  `${pinnedVersion(flavourOf(options))}-${flavourOf(options)}`;

/** NVIDIA's libraries lie beside `torch/`, as in Python's site-packages: libtorch looks for them there. */
export function cacheFolder(options: FindOptions): string {
  return join(libtorchCache(), cacheName(options), "torch");
}

/** Headers, libraries and a version in range; throws with what is missing. */
export async function checkLibtorch(folder: string): Promise<string> {
  const headers = ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"];
  for (const header of headers) {
    const text = await readFile(join(folder, header), "utf8").catch(() => undefined);
    if (!text) continue;
    const major = versionPart(text, "MAJOR");
    const minor = versionPart(text, "MINOR");
    if (major === undefined || minor === undefined) continue;
    const version = `${major}.${minor}`;
    const inRange = major === SUPPORTED.major && minor >= SUPPORTED.oldest && minor <= SUPPORTED.newest;
    if (!inRange) throw new Error(`${folder} is version ${version}, not 2.11 to 2.14`);
    const libraries = await readdir(join(folder, "lib")).catch(() => [] as string[]);
    if (!libraries.some((name) => /torch_cpu\.(so|dylib|lib)$/.test(name)))
      throw new Error(`${folder} has no torch_cpu library`);
    return version;
  }
  throw new Error(`${folder} has no libtorch headers`);
}

/** A number of libtorch's version, as its header version.h defines it. */
function versionPart(header: string, name: "MAJOR" | "MINOR"): number | undefined {
  const digits = new RegExp(`#define TORCH_VERSION_${name} (\\d+)`).exec(header)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

async function pythonTorch(): Promise<string> {
  // find_spec, not import: importing torch takes seconds.
  const code = [
    "import importlib.util as u",
    "s = u.find_spec('torch')",
    "print(s.submodule_search_locations[0] if s else '')",
  ].join("; ");
  const { stdout } = await run(buildSettings().python, ["-c", code]).catch(() => ({ stdout: "" }));
  const folder = stdout.trim();
  if (!folder) throw new Error("python3 has no torch");
  return folder;
}

async function officialArchive(options: FindOptions): Promise<string> {
  const key = `${platform}-${arch}-${flavourOf(options)}`;
  const archive = ARCHIVES[key];
  if (!archive) throw new Error(`no archive with a known SHA-256 for ${key}`);
  const file = join(libtorchCache(), `${cacheName(options)}.zip`);
  options.note?.(`libtorch: fetching ${archive.url}`);
  await download({
    urls: [archive.url],
    target: file,
    hash: archive.sha256,
    offline: settings().offline,
    onProgress: options.onProgress,
    signal: options.signal,
  });
  return unpack([{ file, prefix: /^libtorch\//, to: "torch" }], options);
}

/** The package registry's own wheels: pip checks their hashes. */
async function pipDownload(options: FindOptions): Promise<string> {
  if (settings().offline) throw new Error("the network is off (TORCHCLIP_OFFLINE)");
  const folder = join(libtorchCache(), `pip-${process.pid}`);
  await mkdir(folder, { recursive: true });
  const pip = async (...args: string[]): Promise<string[]> => {
    options.note?.(`libtorch: pip download ${args.join(" ")}`);
    const before = new Set(await readdir(folder));
    await run(buildSettings().python, ["-m", "pip", "download", "--quiet", "--dest", folder, ...args], {
      signal: options.signal,
    });
    return (await readdir(folder))
      .filter((f) => f.endsWith(".whl") && !before.has(f))
      .map((f) => join(folder, f));
  };
  try {
    const [wheel] = await pip("--no-deps", `torch==${pinnedVersion(flavourOf(options))}`);
    if (!wheel) throw new Error("pip fetched no wheel");
    const archives: Archive[] = [{ file: wheel, prefix: /^torch\/(?=(lib|include)\/)/, to: "torch" }];
    // A registry may serve a CUDA build under the plain name: its CPU half, too, needs two small NVIDIA
    // libraries.
    const needed = nvidiaPackages(await wheelMetadata(wheel), flavourOf(options) === "cpu");
    if (needed.length) {
      for (const file of await pip(...needed)) archives.push({ file, prefix: /^nvidia\//, to: "nvidia" });
    }
    return await unpack(archives, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function wheelMetadata(wheel: string): Promise<string> {
  const zip = await yauzl.openPromise(wheel, { lazyEntries: true });
  for await (const entry of zip.eachEntry()) {
    if (/^[^/]+\.dist-info\/METADATA$/.test(entry.fileName)) return text(await openEntry(zip, entry));
  }
  throw new Error(`${wheel} has no METADATA`);
}

/**
 * The NVIDIA packages that a torch wheel's METADATA names, as requirements for pip; with `runtimeOnly` those
 * that libtorch_cpu itself is linked with (cudart and cupti). Exported for tests.
 */
export function nvidiaPackages(metadata: string, runtimeOnly: boolean): string[] {
  const found: string[] = [];
  for (const match of metadata.matchAll(/^Requires-Dist: ((?:cuda-toolkit|nvidia-)[^;\n]*)/gm)) {
    const requirement = match[1].trim();
    const toolkit = /^cuda-toolkit\[[^\]]*\](.*)$/.exec(requirement);
    if (!runtimeOnly) found.push(requirement);
    else if (toolkit) found.push(`cuda-toolkit[cudart,cupti]${toolkit[1]}`);
    else if (/^nvidia-cuda-(runtime|cupti)/.test(requirement)) found.push(requirement);
  }
  return found;
}

interface Archive {
  file: string;
  /** Entries below it are taken … */
  prefix: RegExp;
  /** … into this folder beside the others. */
  to: "torch" | "nvidia";
}

/** Entries of zips, into the cache; the folder appears under its name when it is whole. */
async function unpack(archives: Archive[], options: FindOptions): Promise<string> {
  const target = cacheFolder(options);
  await rm(dirname(target), { recursive: true, force: true });
  await writeFolderWhole(dirname(target), async (temporary) => {
    for (const { file, prefix, to } of archives) {
      const zip = await yauzl.openPromise(file, { lazyEntries: true });
      let done = 0;
      for await (const entry of zip.eachEntry()) {
        options.onProgress?.(++done, zip.entryCount);
        if (entry.fileName.endsWith("/") || !prefix.test(entry.fileName)) continue;
        const path = join(temporary, to, entry.fileName.replace(prefix, ""));
        await mkdir(dirname(path), { recursive: true });
        await pipeline(await openEntry(zip, entry), createWriteStream(path));
        if (/\.so(\.|$)/.test(path)) await chmod(path, 0o755);
      }
    }
    await checkLibtorch(join(temporary, "torch"));
  });
  for (const { file } of archives) await rm(file, { force: true });
  return target;
}
