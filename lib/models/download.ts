import { createWriteStream } from "node:fs";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import lockfile from "proper-lockfile";
import { TorchclipError } from "../errors.js";
import { hashFile } from "../util/files.js";

export interface DownloadOptions {
  /** Tried in order. */
  urls: string[];
  target: string;
  /** Expected SHA-256 in hex (or "md5:…", "git:…" for a git blob's); the file appears under its name only when it matches. */
  hash?: string;
  /** Sent with each request; a redirect to another origin goes without `authorization` (the Fetch standard). */
  headers?: Record<string, string>;
  offline?: boolean;
  signal?: AbortSignal;
  /** Bytes so far and in all (undefined while unknown). */
  onProgress?: (done: number, total: number | undefined, url: string) => void;
}

const ATTEMPTS = 6; // without a byte of progress
const LOCK_STALE = 30_000; // ms

/**
 * A file by HTTP: resumed after a cut (also by a later process), checked, renamed when it is whole. A second process
 * that wants the same file waits for the first.
 */
export async function download(options: DownloadOptions): Promise<string> {
  const { target, urls } = options;
  if (await exists(target)) return target;
  if (options.offline) {
    throw new TorchclipError("E_OFFLINE", `${target} is not in the cache, and the network is off (offline mode). It comes from ${urls[0]}`, {
      subject: target,
    });
  }
  await mkdir(dirname(target), { recursive: true });
  const release = await lockfile
    .lock(target, { realpath: false, stale: LOCK_STALE, retries: { forever: true, minTimeout: 50, maxTimeout: 1000 } })
    .catch((cause: unknown) => {
      throw new TorchclipError("E_LOCKED", `cannot lock ${target}: ${(cause as Error).message}`, { subject: target, cause });
    });
  try {
    if (await exists(target)) return target;
    const failures: string[] = [];
    for (const url of urls) {
      try {
        await fetchWhole(url, options);
        return target;
      } catch (error) {
        if (options.signal?.aborted) throw new TorchclipError("E_ABORTED", "aborted", { cause: error });
        if (error instanceof TorchclipError && error.code === "E_WRITE") throw error;
        failures.push(`${url}: ${(error as Error).message}`);
        if (error instanceof TorchclipError && error.code === "E_HASH_MISMATCH" && url === urls.at(-1)) throw error;
      }
    }
    throw new TorchclipError("E_DOWNLOAD", `could not download ${target}:\n  ${failures.join("\n  ")}`, { subject: target });
  } finally {
    await release();
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

async function fetchWhole(url: string, options: DownloadOptions): Promise<void> {
  const part = `${options.target}.part`;
  let idle = 0;
  for (;;) {
    const before = (await stat(part).catch(() => undefined))?.size ?? 0;
    try {
      const whole = await fetchSome(url, part, before, options);
      if (whole) break;
      throw new Error("the connection was cut");
    } catch (error) {
      if (options.signal?.aborted || error instanceof TorchclipError) throw error;
      const now = (await stat(part).catch(() => undefined))?.size ?? 0;
      idle = now > before ? 0 : idle + 1;
      if (idle >= ATTEMPTS) throw error;
      await new Promise((r) => setTimeout(r, 50 * 2 ** idle));
    }
  }
  if (options.hash) {
    const actual = await hashAs(options.hash, part);
    if (actual !== options.hash) {
      await rm(part, { force: true });
      throw new TorchclipError("E_HASH_MISMATCH", `${url} has hash ${actual}, expected ${options.hash}; nothing of it was kept`, { subject: url });
    }
  }
  await rename(part, options.target);
}

async function hashAs(like: string, file: string): Promise<string> {
  if (like.startsWith("md5:")) return `md5:${await hashFile(file, "md5")}`;
  if (!like.startsWith("git:")) return hashFile(file, "sha256");
  return `git:${await hashFile(file, "sha1", undefined, `blob ${(await stat(file)).size}\0`)}`;
}

/** One request; true when the file is complete. */
async function fetchSome(url: string, part: string, from: number, options: DownloadOptions): Promise<boolean> {
  const response = await fetch(url, {
    headers: { ...options.headers, "accept-encoding": "identity", ...(from ? { range: `bytes=${from}-` } : {}) },
    signal: options.signal,
  });
  if (response.status === 416) {
    // Nothing after `from`: the part is complete, or longer than the file (then the hash tells).
    return true;
  }
  if (!response.ok || !response.body) {
    throw new TorchclipError("E_DOWNLOAD", `HTTP ${response.status} ${response.statusText}`, { subject: url });
  }
  const resumed = response.status === 206;
  let done = resumed ? from : 0;
  const length = response.headers.get("content-length");
  const total = length === null ? undefined : done + Number(length);
  const body = Readable.fromWeb(response.body as import("node:stream/web").ReadableStream);
  body.on("data", (chunk: Buffer) => {
    done += chunk.length;
    options.onProgress?.(done, total, url);
  });
  try {
    await pipeline(body, createWriteStream(part, { flags: resumed ? "a" : "w" }), { signal: options.signal });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EACCES" || code === "EROFS" || code === "EFBIG") {
      if (code === "ENOSPC") await rm(part, { force: true });
      throw new TorchclipError("E_WRITE", `cannot write ${part}: ${(error as Error).message}`, { subject: part, cause: error });
    }
    throw error;
  }
  return total === undefined || done >= total;
}
