import assert from "node:assert/strict";
import { createServer as createHttpServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import sharp from "sharp";
import { EmbeddingIndex } from "../../lib/index.js";
import { createServer } from "../../lib/serve/index.js";
import { colourImages } from "../support/colours.js";
import { rejectsWith, temporaryFolder } from "../support/index.js";
import { noise } from "../support/noise.js";
import { dataUri, startServer, type TestServer } from "../support/server.js";

interface Hit {
  rank: number;
  row: number;
  name: string;
  score: number;
  image?: string;
}

/** So many that the second search of all rows takes the int8 prefilter; the shards are too small for it. */
const ROWS = 20_000;
/** First rows of the shards, whose sizes differ. */
const STARTS = [0, 9_000, 19_998];

describe("serve: an index of several shards", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const files: string[] = [];
  let all: Float32Array;
  let whole: TestServer;

  const fileOf = (name: string) => join(folder, `${name}.npy`);

  /** Writes rows as `torchclip embed` does. */
  async function write(name: string, data: Float32Array, names: string[], sha256: string): Promise<string> {
    const index = EmbeddingIndex.create(data.length / names.length);
    await index.add({ data, rows: names.length, dim: index.dim });
    await index.save(fileOf(name));
    index.close();
    const about = { kind: "images", input: folder, names, model: { requested: "tiny", weights: { sha256 } } };
    writeFileSync(`${fileOf(name)}.json`, JSON.stringify(about));
    return fileOf(name);
  }

  /** Rows of length 1; every tenth is the row before it, so that scores are equal also across shards. */
  function makeRows(dim: number): Float32Array {
    const data = new Float32Array(ROWS * dim);
    for (let row = 0; row < ROWS; row++) {
      const own = row % 10 === 9 ? 7 : row;
      const values = Float64Array.from({ length: dim }, (_, i) => (noise(own + 1, i) & 0xffff) / 32768 - 1);
      const norm = Math.hypot(...values);
      for (const [i, value] of values.entries()) data[row * dim + i] = value / norm;
    }
    data.fill(NaN, 5 * dim, 6 * dim); // as the row of an image that could not be read
    return data;
  }

  before(async () => {
    const { clip, close } = await startServer();
    const { embedDim: dim, config } = clip.info;
    all = makeRows(dim);
    const names = Array.from({ length: ROWS }, (_, row) => `image-${row}.jpg`);
    const file = await write("whole", all, names, config.source.sha256);
    for (const [i, start] of STARTS.entries()) {
      const end = STARTS[i + 1] ?? ROWS;
      const rows = all.slice(start * dim, end * dim);
      files.push(await write(`shard-${i}`, rows, names.slice(start, end), config.source.sha256));
    }
    await close();
    whole = await startServer({ indexes: { photos: { file } } });
  });
  after(() => whole.close());

  const base64Of = (vector: Float32Array) =>
    Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");

  async function search(server: TestServer, body: object): Promise<{ rows: number; data: Hit[] }> {
    const answer = await server.post("/v1/search", body);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body as { rows: number; data: Hit[] };
  }

  /** A server whose errors are logged into the list. */
  const logging = (log: string[]) => ({
    logger: { level: "error", stream: { write: (line: string) => log.push(line) } },
  });

  async function codeOf(server: TestServer, body: object = { query: "a red circle" }) {
    const { status, body: answer } = await server.post("/v1/search", body);
    const { error } = answer as { error?: { code: string; message: string } };
    return { status, code: error?.code, message: error?.message ?? "" };
  }

  /** All kinds of queries give what the server with one file gives, to the last bit. */
  async function assertSameAsWhole(server: TestServer): Promise<void> {
    const { embedDim: dim } = whole.clip.info;
    const queries = [
      { query: "a red circle" },
      { query: dataUri("images/rgb420.jpg") },
      { vector: base64Of(all.subarray(7 * dim, 8 * dim)) }, // 2,001 rows have the same score
      { vector: Array.from(all.subarray((ROWS - 1) * dim)) },
    ];
    for (const query of queries) {
      for (const top_k of [1, 10, 400, 1000]) {
        const expected = await search(whole, { ...query, top_k });
        assert.equal(expected.data.length, top_k);
        assert.deepEqual(await search(server, { ...query, top_k }), expected);
      }
    }
  }

  it("a vector finds what its text finds, and ties stand in the order of their rows", async () => {
    const { data } = await whole.clip.encodeTexts(["a red circle"]);
    const [byText, byVector] = [{ query: "a red circle" }, { vector: base64Of(data) }];
    assert.deepEqual(await search(whole, byVector), await search(whole, byText));
    const { embedDim: dim } = whole.clip.info;
    const { data: ties } = await search(whole, {
      vector: base64Of(all.subarray(7 * dim, 8 * dim)),
      top_k: 4,
    });
    assert.deepEqual(
      ties.map(({ row }) => row),
      [7, 9, 19, 29],
    );
  });

  it("several files: the same rows as one file", async () => {
    const server = await startServer({ indexes: { photos: files.map((file) => ({ file })) } });
    try {
      await assertSameAsWhole(server);
      const { body } = await server.get("/v1/indexes");
      const fingerprint = (await server.get("/v1/models")).body as { data: { fingerprint: string }[] };
      assert.deepEqual(body, {
        object: "list",
        data: [
          {
            id: "photos",
            object: "index",
            model: "tiny",
            fingerprint: fingerprint.data[0].fingerprint,
            rows: ROWS,
            dimensions: server.clip.info.embedDim,
            shards: 3,
          },
        ],
      });
    } finally {
      await server.close();
    }
  });

  it("servers of servers and a file: the same rows as one file", async () => {
    const first = await startServer({ indexes: { photos: { file: files[0] } }, apiKeys: ["key"] });
    const second = await startServer({ indexes: { other: { file: files[1] } } });
    const shards = [
      { url: first.url, apiKey: "key" },
      { url: `${second.url}/`, index: "other" },
      { file: files[2] },
    ];
    const middle = await startServer({ indexes: { photos: shards } });
    const server = await startServer({ indexes: { photos: { url: middle.url } } });
    try {
      await assertSameAsWhole(middle);
      await assertSameAsWhole(server);
    } finally {
      for (const each of [server, middle, first, second]) await each.close();
    }
  });

  it("thumbnails come from the server that has them", async () => {
    const images = join(folder, "images");
    mkdirSync(images, { recursive: true });
    const paths = await colourImages(images, ["red", "blue"]);
    const { data } = await whole.clip.encodeImages(paths);
    const { sha256 } = whole.clip.info.config.source;
    const file = await write(
      "colours",
      data,
      paths.map((path) => basename(path)),
      sha256,
    );
    const shard = await startServer({ indexes: { photos: { file, images } } });
    const server = await startServer({ indexes: { photos: [{ file: files[2] }, { url: shard.url }] } });
    try {
      const { data: hits } = await search(server, { vector: base64Of(data.subarray(0, data.length / 2)) });
      assert.deepEqual([hits[0].row, hits[0].name, hits[0].rank], [2, "red.png", 1]);
      assert.equal(hits[0].image, "/v1/indexes/photos/images/1-0");
      assert.equal(hits.find(({ row }) => row === 0)!.image, undefined, "of a file without images");
      const response = await fetch(`${server.url}${hits[0].image!}`);
      assert.equal(response.headers.get("content-type"), "image/webp");
      const { dominant } = await sharp(Buffer.from(await response.arrayBuffer())).stats();
      assert.ok(dominant.r > 200 && dominant.g < 60 && dominant.b < 60, JSON.stringify(dominant));
      writeFileSync(join(images, "blue.png"), "no image any more");
      for (const place of ["0-0", "1-1", "1-9", "9-0", "0", "1-", "1-0-0", "x", "1-..%2f0"])
        assert.equal((await server.get(`/v1/indexes/photos/images/${place}`)).status, 404, place);
    } finally {
      await server.close();
      await shard.close();
    }
  });

  it("a shard that is gone is 502, and counts again when it is back, also with other rows", async () => {
    const shard = await startServer({ indexes: { photos: { file: files[0] } } });
    const port = Number(new URL(shard.url).port);
    const server = await startServer({ indexes: { photos: [{ url: shard.url }, { file: files[2] }] } });
    const before = await search(server, { query: "a red circle", top_k: 1000 });
    await shard.close();
    const { status, code, message } = await codeOf(server);
    assert.deepEqual([status, code], [502, "E_SHARD"]);
    assert.ok(!message.includes(String(port)), `${message} names an address`);
    const back = await createServer({
      models: { tiny: whole.clip },
      indexes: { photos: { file: files[1] } },
    });
    await back.listen({ port });
    try {
      const now = await search(server, { query: "a red circle", top_k: 1000 });
      assert.deepEqual([before.rows, now.rows], [9_000 + 2, 10_998 + 2]);
      for (const { row, name } of now.data) assert.equal(name, `image-${9_000 + row}.jpg`);
    } finally {
      await back.close();
      await server.close();
    }
  });

  /** A server that answers `GET /v1/indexes` as a shard does, and everything else as `answer` says. */
  async function fakeShard(
    answer: (response: ServerResponse) => void,
    given?: object,
  ): Promise<{ server: Server; url: string }> {
    const body = given ?? (await whole.get("/v1/indexes")).body;
    const server = createHttpServer((request, response) => {
      request.resume();
      if (request.method === "GET") response.end(JSON.stringify(body));
      else answer(response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  }

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
    const elsewhere = await fakeShard(() => redirected++);
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
    const fake = await fakeShard((response) => answer(response));
    const log: string[] = [];
    const indexes = { photos: { url: fake.url } };
    const server = await startServer({ indexes, shardTimeout: 300, ...logging(log) });
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

  function stop(server: Server): void {
    server.closeAllConnections();
    server.close();
  }

  it("more searches than may wait are 429; a client that goes away is no defect", async () => {
    const fake = await fakeShard(() => undefined);
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
    const first = await startServer({ indexes: { photos: { file: files[2] } } });
    const port = Number(new URL(first.url).port);
    const second = await startServer({ indexes: { photos: { url: first.url } }, ...logging(log) });
    await first.close();
    const indexes = { photos: { url: second.url } };
    const circle = await createServer({ models: { tiny: whole.clip }, indexes, ...logging(log) });
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
    const file = files[0];
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
    const about = { id: "photos", rows: 1, images: false, fingerprint };
    const { server, url } = await fakeShard(() => undefined, { data: [about] });
    const indexes = { photos: { url } };
    const error = await rejectsWith("E_ARGUMENT", () =>
      createServer({ models: { tiny: whole.clip }, indexes }),
    );
    server.close();
    assert.ok(
      error.message.startsWith(`the index photos of ${url}/ was made with a model with the fingerprint 0`),
    );
  });
});
