import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { createServer } from "../../lib/serve/index.js";
import { rejectsWith, temporaryFolder } from "../support/index.js";
import { startServer, type TestServer } from "../support/server.js";
import { base64Of, codeOf, fakeShard, logging, makeRows, stop, writeIndex } from "../support/shards.js";

describe("serve: shards that fail, and what is refused", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const file = join(folder, "photos.npy");
  let whole: TestServer;
  /** What a server with this index says of it. */
  let indexes: unknown;

  before(async () => {
    const { clip, close } = await startServer();
    const { embedDim, config } = clip.info;
    const names = Array.from({ length: 10 }, (_, row) => `image-${row}.jpg`);
    await writeIndex(file, makeRows(names.length, embedDim), names, config.source.sha256);
    await close();
    whole = await startServer({ indexes: { photos: { file } } });
    indexes = (await whole.get("/v1/indexes")).body;
  });
  after(() => whole.close());

  it("a shard that does not answer as it should is 502 with a reason in the log, one that is busy is 429", async () => {
    const { headers } = await whole.post("/v1/search", { query: "a" });
    const fingerprint = headers.get("x-torchclip-fingerprint")!;
    const tell = (response: ServerResponse, body: object, of = fingerprint) => {
      response.setHeader("x-torchclip-fingerprint", of);
      response.end(JSON.stringify(body));
    };
    const hit = { rank: 1, row: 0, name: "a", score: 0.5 };
    const error = (code: string) => JSON.stringify({ error: { message: "the reason\n", code } });
    let redirected = 0;
    const elsewhere = await fakeShard(indexes, () => redirected++);
    const cases: [what: string, answer: (response: ServerResponse) => void, status: number, log?: RegExp][] =
      [
        ["never", () => undefined, 502, /did not answer within 0\.3 s/],
        ["no JSON", (response) => response.end("<html>"), 502, /is not JSON/],
        [
          "500",
          (response) => response.writeHead(500).end(error("E_INTERNAL")),
          502,
          /status 500: the reason\ufffd/,
        ],
        [
          "closing",
          (response) => response.writeHead(503).end(error("E_CLOSED")),
          502,
          /status 503: the reason/,
        ],
        ["full", (response) => response.writeHead(503).end(error("E_BUSY")), 429],
        ["busy", (response) => response.writeHead(429).end(), 429],
        ["moved", (response) => response.writeHead(307, { location: elsewhere.url }).end(), 502, /redirect/],
        ["cut", (response) => void response.write("{", () => response.destroy()), 502, /failed/],
        ["endless", endless, 502, /has more than 8388608 bytes/],
        [
          "of no model",
          (response) => response.end(JSON.stringify({ rows: 1, data: [hit] })),
          502,
          /names no model/,
        ],
        [
          "of another model",
          (response) => tell(response, { rows: 1, data: [hit] }, "abc"),
          502,
          /fingerprint abc/,
        ],
      ];
    for (const [what, body, log] of [
      ["no list", { rows: 1, data: {} }, /data must be a list/],
      ["a row that is not there", { rows: 1, data: [{ ...hit, row: 1 }] }, /row must be .* 0 to 0/],
      ["no score", { rows: 1, data: [{ ...hit, score: null }] }, /score must be a number/],
      ["more than asked for", { rows: 9, data: Array.from({ length: 11 }, () => hit) }, /data has 11/],
      ["a row twice", { rows: 9, data: [hit, hit] }, /data\[1\] does not come after/],
      [
        "not sorted",
        { rows: 9, data: [hit, { ...hit, row: 1, score: 0.6 }] },
        /data\[1\] does not come after/,
      ],
      ["a path", { rows: 1, data: [{ ...hit, image: "../../x" }] }, /image is no path of a thumbnail/],
      ["no rows", { data: [hit] }, /rows must be a whole number/],
    ] as const)
      cases.push([what, (response) => tell(response, body), 502, log]);
    cases.push(["as it should", (response) => tell(response, { rows: 1, data: [hit] }), 200]);
    let answer = cases[0][1];
    const fake = await fakeShard(indexes, (response) => answer(response));
    const log: string[] = [];
    const server = await startServer({
      indexes: { photos: { url: fake.url } },
      shardTimeout: 300,
      ...logging(log),
    });
    try {
      for (const [what, next, expected, logged] of cases) {
        answer = next;
        log.length = 0;
        const { status, code } = await codeOf(server);
        const expectedCode = { 200: undefined, 429: "E_BUSY", 502: "E_SHARD" }[expected];
        assert.deepEqual([status, code], [expected, expectedCode], what);
        assert.equal(log.length, logged ? 1 : 0, what);
        if (logged)
          assert.match((JSON.parse(log[0]) as { err: { message: string } }).err.message, logged, what);
      }
      assert.equal(redirected, 0);
    } finally {
      await server.close();
      for (const each of [fake, elsewhere]) stop(each.server);
    }
  });

  function endless(response: ServerResponse): void {
    const more = () => {
      while (!response.destroyed && response.write(" ".repeat(1 << 16)));
    };
    response.on("drain", more);
    more();
  }

  it("more searches than may wait are 429; a client that goes away is no defect", async () => {
    const fake = await fakeShard(indexes, () => undefined);
    const log: string[] = [];
    const server = await startServer({
      indexes: { photos: { url: fake.url } },
      maxWaiting: 1,
      ...logging(log),
    });
    try {
      const leaving = new AbortController();
      const { embedDim } = server.clip.info;
      const vector = Array.from({ length: embedDim }, () => 0.1);
      const init = { method: "POST", headers: { "content-type": "application/json" } };
      const url = `${server.url}/v1/search`;
      const first = fetch(url, { ...init, body: JSON.stringify({ vector }), signal: leaving.signal });
      await new Promise((resolve) => fake.server.once("request", resolve));
      assert.deepEqual((await codeOf(server, { vector })).code, "E_BUSY");
      leaving.abort();
      await assert.rejects(first);
      let status = 429;
      for (let i = 0; i < 100 && status === 429; i++) {
        const next = new AbortController();
        setTimeout(() => next.abort(), 50);
        const body = JSON.stringify({ vector });
        status = await fetch(url, { ...init, body, signal: next.signal }).then(
          (response) => response.status,
          () => 0,
        );
      }
      assert.equal(status, 0, "the place of the client that left is free");
      assert.deepEqual(log, []);
    } finally {
      await server.close();
      stop(fake.server);
    }
  });

  it("servers that ask each other in a circle find it out", async () => {
    const log: string[] = [];
    const first = await startServer({ indexes: { photos: { file } } });
    const port = Number(new URL(first.url).port);
    const second = await startServer({ indexes: { photos: { url: first.url } }, ...logging(log) });
    await first.close();
    const circle = await createServer({
      models: { tiny: whole.clip },
      indexes: { photos: { url: second.url } },
      ...logging(log),
    });
    await circle.listen({ port });
    try {
      assert.equal((await codeOf(second)).code, "E_SHARD");
      assert.equal((await second.get("/v1/indexes/photos/images/0")).status, 502);
      assert.match(log.join(""), /they ask each other in a circle/);
    } finally {
      await circle.close();
      await second.close();
    }
  });

  it("vectors that do not fit are 400", async () => {
    const { embedDim: dim } = whole.clip.info;
    for (const [vector, message] of [
      [[1, 2], /^vector has 2 values, not /],
      [Array.from({ length: dim }, () => "1"), /^vector holds at 0 what is no number/],
      [Array.from({ length: dim }, () => 1e300), /^vector holds Infinity at 0/],
      [Array.from({ length: dim }, () => 1e30), /^vector has the length 1\.\d+e\+31, more than/],
      ["AAAA", /^vector is not base64 of \d+ float32 \(\d+ bytes\)/],
      ["A".repeat(1 << 20), /^vector is not base64 of \d+ float32/],
      [`${base64Of(new Float32Array(dim)).slice(0, -4)}!!!!`, /^vector is not base64/],
      [base64Of(new Float32Array(dim).fill(NaN)), /^vector holds NaN at 0/],
      [{}, /must be a list of numbers/],
    ] as const) {
      const found = await codeOf(whole, { vector });
      assert.deepEqual([found.status, found.code], [400, "E_ARGUMENT"], JSON.stringify(vector).slice(0, 50));
      assert.match(found.message, message);
    }
    assert.equal((await codeOf(whole, { vector: [1], query: "a" })).status, 400);
  });

  it("shards that cannot be are refused at the start", async () => {
    const models = { tiny: whole.clip };
    const gone = "http://127.0.0.1:1/";
    const other = { url: whole.url, index: "other" };
    const cases: [shards: object[], code: string, subject: string, message: RegExp][] = [
      [[], "E_ARGUMENT", "indexes", /has no shards/],
      [["photos.npy" as never], "E_ARGUMENT", "indexes", /must be an object with either file or url/],
      [[{ file, url: gone }], "E_ARGUMENT", "indexes", /either file or url/],
      [[{ url: gone }], "E_SHARD", gone, /failed: /],
      [[{ file }, { url: gone }], "E_SHARD", gone, /failed: /],
      [[{ url: "http://a#b" }], "E_ARGUMENT", "indexes", /must be the address alone/],
      [[{ url: gone, apiKey: "a\nb" }], "E_ARGUMENT", "apiKey", /visible ASCII characters/],
      [[{ url: "ftp://x" }], "E_ARGUMENT", "indexes", /^ftp:\/\/x\/? is not an http/],
      [[{ url: "http://a:b@x" }], "E_ARGUMENT", "indexes", /^http:\/\/x\/?: a key is given/],
      [[other], "E_INDEX_NOT_FOUND", `${whole.url}/`, /serves no index other: it has photos/],
    ];
    for (const [shards, code, subject, message] of cases) {
      const error = await rejectsWith(code, () =>
        createServer({ models, indexes: { photos: shards as never } }),
      );
      assert.equal(error.subject, subject);
      assert.match(error.message, message);
    }
  });

  it("a shard of another model is refused, with its address", async () => {
    const fingerprint = "0".repeat(32);
    const about = { id: "photos", rows: 1, fingerprint };
    const { server, url } = await fakeShard({ data: [about] }, () => undefined);
    const made = () => createServer({ models: { tiny: whole.clip }, indexes: { photos: { url } } });
    const error = await rejectsWith("E_ARGUMENT", made);
    server.close();
    assert.ok(
      error.message.startsWith(`the index photos of ${url}/ was made with a model with the fingerprint 0`),
    );
  });
});
