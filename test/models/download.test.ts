import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { download } from "../../lib/util/download.js";
import { assertMissing, rejectsWith, root, temporaryFolder } from "../support/index.js";

const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31) & 255));
const hash = createHash("sha256").update(bytes).digest("hex");

describe("download", () => {
  const folder = temporaryFolder();
  let server: Server;
  let base: string;
  let requests: (string | undefined)[];
  let respond: (request: IncomingMessage, response: ServerResponse) => void;
  let n = 0;
  const target = () => join(folder, `file-${n++}`);

  before(async () => {
    server = createServer((request, response) => {
      requests.push(request.headers.range);
      respond(request, response);
    });
    await new Promise<void>((r) => server.listen(0, "127.0.0.1", r));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => server.close());
  beforeEach(() => (requests = []));

  const serve = (request: IncomingMessage, response: ServerResponse, most = Infinity): void => {
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    response.writeHead(from ? 206 : 200, { "content-length": bytes.length - from });
    const part = bytes.subarray(from, Math.min(bytes.length, from + most));
    response.write(part, () => (part.length === bytes.length - from ? response.end() : response.destroy()));
  };

  it("resumes where the connection was cut", async () => {
    respond = (request, response) => serve(request, response, 100_000);
    const to = target();
    await download({ urls: [base], target: to, hash });
    assert.deepEqual(readFileSync(to), bytes);
    assert.ok(
      requests.length >= 3 && requests.slice(1).some((r) => r && r !== "bytes=0-"),
      `requests: ${requests.join()}`,
    );
    assertMissing(`${to}.part`);
  });

  it("starts again from a server that ignores ranges", async () => {
    let first = true;
    respond = (_request, response) => {
      response.writeHead(200, { "content-length": bytes.length });
      if (first) response.write(bytes.subarray(0, 1000), () => response.destroy());
      else response.end(bytes);
      first = false;
    };
    const to = target();
    await download({ urls: [base], target: to, hash });
    assert.deepEqual(readFileSync(to), bytes);
  });

  it("two processes that want the same file fetch it once", async () => {
    respond = (request, response) => setTimeout(() => serve(request, response), 1500);
    const to = target();
    const module = JSON.stringify(join(root, "dist", "util", "download.js"));
    const script = join(folder, "fetch.mjs");
    const options = JSON.stringify({ urls: [base], target: to, hash });
    writeFileSync(script, `import { download } from ${module}; console.log(await download(${options}));`);
    const run = promisify(execFile);
    const results = await Promise.all([1, 2, 3].map(() => run(process.execPath, [script])));
    assert.deepEqual(
      results.map((r) => r.stdout.trim()),
      [to, to, to],
    );
    assert.equal(requests.length, 1);
    assert.deepEqual(readFileSync(to), bytes);
  });

  it("wrong bytes: E_HASH_MISMATCH, and nothing stays", async () => {
    respond = (_request, response) => response.end(Buffer.alloc(300_000, 7));
    const to = target();
    await rejectsWith("E_HASH_MISMATCH", () => download({ urls: [base], target: to, hash }));
    assert.deepEqual(
      readdirSync(folder).filter((f) => to.endsWith(f) || f.startsWith(`${to}.`)),
      [],
    );
  });

  it("of several addresses the next one is asked where one fails, and a note says so", async () => {
    respond = (request, response) => {
      if (request.url === "/mirror") response.writeHead(500).end();
      else serve(request, response);
    };
    const to = target();
    const notes: string[] = [];
    await download({
      urls: [`${base}/mirror`, `${base}/official`],
      target: to,
      hash,
      onNote: (text) => notes.push(text),
    });
    assert.deepEqual(readFileSync(to), bytes);
    assert.equal(notes.length, 1);
    assert.match(notes[0], /\/mirror: HTTP 500 .*Now http.*\/official is asked/);
  });

  it("where nobody listens to notes, they are warnings of the process", async () => {
    respond = (request, response) =>
      request.url === "/mirror" ? void response.writeHead(500).end() : serve(request, response);
    const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
    await download({ urls: [`${base}/mirror`, `${base}/official`], target: target(), hash });
    const { name, message } = await warned;
    assert.equal(name, "TorchclipWarning");
    assert.match(message, /Now .*official is asked/);
  });

  it("an address that is not there: E_DOWNLOAD with what was tried", async () => {
    respond = (_request, response) => response.writeHead(404).end();
    const error = await rejectsWith("E_DOWNLOAD", () =>
      download({ urls: [`${base}/a`, `${base}/b`], target: target(), hash }),
    );
    assert.match(error.message, /\/a: HTTP 404[^]*\/b: HTTP 404/);
  });

  it("two at once fetch it once", async () => {
    respond = (request, response) => setTimeout(() => serve(request, response), 100);
    const to = target();
    await Promise.all([
      download({ urls: [base], target: to, hash }),
      download({ urls: [base], target: to, hash }),
    ]);
    assert.equal(requests.length, 1);
  });

  it("a full disk: E_WRITE with the reason, and nothing under the name", async function () {
    if (!existsSync("/dev/full")) return this.skip();
    respond = (request, response) => serve(request, response);
    const to = target();
    const { symlinkSync } = await import("node:fs");
    symlinkSync("/dev/full", `${to}.part`);
    const error = await rejectsWith("E_WRITE", () => download({ urls: [base], target: to, hash }));
    assert.match(error.message, /no space left on the device \(ENOSPC\)/);
    assertMissing(to);
  });

  it("aborted while running: E_ABORTED; a later call resumes", async () => {
    const controller = new AbortController();
    respond = (request, response) => {
      if (request.headers.range) {
        serve(request, response);
        return;
      }
      response.writeHead(200, { "content-length": bytes.length });
      response.write(bytes.subarray(0, 100_000), () => setTimeout(() => controller.abort(), 50));
    };
    const to = target();
    await rejectsWith("E_ABORTED", () =>
      download({ urls: [base], target: to, hash, signal: controller.signal }),
    );
    await download({ urls: [base], target: to, hash });
    assert.deepEqual(readFileSync(to), bytes);
    assert.match(requests.at(-1) ?? "", /bytes=\d+-/);
  });

  it("what is in the cache is not fetched", async () => {
    const to = target();
    writeFileSync(to, "here");
    await download({ urls: [base], target: to, hash, offline: true });
    assert.equal(requests.length, 0);
  });
});
