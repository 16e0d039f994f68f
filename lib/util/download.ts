import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { TorchclipError } from "../errors.js";
import { redactText, redactUrl } from "../redact.js";
import type { Address } from "../settings.js";
import { firstAnswer, type Failure } from "./fallback.js";
import { hashFile, syncFile, syncFolder, writeAll, writeFileWhole, writing } from "./files.js";
import { lock } from "./lock.js";
import type { Origin } from "./origin.js";

export interface DownloadOptions {
  /** Tried in order. */
  urls: string[];
  target: string;
  /**
   * Expected SHA-256 in hex (or "md5:…", "git:…" for a git blob's); the file appears under its name only when
   * it matches.
   */
  hash?: string;
  /**
   * Sent with each request; a redirect to another origin goes without `authorization` (the Fetch standard).
   */
  headers?: Record<string, string>;
  offline?: boolean;
  /** Ends the message of a download that fails: what else may be done. */
  remedy?: string;
  signal?: AbortSignal;
  /**
   * Told, a sentence each, where an address fails and the next one is asked. Default: a warning of the
   * process.
   */
  onNote?: (text: string) => void;
  /** Told which of the addresses the file came from; not where it was there already. */
  onFetched?: (url: string) => void;
  /** Bytes so far and in all (undefined while unknown). */
  onProgress?: (done: number, total: number | undefined, url: string) => void;
}

const ATTEMPTS = 6; // without a byte of progress

/**
 * A file by HTTP: resumed after a cut (also by a later process), checked, renamed when it is whole. A second
 * process that wants the same file waits for the first. On a full disk the part stays for a later call to go
 * on from.
 */
export async function download(options: DownloadOptions): Promise<string> {
  const { target } = options;
  if (await exists(target)) return target;
  if (options.offline) {
    const from = options.urls.at(0) ?? "no address";
    throw new TorchclipError(
      "E_OFFLINE",
      `${target} is not in the cache, and the network is off (offline mode). It comes from ${from}`,
      { subject: target },
    );
  }
  const held = await lock(`${target}.lock`, { wait: true, signal: options.signal });
  try {
    if (!(await exists(target))) await fetchFromFirst(options, () => held.check());
    return target;
  } finally {
    await held.release();
  }
}

/** Fetches the file from the first address that gives it. */
async function fetchFromFirst(options: DownloadOptions, check: () => Promise<void>): Promise<void> {
  const fetchFrom = async (url: string): Promise<void> => {
    await fetchWhole(url, options, check);
    options.onFetched?.(url);
  };
  const outcome = await firstAnswer(options.urls, fetchFrom, {
    signal: options.signal,
    fatal: ["E_WRITE", "E_LOCKED"],
    onNext: (failure, next) => tellNext(options.onNote, sentence(failure), next),
  });
  if ("failures" in outcome) throw downloadError(outcome.failures, options);
}

/** The error of a download whose addresses all failed. */
function downloadError(
  failures: readonly Failure<string>[],
  { target, remedy }: DownloadOptions,
): TorchclipError {
  const end = remedy ? `. ${remedy}` : "";
  const last = failures.at(-1);
  if (last?.error instanceof TorchclipError && last.error.code === "E_HASH_MISMATCH") {
    const message = last.error.message + end;
    return new TorchclipError("E_HASH_MISMATCH", message, { subject: last.address, cause: last.error });
  }
  const list = failures.map((failure) => sentence(failure)).join("\n  ");
  return new TorchclipError("E_DOWNLOAD", `could not download ${target}:\n  ${list}${end}`, {
    subject: target,
  });
}

function sentence({ address, error }: Failure<string>): string {
  return `${address}: ${(error as Error).message}`;
}

/** What a download says beside its result. Where nobody listens it is a warning of the process. */
export function tell(onNote: ((text: string) => void) | undefined, text: string): void {
  const shown = redactText(text);
  if (onNote) onNote(shown);
  else process.emitWarning(shown, "TorchclipWarning");
}

/** Tells that an address failed, and which one is asked after it. */
export function tellNext(onNote: ((text: string) => void) | undefined, failure: string, next: string): void {
  tell(onNote, `${failure}. Now ${next} is asked`);
}

/** Ends the message of a failure where a mirror was the only address; else undefined. */
export function mirrorRemedy(addresses: readonly Address[]): string | undefined {
  const [only, ...others] = addresses;
  if (only?.kind !== "mirror" || others.length > 0) return undefined;
  return (
    "The mirror alone was asked; " +
    "with --mirror-fallback (mirrorFallback: true, TORCHCLIP_MIRROR_FALLBACK=1) " +
    "the original address is asked after it"
  );
}

/**
 * Downloads a file from the first of its addresses that gives it, unless it is there, and says where it came
 * from. That is remembered beside it.
 */
export async function downloadFrom(
  addresses: readonly Address[],
  options: Omit<DownloadOptions, "urls" | "onFetched">,
): Promise<Origin> {
  const { target, hash } = options;
  const remedy = [mirrorRemedy(addresses), options.remedy].filter(Boolean).join(". ");
  let fetched: string | undefined;
  await download({
    ...options,
    remedy,
    urls: addresses.map(({ url }) => url),
    onFetched: (url) => (fetched = url),
  });
  const from = addresses.find(({ url }) => url === fetched);
  if (!from) return recordedOrigin(target);
  const origin: Origin = { kind: from.kind, location: redactUrl(from.url), hashKnown: hash !== undefined };
  await writeFileWhole(recordOf(target), `${JSON.stringify(origin)}\n`);
  return origin;
}

/** The file beside `target` that says where it came from. */
const recordOf = (target: string): string => `${target}.origin.json`;

/** Where a file of the cache came from, as `downloadFrom` remembered it. */
export async function recordedOrigin(target: string): Promise<Origin> {
  const unknown: Origin = { kind: "cache", location: target, hashKnown: false };
  const text = await readFile(recordOf(target), "utf8").catch(() => "");
  try {
    const { kind, location, hashKnown } = JSON.parse(text) as Partial<Origin>;
    const isOrigin =
      (kind === "download" || kind === "mirror") &&
      typeof location === "string" &&
      typeof hashKnown === "boolean";
    return isOrigin ? { kind, location, hashKnown } : unknown;
  } catch {
    return unknown;
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
      throw new TorchclipError(
        "E_HASH_MISMATCH",
        `${url} has hash ${actual}, expected ${options.hash}; nothing of it was kept`,
        { subject: url },
      );
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
async function fetchSome(
  url: string,
  part: string,
  from: number,
  options: DownloadOptions,
): Promise<boolean> {
  const response = await fetch(url, {
    headers: {
      ...options.headers,
      "accept-encoding": "identity",
      ...(from ? { range: `bytes=${from}-` } : {}),
    },
    signal: options.signal,
  });
  if (response.status === 416) {
    // Nothing after `from`: the part is complete, or longer than the file (then the hash tells).
    return true;
  }
  if (!response.ok || !response.body) {
    throw new TorchclipError("E_DOWNLOAD", `HTTP ${response.status} ${response.statusText}`, {
      subject: url,
    });
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
