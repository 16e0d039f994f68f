import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { load } from "../../lib/index.js";
import { enqueue } from "../../lib/queue/enqueue.js";
import { S3 } from "../../lib/queue/s3.js";
import { ShardQueue } from "../../lib/queue/shard-queue.js";
import { work } from "../../lib/queue/worker.js";
import { temporaryFolder, tinyModel } from "../support/index.js";
import { makeImages, readRows, readRun, settingsFor, type Manifest } from "../support/queue.js";
import { noRedis, RedisServer } from "../support/redis.js";
import { fakeS3, type S3Server } from "../support/s3.js";

const COUNT = 9;
const SHARD_BYTES = 15_500; // four images

describe("a queue over S3 and HTTP", () => {
  const folder = temporaryFolder();
  const previous = { ...process.env };
  const closing: (() => void | Promise<void>)[] = [];
  let redis: RedisServer;
  let s3: S3Server;
  let list: string;
  let local: { names: string[]; data: Buffer };

  before(async function () {
    const why = noRedis();
    if (why !== undefined) {
      console.log(`      ${why}`);
      return this.skip();
    }
    Object.assign(process.env, { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "secret" });
    redis = await RedisServer.start();
    closing.push(() => redis.stop());
    s3 = await fakeS3();
    closing.push(() => s3.close());
    list = await makeImages(folder, COUNT);
    await run(list, join(folder, "local"));
    local = readRun(join(folder, "local"));
    for (const name of local.names) s3.objects.set(`photos/set/${name}`, readFileSync(join(folder, name)));
  });
  after(async () => {
    process.env = previous;
    for (const close of closing) await close();
  });

  /** Puts an input on the queue and works on it. */
  async function run(input: string, out: string, allowPrivate = false) {
    const queue = await ShardQueue.connect(redis.url);
    const endpoint = { endpoint: s3.url };
    try {
      const settings = { ...settingsFor(tinyModel), allowPrivate };
      await enqueue(queue, input, out, { settings, shardBytes: SHARD_BYTES, s3: endpoint });
      return await work(queue, { load: loadTiny, exitWhenDone: true, heartbeat: 2, s3: endpoint });
    } finally {
      await queue.close();
    }
  }

  /** The rows of a run in the bucket `results`. */
  function rowsIn(prefix: string) {
    const object = (name: string) => s3.objects.get(`results/${prefix}/${name}`) ?? Buffer.alloc(0);
    const manifest = JSON.parse(object("manifest.json").toString("utf8")) as Manifest;
    const parts = manifest.shards.map(({ files }) => {
      const npy = files.find(({ name }) => name.endsWith(".npy"))?.name ?? "";
      return readRows(object(npy), object(`${npy}.json`));
    });
    return { manifest, data: Buffer.concat(parts.map(({ data }) => data)) };
  }

  it("all images below a prefix, to a bucket: the rows of the local run", async () => {
    const result = await run("s3://photos/set/", "s3://results/prefix");
    assert.deepEqual([result.rows, result.failed], [COUNT, 1]);
    const { manifest, data } = rowsIn("prefix");
    assert.ok(data.equals(local.data));
    const puts = s3.requests.filter((request) => /^PUT results\/prefix\/(shards|done)/.test(request));
    assert.equal(puts.length, 3 * manifest.shards.length); // .npy, .npy.json and the record
    assert.equal(s3.requests.filter((request) => request.startsWith("GET photos/set/images")).length, COUNT);
    assert.equal(manifest.shards.length, 2); // not one an image: the listing says how large the images are
  });

  it("a list in a bucket, while S3 asks to slow down; an object that is not there fails alone", async () => {
    const names = [
      ...local.names.slice(0, 3).map((name) => `s3://photos/set/${name}`),
      "s3://photos/none.png",
    ];
    s3.objects.set(
      "lists/a.jsonl",
      Buffer.from(names.map((path) => `${JSON.stringify({ path })}\n`).join("")),
    );
    s3.refuse = 2;
    const result = await run("s3://lists/a.jsonl", "s3://results/list");
    assert.equal(s3.refuse, 0);
    assert.deepEqual([result.rows, result.failed], [4, 1]);
    const { data } = rowsIn("list");
    assert.ok(data.subarray(0, 3 * 192 * 4).equals(local.data.subarray(0, 3 * 192 * 4)));
    const failed = s3.objects.get("results/list/failed.jsonl")?.toString("utf8") ?? "";
    assert.match(failed, /"image":"s3:\/\/photos\/none.png".*"row":3.*E_IMAGE_READ.*there is no such object/);
  });

  it("a name that is taken is created by one of several requests", async () => {
    const client = await S3.open({ endpoint: s3.url });
    const bodies = ["a", "b", "c"].map((text) => Buffer.from(text));
    const created = await Promise.all(bodies.map((body) => client.create("results", "once", body)));
    assert.equal(created.filter(Boolean).length, 1);
    const there = s3.objects.get("results/once");
    assert.ok(there?.equals(bodies[created.indexOf(true)]));
  });

  it("URLs: fetched again after a failure of the server, given up after a 404", async () => {
    const asked: string[] = [];
    const web = await serve((path) => {
      asked.push(path);
      if (path.endsWith("0001.png") && asked.filter((one) => one === path).length < 3) return 503;
      return path.startsWith("/images/") ? readFileSync(join(folder, path)) : 404;
    });
    const at = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
    const paths = [...local.names.slice(0, 3).map((name) => `${at}/${name}`), `${at}/none.png`];
    const urls = join(folder, "urls.txt");
    writeFileSync(urls, paths.join("\n"));
    const result = await run(urls, join(folder, "urls"), true);
    web.close();
    assert.deepEqual([result.rows, result.failed], [4, 1]);
    assert.equal(asked.filter((path) => path.endsWith("0001.png")).length, 3);
    assert.equal(asked.filter((path) => path.endsWith("none.png")).length, 1);
    const { data } = readRun(join(folder, "urls"));
    assert.ok(data.subarray(0, 3 * 192 * 4).equals(local.data.subarray(0, 3 * 192 * 4)));
  });
});

const loadTiny = () => load(tinyModel, { device: "cpu", threads: 1, towers: "image" });

function serve(answer: (path: string) => Buffer | number): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer((request, response) => {
      const found = answer(request.url ?? "");
      if (typeof found === "number") response.writeHead(found).end();
      else response.writeHead(200).end(found);
    }).listen(0, "127.0.0.1", () => resolve(server));
  });
}
