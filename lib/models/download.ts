import { open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { TorchclipError } from "../errors.js";
import { hashFile, syncFile, syncFolder, writeAll, writing } from "../util/files.js";
import { lock } from "../util/lock.js";

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

/**
 * A file by HTTP: resumed after a cut (also by a later process), checked, renamed when it is whole. A second process
 * that wants the same file waits for the first. On a full disk the part stays for a later call to go on from.
 */
export async function download(options: DownloadOptions): Promise<string> {
  const { target, urls } = options;
  if (await exists(target)) return target;
  if (options.offline) {
    throw new TorchclipError("E_OFFLINE", `${target} is not in the cache, and the network is off (offline mode). It comes from ${urls[0]}`, {
      subject: target,
    });
  }
  const held = await lock(`${target}.lock`, { wait: true, signal: options.signal });
  try {
    if (await exists(target)) return target;
    const failures: string[] = [];
    for (const url of urls) {
      try {
        await fetchWhole(url, options, () => held.check());
        return target;
      } catch (error) {
        if (options.signal?.aborted) throw new TorchclipError("E_ABORTED", "aborted", { cause: error });
        if (error instanceof TorchclipError && ["E_WRITE", "E_LOCKED"].includes(error.code)) throw error;
        failures.push(`${url}: ${(error as Error).message}`);
        if (error instanceof TorchclipError && error.code === "E_HASH_MISMATCH" && url === urls.at(-1)) throw error;
      }
    }
    throw new TorchclipError("E_DOWNLOAD", `could not download ${target}:\n  ${failures.join("\n  ")}`, { subject: target });
  } finally {
    await held.release();
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

/** `check` throws where this process may no longer write the file. */
async function fetchWhole(url: string, options: DownloadOptions, check: () => Promise<void>): Promise<void> {
  const part = `${options.target}.part`;
  let idle = 0;
  for (;;) {
    const before = (await stat(part).catch(() => undefined))?.size ?? 0;
    await check();
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
  await check();
  await writing(options.target, async () => {
    await syncFile(part);
    await rename(part, options.target);
    await syncFolder(dirname(options.target));
  });
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
  const file = await writing(part, () => open(part, resumed ? "a" : "w"));
  try {
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      await writing(part, () => writeAll(file, chunk));
      done += chunk.byteLength;
      options.onProgress?.(done, total, url);
    }
  } finally {
    await file.close();
  }
  return total === undefined || done >= total;
}
