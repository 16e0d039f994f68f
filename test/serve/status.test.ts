import assert from "node:assert/strict";
import { load } from "../../lib/index.js";
import { createServer } from "../../lib/serve/index.js";
import { PAGE, PAGE_POLICY } from "../../lib/serve/page/html.js";
import { PAGE_SCRIPT } from "../../lib/serve/page/script.js";
import { sha256, tinyModel } from "../support/index.js";
import { dataUri, startServer, type TestServer } from "../support/server.js";

const IMAGE = "images/rgb420.jpg";

describe("serve: status, numbers and pages", () => {
  let server: TestServer;
  before(async () => {
    server = await startServer();
  });
  after(() => server.close());

  /** The value of a metric with these labels. */
  async function metric(name: string, labels = ""): Promise<number> {
    const text = String((await server.get("/metrics")).body);
    const line = text.split("\n").find((row) => row.startsWith(`${name}${labels && `{${labels}}`} `));
    assert.ok(line, `${name}{${labels}} in\n${text}`);
    return Number(line.split(" ").at(-1));
  }

  it("is live while it runs, and ready when the models are warm", async () => {
    const clip = await load(tinyModel, { device: "cpu", threads: 1 });
    const cold = await createServer({ models: { tiny: clip } });
    try {
      const status = async (url: string) => (await cold.app.inject({ url })).statusCode;
      assert.deepEqual([await status("/health/live"), await status("/health/ready")], [200, 503]);
      await cold.warmUp();
      assert.deepEqual([await status("/health/ready"), await status("/health")], [200, 200]);
    } finally {
      await cold.close();
      assert.equal(cold.isReady, false);
      await clip.close();
    }
  });

  it("counts requests, errors, images, batches and the time of the stages", async () => {
    await server.post("/v1/embeddings", { input: ["a", dataUri(IMAGE), dataUri(IMAGE)] });
    await server.post("/v1/embeddings", { input: [] });
    assert.equal(await metric("torchclip_requests_total", 'route="/v1/embeddings",status="200"'), 1);
    assert.equal(await metric("torchclip_requests_total", 'route="/v1/embeddings",status="400"'), 1);
    assert.equal(await metric("torchclip_errors_total", 'code="E_ARGUMENT"'), 1);
    assert.equal(await metric("torchclip_items_total", 'model="tiny",kind="images"'), 2);
    assert.equal(await metric("torchclip_batch_size_sum", 'model="tiny",kind="images"'), 2);
    assert.equal(await metric("torchclip_queue_seconds_count", 'model="tiny",kind="texts"'), 1);
    for (const stage of ["decode", "resize", "forward"])
      assert.ok(
        (await metric("torchclip_stage_seconds_total", `model="tiny",kind="images",stage="${stage}"`)) > 0,
      );
    assert.equal(await metric("torchclip_waiting", 'model="tiny",kind="images",state="queued"'), 0);
    assert.ok((await metric("process_resident_memory_bytes")) > 1e6);
  });

  it("describes its interface: every route for clients, with its schema", async () => {
    const { body } = await server.get("/docs/json");
    const { openapi, paths } = body as { openapi: string; paths: Record<string, Record<string, object>> };
    assert.equal(openapi, "3.1.0");
    for (const path of [
      "/v1/embeddings",
      "/v1/multimodalembeddings",
      "/v2/embed",
      "/v1/classify",
      "/v1/search",
    ])
      assert.ok("requestBody" in paths[path].post, path);
    assert.ok("/predict" in paths && "/v1/models" in paths && "/metrics" in paths);
    assert.match(String((await server.get("/docs")).body), /<div id="swagger-ui">/);
  });

  it("the page: one script, allowed by its hash; every element that it looks for is there", async () => {
    const { headers, body } = await server.get("/");
    assert.equal(body, PAGE);
    assert.equal(headers.get("content-security-policy"), PAGE_POLICY);
    const hash = Buffer.from(sha256(Buffer.from(PAGE_SCRIPT)), "hex").toString("base64");
    assert.ok(PAGE_POLICY.includes(`'sha256-${hash}'`));
    assert.equal(PAGE.split("<script").length, 2);
    const ids = [...PAGE_SCRIPT.matchAll(/\bat\("([^"]+)"\)/g)].map(([, id]) => id);
    assert.ok(ids.length > 10);
    for (const id of ids) assert.ok(PAGE.includes(`id="${id}"`), id);
    assert.doesNotMatch(PAGE, /(src|href)="(https?:)?\/\//);
    assert.doesNotMatch(PAGE_SCRIPT, /innerHTML|document\.write|eval\(/);
    assert.match(PAGE, /prefers-color-scheme: dark/);
  });
});
