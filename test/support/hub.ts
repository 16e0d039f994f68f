import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

export interface FakeHub {
  url: string;
  /** "HEAD file" and "GET file", in their order. */
  requests: string[];
  commit: string;
  /** Authorization headers that came. */
  tokens: Set<string | undefined>;
  close: () => void;
}

/** Content in 50 parts, `pace` ms apart. */
async function* paced(content: Buffer, pace: number): AsyncGenerator<Buffer> {
  const step = Math.ceil(content.length / 50);
  for (let at = 0; at < content.length; at += step) {
    yield content.subarray(at, at + step);
    await sleep(pace);
  }
}

/** The hub keeps large files apart, under the SHA-256 of their content; others have Git's hash. */
const isLarge = (name: string): boolean => !name.endsWith(".json");

function etagOf(name: string, content: Buffer): string {
  if (isLarge(name)) return createHash("sha256").update(content).digest("hex");
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

/**
 * A server that answers as the hub does for one repository: commit and etag in headers, large files from
 * another host, slowly with `pace`.
 */
export async function fakeHub(
  repo: string,
  files: Partial<Record<string, Buffer>>,
  options: { gated?: boolean; wrong?: string; pace?: number } = {},
): Promise<FakeHub> {
  const hub: FakeHub = {
    url: "",
    requests: [],
    commit: "c".repeat(40),
    tokens: new Set(),
    close: () => undefined,
  };
  const store = createServer((request, response) => {
    hub.tokens.add(`store ${request.headers.authorization ?? "-"}`);
    const name = decodeURIComponent((request.url ?? "").slice(1));
    const stored = files[name];
    if (!stored) return response.writeHead(404).end();
    const content = name === options.wrong ? Buffer.alloc(stored.length) : stored;
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    if (from >= content.length) return response.writeHead(416).end();
    response.writeHead(from ? 206 : 200, { "content-length": content.length - from });
    if (options.pace === undefined) return response.end(content.subarray(from));
    Readable.from(paced(content.subarray(from), options.pace)).pipe(response);
  });
  const server = createServer((request, response) => {
    hub.tokens.add(request.headers.authorization);
    const [, at, revision, name] = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(request.url ?? "") ?? [];
    hub.requests.push(`${request.method} ${name}`);
    const fail = (status: number, code: string) => response.writeHead(status, { "x-error-code": code }).end();
    if (at !== repo) return fail(404, "RepoNotFound");
    if (options.gated && !request.headers.authorization) return fail(401, "GatedRepo");
    if (revision !== "main" && revision !== hub.commit) return fail(404, "RevisionNotFound");
    const content = files[name];
    if (!content) return fail(404, "EntryNotFound");
    const etag = `"${etagOf(name, content)}"`;
    const headers = { "x-repo-commit": hub.commit, etag, "x-linked-size": content.length };
    if (isLarge(name)) {
      const location = `http://localhost:${(store.address() as AddressInfo).port}/${name}`;
      return response.writeHead(302, { ...headers, "x-linked-etag": etag, location }).end();
    }
    response.writeHead(200, { ...headers, "content-length": content.length });
    response.end(request.method === "HEAD" ? undefined : content);
  });
  await new Promise<void>((r) => server.listen(0, "127.0.0.1", r));
  await new Promise<void>((r) => store.listen(0, "localhost", r));
  hub.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  hub.close = () => {
    server.close();
    store.close();
  };
  return hub;
}
