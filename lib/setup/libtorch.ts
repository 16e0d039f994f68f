import { execFile } from "node:child_process";
import { createWriteStream } from "node:fs";
import { chmod, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { arch, env, platform } from "node:process";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import yauzl from "yauzl";
import { TorchclipError } from "../errors.js";
import { download } from "../models/download.js";
import { settings } from "../settings.js";
import { writeWhole } from "../util/files.js";

const run = promisify(execFile);

/** The libtorch that is fetched; 2.11 to 2.14 are built against. */
export const LIBTORCH_VERSION = "2.13.0";
const OLDEST = [2, 11];
const NEWEST = [2, 14];

/**
 * Official archives by platform and flavour (cpu, or cu126 … by TORCHCLIP_CUDA) with their SHA-256. An archive whose
 * hash is not known here is not fetched: an unchecked library is never linked.
 */
const ARCHIVES: Record<string, { url: string; sha256: string } | undefined> = {};

export interface FindOptions {
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

/** A usable libtorch, fetched where none is at hand. Throws E_DOWNLOAD with what was tried and why each failed. */
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
      failures.push(`${source.name}: ${(error as Error).message.split("\n")[0]}`);
      // A folder that the user named is never passed over silently.
      if (source === SOURCES[0] && env.TORCHCLIP_LIBTORCH) break;
    }
  }
  throw new TorchclipError(
    "E_DOWNLOAD",
    [
      "No libtorch 2.11 to 2.14 was found. Tried:",
      ...failures.map((f) => `  ${f}`),
      "Set TORCHCLIP_LIBTORCH to a folder with include/ and lib/ (an unpacked libtorch, or the folder of an installed Python torch).",
    ].join("\n"),
  );
}

const SOURCES: readonly Source[] = [
  {
    name: "TORCHCLIP_LIBTORCH",
    find: () => (env.TORCHCLIP_LIBTORCH ? Promise.resolve(env.TORCHCLIP_LIBTORCH) : Promise.reject(new Error("not set"))),
  },
  { name: "cache", find: () => Promise.resolve(cacheFolder()) },
  { name: "installed Python torch", find: pythonTorch },
  { name: "official archive", find: officialArchive },
  { name: "pip download", find: pipDownload },
];

function flavour(): string {
  return env.TORCHCLIP_CUDA || "cpu";
}

function cacheFolder(): string {
  return join(settings().cacheDir, "libtorch", `${LIBTORCH_VERSION}-${flavour()}`);
}

/** Headers, libraries and a version in range; throws with what is missing. */
export async function checkLibtorch(folder: string): Promise<string> {
  const headers = ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"];
  for (const header of headers) {
    const text = await readFile(join(folder, header), "utf8").catch(() => undefined);
    if (!text) continue;
    const part = (name: string) => Number(new RegExp(`#define TORCH_VERSION_${name} (\\d+)`).exec(text)?.[1] ?? NaN);
    const version = [part("MAJOR"), part("MINOR")];
    if (version.some(Number.isNaN)) continue;
    const inRange = version[0] === OLDEST[0] && version[1] >= OLDEST[1] && version[1] <= NEWEST[1];
    if (!inRange) throw new Error(`${folder} is version ${version.join(".")}, not 2.11 to 2.14`);
    const libraries = await readdir(join(folder, "lib")).catch(() => [] as string[]);
    if (!libraries.some((l) => /torch_cpu\.(so|dylib|lib)$/.test(l))) throw new Error(`${folder} has no torch_cpu library`);
    return version.join(".");
  }
  throw new Error(`${folder} has no libtorch headers`);
}

async function pythonTorch(): Promise<string> {
  // find_spec, not import: importing torch takes seconds.
  const code = "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')";
  const { stdout } = await run(env.PYTHON || "python3", ["-c", code]).catch(() => ({ stdout: "" }));
  const folder = stdout.trim();
  if (!folder) throw new Error("python3 has no torch");
  return folder;
}

async function officialArchive(options: FindOptions): Promise<string> {
  const key = `${platform}-${arch}-${flavour()}`;
  const archive = ARCHIVES[key];
  if (!archive) throw new Error(`no archive with a known SHA-256 for ${key}`);
  const file = join(settings().cacheDir, "libtorch", `${LIBTORCH_VERSION}-${flavour()}.zip`);
  options.note?.(`libtorch: fetching ${archive.url}`);
  await download({
    urls: [archive.url],
    target: file,
    hash: archive.sha256,
    offline: settings().offline,
    onProgress: options.onProgress,
    signal: options.signal,
  });
  return unpack(file, /^libtorch\//, options);
}

/** The package registry's own wheel: pip checks its hash. */
async function pipDownload(options: FindOptions): Promise<string> {
  if (settings().offline) throw new Error("the network is off (TORCHCLIP_OFFLINE)");
  const folder = join(settings().cacheDir, "libtorch", `pip-${process.pid}`);
  await mkdir(folder, { recursive: true });
  try {
    options.note?.(`libtorch: pip download --no-deps torch==${LIBTORCH_VERSION}`);
    await run(env.PYTHON || "python3", ["-m", "pip", "download", "--no-deps", "--quiet", "--dest", folder, `torch==${LIBTORCH_VERSION}`], {
      signal: options.signal,
    });
    const wheel = (await readdir(folder)).find((f) => f.endsWith(".whl"));
    if (!wheel) throw new Error("pip fetched no wheel");
    return await unpack(join(folder, wheel), /^torch\/(?=(lib|include)\/)/, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Entries below `prefix` of a zip, into the cache; the folder appears under its name when it is whole. */
async function unpack(file: string, prefix: RegExp, options: FindOptions): Promise<string> {
  const target = cacheFolder();
  await rm(target, { recursive: true, force: true });
  await writeWhole(target, async (temporary) => {
    const zip = await yauzl.openPromise(file, { lazyEntries: true });
    let done = 0;
    for await (const entry of zip.eachEntry()) {
      options.onProgress?.(++done, zip.entryCount);
      if (entry.fileName.endsWith("/") || !prefix.test(entry.fileName)) continue;
      const to = join(temporary, entry.fileName.replace(prefix, ""));
      await mkdir(dirname(to), { recursive: true });
      await pipeline(await openEntry(zip, entry), createWriteStream(to));
      if (/\.so(\.|$)/.test(to)) await chmod(to, 0o755);
    }
    await checkLibtorch(temporary);
  });
  if (file.endsWith(".zip")) await rm(file, { force: true });
  return target;
}

function openEntry(zip: yauzl.ZipFile, entry: yauzl.Entry): Promise<NodeJS.ReadableStream> {
  return new Promise((resolve, reject) => zip.openReadStream(entry, (error, stream) => (error ? reject(error) : resolve(stream))));
}
