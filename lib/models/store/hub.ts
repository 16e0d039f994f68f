import { readFile, readlink, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, posix, relative, sep } from "node:path";
import { TorchclipError } from "../../errors.js";
import { redactUrl } from "../../redact.js";
import { HUB, hubServers, hubToken, type Address, type Settings } from "../../settings.js";
import { firstAnswer, type Failure } from "../../util/fallback.js";
import { download, mirrorRemedy, tell, tellNext } from "../../util/download.js";
import { makeFolder, syncFolder, temporaryFor, writeFileWhole, writing } from "../../util/files.js";
import type { HubId } from "../catalog/hub-id.js";
import type { WeightsOrigin } from "../config-types.js";

export interface HubOptions {
  signal?: AbortSignal;
  /** Told, a sentence each, where a server fails and something else is used. */
  onNote?: (text: string) => void;
  onProgress?: (file: string, done: number, total: number | undefined) => void;
}

/**
 * The folder of one repository in a cache laid out as Python's huggingface_hub does it, so that either finds
 * what the other downloaded: blobs/<etag>, snapshots/<commit>/<file> (links to blobs) and refs/<revision> (a
 * commit).
 */
export class HubRepository {
  private readonly folder: string;
  private commit: string | undefined;
  /** By the path in the cache: the address of each file that a server was asked for. */
  private readonly fetched = new Map<string, Address>();
  private toldFallback = false;
  /** The user's token, once it was read: it is asked for where the hub itself is. */
  private token: { value: string | undefined } | undefined;

  constructor(
    private readonly id: HubId,
    private readonly at: Settings,
    private readonly options: HubOptions = {},
  ) {
    this.folder = join(at.hubCache, `models--${id.repo.replaceAll("/", "--")}`);
  }

  /** The first of these files that the repository has, downloaded where it is not in the cache. */
  async first(names: readonly string[]): Promise<string | undefined> {
    for (const name of names) {
      const file = await this.file(name);
      if (file) return file;
    }
    return undefined;
  }

  /** A file's path in the cache; undefined where the repository does not have it. */
  async file(name: string): Promise<string | undefined> {
    if (this.at.offline) return this.cached(name);
    const servers = hubServers(this.at);
    const outcome = await firstAnswer(servers, (server) => this.fetch(server, name), {
      signal: this.options.signal,
      fatal: ["E_WRITE", "E_HASH_MISMATCH", "E_LOCKED"],
      onNext: (failure, next) => this.tellFallback(name, failure, next),
    });
    if ("answer" in outcome) return outcome.answer;
    const { failures } = outcome;
    const cached = await this.cached(name);
    if (!cached) throw this.unreadable(name, failures, mirrorRemedy(servers));
    const reasons = failures.map((failure) => sentence(failure)).join("; ");
    tell(
      this.options.onNote,
      `${this.id.repo}/${name} is taken from the cache, which may be older: ${reasons}`,
    );
    return cached;
  }

  /** The error of a file that no server gave. */
  private unreadable(
    name: string,
    failures: readonly Failure<Address>[],
    remedy: string | undefined,
  ): TorchclipError {
    const { repo, revision } = this.id;
    const missing = failures.every(
      ({ error }) => error instanceof TorchclipError && error.code === "E_MODEL_NOT_FOUND",
    );
    const reasons = failures.map((failure) => sentence(failure)).join("\n  ");
    return new TorchclipError(
      missing ? "E_MODEL_NOT_FOUND" : "E_DOWNLOAD",
      `could not read ${repo}/${name} at ${revision}:\n  ${reasons}${remedy ? `. ${remedy}` : ""}`,
      { subject: repo },
    );
  }

  /** Once: the other files of the repository go the same way. */
  private tellFallback(name: string, failure: Failure<Address>, next: Address): void {
    if (!this.toldFallback)
      tellNext(this.options.onNote, `${this.id.repo}/${name} at ${sentence(failure)}`, next.url);
    this.toldFallback = true;
  }

  /** Where a file that `file` or `first` gave came from: the server that answered for it, or the cache. */
  async originOf(path: string): Promise<WeightsOrigin> {
    const [commit = ""] = relative(join(this.folder, "snapshots"), path).split(sep);
    const server = this.fetched.get(path);
    return {
      kind: server?.kind ?? "cache",
      location: server === undefined ? path : redactUrl(server.url),
      hub: `${this.id.repo}@${commit}`,
      hashKnown: (await hashFromBlob(path)) !== undefined,
    };
  }

  private async cached(name: string): Promise<string | undefined> {
    const { revision } = this.id;
    const commit = /^[0-9a-f]{40}$/.test(revision)
      ? revision
      : await readFile(join(this.folder, "refs", revision), "utf8").catch(() => undefined);
    if (!commit) return undefined;
    const path = join(this.folder, "snapshots", commit.trim(), name);
    return (await stat(path).catch(() => undefined))?.isFile() ? path : undefined;
  }

  private async fetch(server: Address, name: string): Promise<string | undefined> {
    // All files of one call come from one commit, whatever is pushed meanwhile.
    const revision = encodeURIComponent(this.commit ?? this.id.revision);
    const url = `${server.url}/${this.id.repo}/resolve/${revision}/${name}`;
    const known = await this.cached(name);
    if (known && this.commit && dirnameAt(known, name).endsWith(this.commit)) return known;
    const head = await this.head(url);
    if (!head) return undefined;
    const { commit, etag } = head;
    this.commit ??= commit;
    const blob = join(this.folder, "blobs", etag);
    await download({
      urls: [url],
      target: blob,
      hash: hashOfEtag(etag),
      headers: this.headers(url),
      signal: this.options.signal,
      onProgress: (done, total) => this.options.onProgress?.(name, done, total),
    });
    const link = join(this.folder, "snapshots", commit, ...name.split("/"));
    await placeLink(blob, link);
    this.fetched.set(link, { url, kind: server.kind });
    if (commit !== this.id.revision) await this.rememberCommit(commit);
    return link;
  }

  /**
   * Writes which commit the revision is, unless that is known: a cache that cannot be written may hold all
   * already.
   */
  private async rememberCommit(commit: string): Promise<void> {
    const file = join(this.folder, "refs", ...this.id.revision.split("/"));
    if ((await readFile(file, "utf8").catch(() => "")) !== commit) await writeFileWhole(file, commit);
  }

  /**
   * The user's token is for the hub alone: a mirror, or another server that the hub leads to, does not get
   * it.
   */
  private headers(url: string): Record<string, string> {
    const isHub = new URL(url).origin === new URL(this.at.hubEndpoint ?? HUB).origin;
    if (!isHub) return {};
    this.token ??= { value: hubToken() };
    return this.token.value ? { authorization: `Bearer ${this.token.value}` } : {};
  }

  /** Commit and etag of a file; undefined where the revision does not have it. */
  private async head(url: string): Promise<FileHead | undefined> {
    const { response, last } = await this.requestHead(url);
    const code = response.headers.get("x-error-code");
    if (response.status === 404 && (code === "EntryNotFound" || code === null)) return undefined;
    if (response.status >= 400) throw refusal(response, code, last);
    return readHead(response.headers, last);
  }

  /** The answer to a HEAD request, and the URL that gave it. */
  private async requestHead(url: string): Promise<{ response: Response; last: string }> {
    let last = url;
    for (let redirects = 0; ; redirects++) {
      const response = await fetch(last, {
        method: "HEAD",
        redirect: "manual",
        headers: { ...this.headers(last), "accept-encoding": "identity" },
        signal: this.options.signal,
      });
      // A renamed repository redirects on the same origin; another one is the store of large files.
      const to = response.headers.get("location");
      const next = to ? new URL(to, last) : undefined;
      if (next?.origin !== new URL(last).origin || redirects === MOST_REDIRECTS) return { response, last };
      last = next.href;
    }
  }
}

const MOST_REDIRECTS = 5;

/** What the hub's headers say of a file. */
interface FileHead {
  commit: string;
  etag: string;
}

function readHead(headers: Headers, url: string): FileHead {
  const etag = (headers.get("x-linked-etag") ?? headers.get("etag") ?? "")
    .replace(/^W\//, "")
    .replaceAll('"', "");
  const commit = headers.get("x-repo-commit") ?? "";
  if (/^[\w.-]{8,}$/.test(etag) && /^[0-9a-f]{40}$/.test(commit)) return { commit, etag };
  throw new TorchclipError(
    "E_DOWNLOAD",
    "it does not answer as the hub does (no commit or etag in its headers)",
    { subject: url },
  );
}

/** The error of an answer with a status of 400 or more; `code` is the hub's own. */
function refusal({ status, statusText }: Response, code: string | null, url: string): TorchclipError {
  if (status === 404) {
    const what = code === "RevisionNotFound" ? "it has no such revision" : "there is no such repository";
    return new TorchclipError("E_MODEL_NOT_FOUND", what, { subject: url });
  }
  if (status !== 401 && status !== 403)
    return new TorchclipError("E_DOWNLOAD", `HTTP ${status} ${statusText}`, { subject: url });
  const what =
    code === "GatedRepo"
      ? "its licence has to be accepted on the hub first"
      : "no such repository, or it is private";
  return new TorchclipError(
    "E_DOWNLOAD",
    `HTTP ${status}: ${what}; a token is read from HF_TOKEN or from Python's login`,
    { subject: url },
  );
}

/** An etag of the hub as a hash that `download` checks: SHA-256 of a large file, or that of a git blob. */
function hashOfEtag(etag: string): string | undefined {
  if (/^[0-9a-f]{64}$/.test(etag)) return etag;
  return /^[0-9a-f]{40}$/.test(etag) ? `git:${etag}` : undefined;
}

function sentence({ address, error }: Failure<Address>): string {
  const { message, cause } = error as { message: string; cause?: { message?: string } };
  const inner = error instanceof TorchclipError ? undefined : cause?.message;
  return `${address.url}: ${inner ? `${message} (${inner})` : message}`;
}

/** SHA-256 of a file in a hub cache, where its blob's name tells it (large files). */
export async function hashFromBlob(path: string): Promise<string | undefined> {
  const target = (await readlink(path).catch(() => "")).replaceAll("\\", "/");
  const name = posix.basename(target);
  return target.includes("/blobs/") && /^[0-9a-f]{64}$/.test(name) ? name : undefined;
}

const dirnameAt = (path: string, name: string): string => path.slice(0, path.length - name.length - 1);

/** A relative link, as Python makes it; where links are not allowed (Windows) the file itself moves there. */
async function placeLink(blob: string, link: string): Promise<void> {
  if (await stat(link).catch(() => undefined)) return;
  await writing(link, async () => {
    await makeFolder(dirname(link));
    const temporary = await temporaryFor(link);
    try {
      await symlink(relative(dirname(link), blob), temporary);
      await rename(temporary, link);
    } catch (error) {
      await rm(temporary, { force: true });
      if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
      await rename(blob, link);
    }
    await syncFolder(dirname(link));
  });
}
