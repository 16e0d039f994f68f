import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import sharp from "sharp";
import { createServer } from "../../lib/serve/index.js";
import { colourImages } from "../support/colours.js";
import { temporaryFolder } from "../support/index.js";
import { dataUri, searchIn, startServer, type TestServer } from "../support/server.js";
import { base64Of, codeOf, makeRows, stop, writeIndex } from "../support/shards.js";

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

  before(async () => {
    const { clip, close } = await startServer();
    const { embedDim: dim, config } = clip.info;
    all = makeRows(ROWS, dim);
    const names = Array.from({ length: ROWS }, (_, row) => `image-${row}.jpg`);
    const file = await writeIndex(fileOf("whole"), all, names, config.source.sha256);
    for (const [i, start] of STARTS.entries()) {
      const end = STARTS[i + 1] ?? ROWS;
      const rows = all.slice(start * dim, end * dim);
      files.push(await writeIndex(fileOf(`shard-${i}`), rows, names.slice(start, end), config.source.sha256));
    }
    await close();
    whole = await startServer({ indexes: { photos: { file } } });
  });
  after(() => whole.close());

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
        const expected = await searchIn(whole, { ...query, top_k });
        assert.equal(expected.data.length, top_k);
        assert.deepEqual(await searchIn(server, { ...query, top_k }), expected);
      }
    }
  }

  it("a vector finds what its text finds, and ties stand in the order of their rows", async () => {
    const { data } = await whole.clip.encodeTexts(["a red circle"]);
    const [byText, byVector] = [{ query: "a red circle" }, { vector: base64Of(data) }];
    assert.deepEqual(await searchIn(whole, byVector), await searchIn(whole, byText));
    const { embedDim: dim } = whole.clip.info;
    const { data: ties } = await searchIn(whole, {
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
    const file = await writeIndex(
      fileOf("colours"),
      data,
      paths.map((path) => basename(path)),
      sha256,
    );
    const shard = await startServer({ indexes: { photos: { file, images } } });
    const server = await startServer({ indexes: { photos: [{ file: files[2] }, { url: shard.url }] } });
    try {
      const { data: hits } = await searchIn(server, { vector: base64Of(data.subarray(0, data.length / 2)) });
      assert.deepEqual([hits[0].row, hits[0].name, hits[0].rank], [2, "red.png", 1]);
      assert.equal(hits[0].image, "/v1/indexes/photos/images/1-0");
      assert.equal(hits.find(({ row }) => row === 0)!.image, undefined, "of a file without images");
      const response = await fetch(`${server.url}${hits[0].image}`);
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
    const before = await searchIn(server, { query: "a red circle", top_k: 1000 });
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
      const now = await searchIn(server, { query: "a red circle", top_k: 1000 });
      assert.deepEqual([before.rows, now.rows], [9_000 + 2, 10_998 + 2]);
      for (const { row, name } of now.data) assert.equal(name, `image-${9_000 + row}.jpg`);
    } finally {
      await back.close();
      await server.close();
    }
  });

  it("all shards are asked at once at the start: each answers only when the others were asked as well", async () => {
    const { body } = await whole.get("/v1/indexes");
    const asked: ServerResponse[] = [];
    const fakes = [0, 1, 2].map(() =>
      createHttpServer((_, response) => {
        asked.push(response);
        if (asked.length === fakes.length) for (const each of asked) each.end(JSON.stringify(body));
      }).listen(0, "127.0.0.1"),
    );
    try {
      await Promise.all(fakes.map((fake) => once(fake, "listening")));
      const photos = fakes.map((fake) => ({
        url: `http://127.0.0.1:${(fake.address() as AddressInfo).port}`,
      }));
      const server = await createServer({
        models: { tiny: whole.clip },
        indexes: { photos },
        shardTimeout: 20_000,
      });
      await server.close();
    } finally {
      fakes.forEach(stop);
    }
  });
});
