import { readFile, readlink, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, posix, relative, sep } from "node:path";
import { TorchclipError } from "../../errors.js";
import { redactUrl } from "../../redact.js";
import { HUB, hubServers, type Address, type Settings } from "../../settings.js";
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
    const failures: string[] = [];
    let missing = true; // every server that answered says so
    const servers = hubServers(this.at);
    for (const [i, server] of servers.entries()) {
      try {
        return await this.fetch(server, name);
      } catch (error) {
        if (this.options.signal?.aborted) throw new TorchclipError("E_ABORTED", "aborted", { cause: error });
        if (
          error instanceof TorchclipError &&
          ["E_WRITE", "E_HASH_MISMATCH", "E_LOCKED"].includes(error.code)
        )
          throw error;
        missing &&= error instanceof TorchclipError && error.code === "E_MODEL_NOT_FOUND";
        failures.push(`${server.url}: ${reason(error)}`);
        if (i < servers.length - 1) this.tellFallback(name, failures[i], servers[i + 1]);
      }
    }
    const cached = await this.cached(name);
    if (cached) {
      tell(
        this.options.onNote,
        `${this.id.repo}/${name} is taken from the cache, which may be older: ${failures.join("; ")}`,
      );
      return cached;
    }
    const remedy = mirrorRemedy(servers);
    throw new TorchclipError(
      missing ? "E_MODEL_NOT_FOUND" : "E_DOWNLOAD",
      `could not read ${this.id.repo}/${name} at ${this.id.revision}:\n  ${failures.join("\n  ")}` +
        (remedy ? `. ${remedy}` : ""),
      { subject: this.id.repo },
    );
  }

  /** Once: the other files of the repository go the same way. */
  private tellFallback(name: string, failure: string, next: Address): void {
    if (!this.toldFallback) tellNext(this.options.onNote, `${this.id.repo}/${name} at ${failure}`, next.url);
    this.toldFallback = true;
  }

  /** Where a file that `file` or `first` gave came from: the server that answered for it, or the cache. */
  async originOf(path: string): Promise<WeightsOrigin> {
    const [commit] = relative(join(this.folder, "snapshots"), path).split(sep);
    const { kind, url } = this.fetched.get(path) ?? { kind: "cache" as const, url: undefined };
    const hashKnown = (await hashFromBlob(path)) !== undefined;
    return {
      kind,
      location: url === undefined ? path : redactUrl(url),
      hub: `${this.id.repo}@${commit}`,
      hashKnown,
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
    const url = `${server.url}/${this.id.repo}/resolve/${encodeURIComponent(this.commit ?? this.id.revision)}/${name}`;
    const known = await this.cached(name);
    if (known && this.commit && dirnameAt(known, name).endsWith(this.commit)) return known;
    const head = await this.head(url);
    if (!head) return undefined;
    const { commit, etag } = head;
    this.commit ??= commit;
    const blob = join(this.folder, "blobs", etag);
    const hash = /^[0-9a-f]{64}$/.test(etag) ? etag : /^[0-9a-f]{40}$/.test(etag) ? `git:${etag}` : undefined;
    await download({
      urls: [url],
      target: blob,
      hash,
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
    return this.at.hubToken && isHub ? { authorization: `Bearer ${this.at.hubToken}` } : {};
  }

  /** Commit and etag of a file; undefined where the revision does not have it. */
  private async head(url: string): Promise<{ commit: string; etag: string } | undefined> {
    let response: Response;
    for (let hops = 0; ; hops++) {
      const headers = { ...this.headers(url), "accept-encoding": "identity" };
      response = await fetch(url, {
        method: "HEAD",
        redirect: "manual",
        headers,
        signal: this.options.signal,
      });
      // A renamed repository redirects on the same origin; another one is the store of large files.
      const to = response.headers.get("location");
      const next = to ? new URL(to, url) : undefined;
      if (!next || next.origin !== new URL(url).origin || hops === 5) break;
      url = next.href;
    }
    const code = response.headers.get("x-error-code");
    if (response.status === 404 && (code === "EntryNotFound" || code === null)) return undefined;
    if (response.status === 404) {
      throw new TorchclipError(
        "E_MODEL_NOT_FOUND",
        code === "RevisionNotFound" ? "it has no such revision" : "there is no such repository",
        { subject: url },
      );
    }
    if (response.status === 401 || response.status === 403) {
      const what =
        code === "GatedRepo"
          ? "its licence has to be accepted on the hub first"
          : "no such repository, or it is private";
      throw new TorchclipError(
        "E_DOWNLOAD",
        `HTTP ${response.status}: ${what}; a token is read from HF_TOKEN or from Python's login`,
        { subject: url },
      );
    }
    if (response.status >= 400)
      throw new TorchclipError("E_DOWNLOAD", `HTTP ${response.status} ${response.statusText}`, {
        subject: url,
      });
    const etag = (response.headers.get("x-linked-etag") ?? response.headers.get("etag") ?? "")
      .replace(/^W\//, "")
      .replaceAll('"', "");
    const commit = response.headers.get("x-repo-commit") ?? "";
    if (!/^[\w.-]{8,}$/.test(etag) || !/^[0-9a-f]{40}$/.test(commit)) {
      throw new TorchclipError(
        "E_DOWNLOAD",
        "it does not answer as the hub does (no commit or etag in its headers)",
        { subject: url },
      );
    }
    return { commit, etag };
  }
}

function reason(error: unknown): string {
  const { message, cause } = error as { message: string; cause?: { message?: string } };
  return cause?.message && !(error instanceof TorchclipError) ? `${message} (${cause.message})` : message;
}

/** SHA-256 of a file in a hub cache, where its blob's name tells it (large files). */
export async function hashFromBlob(path: string): Promise<string | undefined> {
  const target = await readlink(path).catch(() => undefined);
  const name = target && posix.basename(target.replaceAll("\\", "/"));
  return name && /^[0-9a-f]{64}$/.test(name) && target.replaceAll("\\", "/").includes("/blobs/")
    ? name
    : undefined;
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
