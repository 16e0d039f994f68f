import assert from "node:assert/strict";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { createServer } from "../../lib/serve/index.js";
import { colourImages } from "../support/colours.js";
import { fixture, rejectsWith, temporaryFolder } from "../support/index.js";
import { commandLine, printedBy } from "../support/process.js";
import { dataUri, searchIn, startServer, type TestServer } from "../support/server.js";

const IMAGE = "images/rgb420.jpg";

describe("serve: classification and search", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const images = join(folder, "images");
  const index = join(folder, "colours.npy");
  const probe = join(folder, "colours.probe");
  let server: TestServer;

  const uriOf = (name: string) =>
    `data:image/png;base64,${readFileSync(join(images, `${name}.png`)).toString("base64")}`;

  before(async () => {
    await colourImages(images);
    const [outside] = await colourImages(folder, ["black"]);
    symlinkSync(outside, join(images, "link.png"));
    const cli = commandLine(join(folder, "cache"));
    printedBy(cli("embed", images, "-o", index, "-m", "tiny"));
    const classes = ["red", "lime"].map((name) => ["--class", `${name}=${join(images, `${name}.png`)}`]);
    printedBy(cli("teach", probe, ...classes.flat(), "-m", "tiny", "--lambda", "1"));
    server = await startServer({ indexes: { colours: { file: index, images } }, probes: { colours: probe } });
  });
  after(() => server.close());

  it("ranks labels as clip.classify does", async () => {
    const labels = ["a cat", "a dog", "a red circle"];
    const body = { image: dataUri(IMAGE), labels, templates: ["{}", "a photo of a {}"], top_k: 2 };
    const expected = await server.clip.classify(fixture(IMAGE), labels, {
      template: body.templates,
      topK: 2,
    });
    for (let time = 0; time < 2; time++) {
      const { status, body: answer } = await server.post("/v1/classify", body);
      assert.equal(status, 200, JSON.stringify(answer));
      const data = [{ object: "classification", index: 0, predictions: expected }];
      assert.deepEqual(answer, { object: "list", model: "tiny", data });
    }
  });

  it("several images: each has its own error; one image: its error is the request's", async () => {
    const bad = "data:image/png;base64,AAAA";
    const labels = ["a", "b"];
    const { status, body } = await server.post("/v1/classify", { images: [dataUri(IMAGE), bad], labels });
    const { data } = body as {
      data: { object: string; index: number; error?: { code: string; message: string } }[];
    };
    assert.deepEqual([status, data[0].object, data[1].object], [200, "classification", "error"]);
    assert.equal(data[1].error!.code, "E_IMAGE_DECODE");
    assert.match(data[1].error!.message, /^images\[1\]: /);
    const alone = await server.post("/v1/classify", { image: bad, labels });
    assert.equal(alone.status, 422);
  });

  it("labels that do not fit: 400", async () => {
    const image = dataUri(IMAGE);
    for (const body of [
      { image },
      { image, labels: ["a", "a"] },
      { image, labels: [] },
      { labels: ["a"] },
      { image, images: [image], labels: ["a"] },
      { image, labels: ["a"], multi_label: true },
    ])
      assert.equal((await server.post("/v1/classify", body)).status, 400, JSON.stringify(body).slice(0, 50));
    const multi = { image, labels: ["a"], multi_label: true, negative_templates: ["a photo"] };
    assert.equal((await server.post("/v1/classify", multi)).status, 200);
  });

  it("classes of a probe", async () => {
    const { status, body } = await server.post("/v1/classify", {
      image: uriOf("lime"),
      probe: "colours",
    });
    assert.equal(status, 200, JSON.stringify(body));
    const [{ predictions }] = (body as { data: { predictions: { label: string }[] }[] }).data;
    assert.deepEqual(
      predictions.map(({ label }) => label),
      ["lime", "red"],
    );
    assert.equal((await server.post("/v1/classify", { image: uriOf("lime"), probe: "x" })).status, 404);
  });

  const search = async (body: object) => (await searchIn(server, body)).data;

  it("finds the nearest rows of an index, by an image and by a text", async () => {
    const hits = await search({ query: uriOf("blue"), top_k: 2 });
    assert.deepEqual(
      hits.map(({ rank }) => rank),
      [1, 2],
    );
    assert.equal(hits[0].name, "blue.png");
    assert.ok(hits[0].score > 0.9999);
    assert.deepEqual(await search({ query: { image: uriOf("blue") }, index: "colours", top_k: 2 }), hits);
    assert.equal((await search({ query: "a red circle" })).length, 4);
    for (const [body, status] of [
      [{ query: "a", index: "x" }, 404],
      [{}, 400],
      [{ query: "a", top_k: 0 }, 400],
      [{ query: { image: "data:image/png;base64,AAAA" } }, 422],
    ] as const)
      assert.equal((await server.post("/v1/search", body)).status, status, JSON.stringify(body));
  });

  it("shows thumbnails of the index's images, and nothing outside their folder", async () => {
    const [hit] = await search({ query: uriOf("red"), top_k: 1 });
    const response = await fetch(`${server.url}${hit.image!}`);
    assert.equal(response.headers.get("content-type"), "image/webp");
    const { dominant } = await sharp(Buffer.from(await response.arrayBuffer())).stats();
    assert.ok(dominant.r > 200 && dominant.g < 60 && dominant.b < 60, JSON.stringify(dominant));
    const rows = (JSON.parse(readFileSync(`${index}.json`, "utf8")) as { names: string[] }).names;
    const link = rows.indexOf("link.png");
    for (const path of [
      `colours/images/${link}`,
      "colours/images/99",
      "colours/images/-1",
      "x/images/0",
      "colours/images/..%2f0",
    ])
      assert.equal((await server.get(`/v1/indexes/${path}`)).status, 404, path);
  });

  it("an index of a model that is not served, a file that is none: an error when the server is made", async () => {
    const other = join(folder, "other.npy");
    writeFileSync(other, readFileSync(index));
    const record = JSON.parse(readFileSync(`${index}.json`, "utf8")) as { model: { weights: object } };
    record.model.weights = { sha256: "0".repeat(64) };
    writeFileSync(`${other}.json`, JSON.stringify(record));
    const models = { tiny: server.clip };
    const make = (file: string) => createServer({ models, indexes: { a: { file } } });
    assert.match((await rejectsWith("E_ARGUMENT", () => make(other))).message, /not among the models/);
    await rejectsWith("E_INDEX_NOT_FOUND", () => make(join(folder, "missing.npy")));
    await rejectsWith("E_MODEL_CORRUPT", () => createServer({ models, probes: { a: index } }));
  });
});
