import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { ApiKeys } from "../../lib/serve/keys.js";
import { createServer as createClipServer } from "../../lib/serve/index.js";
import { fixture, rejectsWith } from "../support/index.js";
import { dataUri, startServer, type Answer, type TestServer } from "../support/server.js";

const IMAGE = "images/rgb420.jpg";

/** Status, code and place of an error in OpenAI's form. */
function errorOf({ status, body }: Answer): [number, string, string | null] {
  const { error } = body as { error: { code: string; param: string | null } };
  return [status, error.code, error.param];
}

describe("serve: what is refused", () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ bodyLimit: 1 << 20, maxPixels: 1e6, maxWaiting: 20 });
  });
  after(() => server.close());
  const embed = async (body: unknown) => server.post("/v1/embeddings", body);

  it("a bad item: 400 that names its place", async () => {
    const good = dataUri(IMAGE);
    const cases: [unknown, string, string][] = [
      [{ input: ["a", "data:image/png;base64,AAAA", "b"] }, "E_IMAGE_DECODE", "input[1]"],
      [{ input: [good, `data:image/png;base64,${"A".repeat(8000)}`] }, "E_IMAGE_DECODE", "input[1]"],
      [{ input: [{ image: "data:image/png;base64,????" }] }, "E_ARGUMENT", "input[0].image"],
      [{ input: [{ image: `${good.slice(0, -8)}????` }] }, "E_ARGUMENT", "input[0].image"],
      [{ input: [{ image: "data:text/plain;base64,AAAA" }] }, "E_ARGUMENT", "input[0].image"],
      [{ input: [{ image: "data:image/png,AAAA" }] }, "E_ARGUMENT", "input[0].image"],
      [{ input: ["a", { image: "/etc/passwd" }] }, "E_IMAGE_DECODE", "input[1].image"],
      [{ input: ["a", { image: "file:///etc/passwd" }] }, "E_ARGUMENT", "input[1].image"],
      [{ input: ["a", { image: "http://127.0.0.1/x.png" }] }, "E_IMAGE_READ", "input[1].image"],
      [{ input: ["a", 5] }, "E_ARGUMENT", "input[1]"],
      [{ input: [[1, 2, 3]] }, "E_ARGUMENT", "input[0]"],
      [{ input: ["a", null] }, "E_ARGUMENT", "input[1]"],
      [{ input: [] }, "E_ARGUMENT", "input"],
      [{}, "E_ARGUMENT", "input"],
      [{ input: ["ok", "word ".repeat(200)], truncate: "NONE" }, "E_TEXT_TOO_LONG", "input[1]"],
      [{ input: "x ".repeat(20_000) }, "E_TEXT_TOO_LONG", "input"],
      [{ input: "a", dimensions: 7 }, "E_ARGUMENT", "dimensions"],
      [{ input: "a", encoding_format: "xml" }, "E_ARGUMENT", "encoding_format"],
      [{ input: "a", model: 5 }, "E_ARGUMENT", "model"],
    ];
    for (const [body, code, where] of cases)
      assert.deepEqual(errorOf(await embed(body)), [400, code, where], JSON.stringify(body).slice(0, 200));
    const mixed = await embed({ input: ["a", "data:image/png;base64,AAAA"] });
    assert.match(JSON.stringify(mixed.body), /input\[1\]: /);
  });

  it("a large image, a large body, another type, no JSON, another address", async () => {
    const image = { width: 2000, height: 1000, channels: 3, background: "red" } as const;
    const png = await sharp({ create: image }).png().toBuffer();
    const large = { input: `data:image/png;base64,${png.toString("base64")}` };
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="50" height="50"/>');
    const drawing = { input: `data:image/svg+xml;base64,${svg.toString("base64")}` };
    assert.deepEqual(errorOf(await embed(drawing)), [400, "E_IMAGE_DECODE", "input"]);
    assert.deepEqual(errorOf(await embed(large)), [413, "E_IMAGE_TOO_LARGE", "input"]);
    assert.deepEqual(errorOf(await embed({ input: "x".repeat(1 << 20) })), [413, "E_BODY_TOO_LARGE", null]);
    const type = await server.post("/v1/embeddings", "a", { "content-type": "text/plain" });
    const packed = await server.post("/v1/embeddings", "a", { "content-encoding": "gzip" });
    assert.deepEqual(errorOf(packed), [415, "E_MEDIA_TYPE", null]);
    assert.deepEqual(errorOf(type), [415, "E_MEDIA_TYPE", null]);
    assert.deepEqual(errorOf(await embed('{"input": ')), [400, "E_ARGUMENT", null]);
    assert.deepEqual(errorOf(await embed('{"input": "a", "__proto__": {}}')), [400, "E_ARGUMENT", null]);
    assert.deepEqual(errorOf(await server.get("/nothing")), [404, "E_NOT_FOUND", null]);
    const form = await server.post("/predict", {});
    assert.equal(form.status, 415);
  });

  it("more items than may wait: at once 400, with others 429, and it recovers", async () => {
    const many = { input: Array.from({ length: 21 }, (_, i) => `text ${i}`) };
    assert.deepEqual(errorOf(await embed(many)).slice(0, 2), [400, "E_ARGUMENT"]);
    const half = { input: Array.from({ length: 15 }, () => dataUri(IMAGE)) };
    const answers = await Promise.all(Array.from({ length: 6 }, () => embed(half)));
    const statuses = answers.map(({ status }) => status);
    assert.deepEqual([...new Set(statuses)].sort(), [200, 429]);
    const refused = answers.find(({ status }) => status === 429)!;
    assert.equal(errorOf(refused)[1], "E_BUSY");
    assert.equal(refused.headers.get("retry-after"), "1");
    assert.equal((await embed(half)).status, 200);
  });

  it("bodies beyond the memory for them: 503, before they are read", async () => {
    const small = await startServer({ bodyLimit: 4096, bodyBudget: 5000 });
    try {
      const { port, hostname } = new URL(small.url);
      const socket = connect(Number(port), hostname);
      const head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
      socket.write(`${head}content-length: 4000\r\n\r\n{`);
      await once(socket, "ready");
      await sleep(50);
      const body = { input: "a".repeat(1500) };
      assert.deepEqual(errorOf(await small.post("/v1/embeddings", body)), [503, "E_BUSY", null]);
      socket.destroy();
      await sleep(50);
      assert.equal((await small.post("/v1/embeddings", body)).status, 200);
    } finally {
      await small.close();
    }
  });

  it("a client that goes away: its images are not embedded", async () => {
    const slow = await startServer({ maxDelay: 400 });
    try {
      const controller = new AbortController();
      const request = fetch(`${slow.url}/v1/embeddings`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ input: [dataUri(IMAGE), "a text"] }),
        signal: controller.signal,
      });
      setTimeout(() => controller.abort(), 100);
      await assert.rejects(request);
      await sleep(500);
      const metrics = String((await slow.get("/metrics")).body);
      assert.doesNotMatch(metrics, /^torchclip_items_total/m, "no batch was started");
      assert.equal((await slow.post("/v1/embeddings", { input: "a" })).status, 200);
    } finally {
      await slow.close();
    }
  });

  it("options that do not fit: E_ARGUMENT, with the option's name", async () => {
    const models = { tiny: server.clip };
    for (const wrong of [
      { maxBatch: 0 },
      { apiKeys: [""] },
      { bodyLimit: "1" },
      { models: {} },
      { maxPixels: -1 },
    ])
      await rejectsWith("E_ARGUMENT", () => createClipServer({ models, ...(wrong as object) }));
  });
});

describe("serve: keys", () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ apiKeys: ["first-key", "second-key"] });
  });
  after(() => server.close());

  it("are needed for all but health, ping, the page and the interface's description", async () => {
    for (const path of ["/v1/models", "/metrics"]) {
      const answer = await server.get(path);
      assert.deepEqual(errorOf(answer).slice(0, 2), [401, "E_API_KEY"], path);
      assert.equal(answer.headers.get("www-authenticate"), "Bearer");
    }
    for (const path of ["/health/live", "/health/ready", "/v1/health/ready", "/ping", "/", "/docs/json"])
      assert.equal((await server.get(path)).status, 200, path);
    assert.equal((await server.post("/v1/embeddings", { input: "a" })).status, 401);
    for (const key of ["first-key", "second-key"]) {
      const answer = await server.post("/v1/embeddings", { input: "a" }, { authorization: `Bearer ${key}` });
      assert.equal(answer.status, 200);
    }
    const cohere = await server.post("/v2/embed", { texts: ["a"] }, { authorization: "Bearer third-key" });
    assert.deepEqual([cohere.status, Object.keys(cohere.body as object)], [401, ["message", "code"]]);
  });

  it("are accepted as a whole, in a header of that form", () => {
    const keys = new ApiKeys(["abc", "def"]);
    for (const good of ["Bearer abc", "bearer def", "Bearer  abc "]) assert.ok(keys.accepts(good), good);
    for (const bad of [
      undefined,
      "",
      "abc",
      "Bearer",
      "Bearer ab",
      "Bearer abcd",
      "Basic abc",
      "Bearer abc def",
    ])
      assert.ok(!keys.accepts(bad), String(bad));
    assert.ok(!new ApiKeys([]).accepts("Bearer "), "no key opens nothing");
  });
});

describe("serve: images by URL", () => {
  const asked: string[] = [];
  let site: Server;
  let port: number;
  before(async () => {
    site = createServer((request, response) => {
      asked.push(request.url ?? "");
      if (request.url?.startsWith("/slow")) return; // never answered
      response.writeHead(200).end(readFileSync(fixture(IMAGE)));
    });
    await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
    ({ port } = site.address() as AddressInfo);
  });
  after(() => {
    site.closeAllConnections();
    site.close();
  });

  it("are refused where they lead to this machine; no message holds their query", async () => {
    const server = await startServer({ allowUrls: true });
    const hosts = ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "169.254.169.254"];
    try {
      for (const host of [...hosts, "[::ffff:127.0.0.1]"]) {
        const input = [{ image: `http://${host}:${port}/x.png?key=secret` }];
        const answer = await server.post("/v1/embeddings", { input });
        assert.deepEqual(errorOf(answer), [400, "E_IMAGE_READ", "input[0].image"], host);
        assert.match(JSON.stringify(answer.body), /is not a public address/);
        assert.doesNotMatch(JSON.stringify(answer.body), /secret/);
      }
      assert.deepEqual(asked, []);
    } finally {
      await server.close();
    }
  });

  it("are fetched where they are allowed; one that is slow holds up nobody else", async () => {
    const server = await startServer({ allowUrls: true, allowPrivate: true, fetchTimeout: 1500 });
    try {
      const image = (path: string) => ({ image: `http://127.0.0.1:${port}${path}` });
      let isSlowDone = false;
      const slow = server
        .post("/v1/embeddings", { input: [image("/slow")] })
        .finally(() => (isSlowDone = true));
      const { body } = await server.post("/v1/embeddings", { input: [image("/a.jpg"), image("/b.jpg")] });
      assert.equal(isSlowDone, false);
      const expected = Array.from((await server.clip.encodeImages([fixture(IMAGE)])).data);
      const { data } = body as { data: { embedding: number[] }[] };
      assert.deepEqual(
        data.map(({ embedding }) => embedding),
        [expected, expected],
      );
      assert.deepEqual(errorOf(await slow), [400, "E_IMAGE_READ", "input[0].image"]);
    } finally {
      await server.close();
    }
  });
});
