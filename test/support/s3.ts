import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as tests see it: "PUT bucket/key". */
export interface S3Server {
  url: string;
  /** By "bucket/key". */
  objects: Map<string, Buffer>;
  requests: string[];
  /** How many further requests are answered with 503, as S3 asks to slow down. */
  refuse: number;
  close: () => void;
}

/**
 * A server on this machine that speaks as much of S3 as a run on a queue uses, by the API reference of S3:
 * GetObject with Range, HeadObject, PutObject with `If-None-Match: *`, DeleteObject, ListObjectsV2. Signatures
 * are asked for and not verified.
 */
export async function fakeS3(): Promise<S3Server> {
  const server = createServer((request, response) => {
    void answer(s3, request, response);
  });
  const s3: S3Server = {
    url: "",
    objects: new Map(),
    requests: [],
    refuse: 0,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  s3.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return s3;
}

async function answer(s3: S3Server, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://s3");
  const name = decodeURIComponent(url.pathname.slice(1));
  const body = await bodyOf(request);
  const { method = "", headers } = request;
  s3.requests.push(`${method} ${name}`);
  const there = s3.objects.get(name);
  if (!headers.authorization?.startsWith("AWS4-HMAC-SHA256 ")) {
    fail(response, 403, "AccessDenied");
  } else if (s3.refuse > 0) {
    s3.refuse--;
    fail(response, 503, "SlowDown");
  } else if (url.searchParams.get("list-type") === "2") {
    list(s3, name.replace(/\/$/, ""), url, response);
  } else if (method === "PUT" && there && headers["if-none-match"] === "*") {
    fail(response, 412, "PreconditionFailed");
  } else if (method === "PUT") {
    s3.objects.set(name, body);
    response.writeHead(200).end();
  } else if (method === "DELETE") {
    s3.objects.delete(name);
    response.writeHead(204).end();
  } else if (!there) {
    fail(response, 404, method === "HEAD" ? "NotFound" : "NoSuchKey");
  } else {
    send(response, there, headers.range, method === "HEAD");
  }
}

function send(response: ServerResponse, object: Buffer, range: string | undefined, isHead: boolean): void {
  const asked = /^bytes=(\d+)-(\d+)$/.exec(range ?? "");
  const part = asked ? object.subarray(Number(asked[1]), Number(asked[2]) + 1) : object;
  response.writeHead(asked ? 206 : 200, { "content-length": part.length });
  response.end(isHead ? undefined : part);
}

const PAGE = 3; // S3 gives 1,000 at once

function list(s3: S3Server, bucket: string, url: URL, response: ServerResponse): void {
  const prefix = `${bucket}/${url.searchParams.get("prefix") ?? ""}`;
  const after = url.searchParams.get("continuation-token") ?? "";
  const names = [...s3.objects.keys()].filter((name) => name.startsWith(prefix)).sort();
  const rest = names.filter((name) => name > after);
  const page = rest.slice(0, PAGE);
  const isTruncated = rest.length > PAGE;
  const contents = page.map((name) => {
    const key = name.slice(bucket.length + 1);
    return `<Contents><Key>${key}</Key><Size>${s3.objects.get(name)?.length}</Size></Contents>`;
  });
  const next = isTruncated ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : "";
  response.writeHead(200, { "content-type": "application/xml" });
  response.end(
    `<?xml version="1.0"?><ListBucketResult><IsTruncated>${isTruncated}</IsTruncated>${next}` +
      `${contents.join("")}</ListBucketResult>`,
  );
}

function fail(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "content-type": "application/xml" });
  response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`);
}

/** A body may come in the chunks of `aws-chunked`, each with its length in hex before it. */
async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  const raw = Buffer.concat(parts);
  if (!request.headers["content-encoding"]?.includes("aws-chunked")) return raw;
  const chunks: Buffer[] = [];
  for (let at = 0; ;) {
    const end = raw.indexOf("\r\n", at);
    const length = parseInt(raw.toString("latin1", at, end), 16);
    if (!(length > 0)) return Buffer.concat(chunks);
    chunks.push(raw.subarray(end + 2, end + 2 + length));
    at = end + 2 + length + 2;
  }
}
