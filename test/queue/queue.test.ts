import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { embedImages } from "../../lib/embed/embed.js";
import { imageSource } from "../../lib/embed/sources.js";
import { load, type Clip } from "../../lib/index.js";
import { embedShard } from "../../lib/queue/embed-shard.js";
import { doneShards, enqueue } from "../../lib/queue/enqueue.js";
import { LocalStore } from "../../lib/queue/local-store.js";
import { merge } from "../../lib/queue/merge.js";
import { readRanges, type Run, type RunSettings } from "../../lib/queue/run.js";
import { readImages, ShardReader } from "../../lib/queue/shard-images.js";
import { ShardQueue } from "../../lib/queue/shard-queue.js";
import { statusOf } from "../../lib/queue/status.js";
import { work, type WorkerOptions } from "../../lib/queue/worker.js";
import { openStored } from "../../lib/search/stored.js";
import { assertMissing, rejectsWith, temporaryFolder, tinyModel } from "../support/index.js";
import { makeImages, readRows, readRun, settingsFor } from "../support/queue.js";
import { noRedis, RedisServer } from "../support/redis.js";

const COUNT = 25;
/** An image has 3.7 kB: four of them a shard. */
const SHARD_BYTES = 15_500;
const settings = settingsFor(tinyModel);

describe("sharded embedding on a queue", () => {
  const folder = temporaryFolder();
  const closing: (() => Promise<void>)[] = [];
  let server: RedisServer;
  let queue: ShardQueue;
  let list: string;
  let single: { names: string[]; data: Buffer };

  before(async function () {
    const why = noRedis();
    if (why !== undefined) {
      console.log(`      ${why}`);
      return this.skip();
    }
    server = await RedisServer.start();
    closing.push(() => server.stop());
    list = await makeImages(folder, COUNT);
    const clip = await loadTiny();
    const out = join(folder, "single.npy");
    await embedImages(clip, await imageSource(list), out, { input: list, batchSize: 4 });
    await clip.close();
    single = readRows(readFileSync(out), readFileSync(`${out}.json`));
  });
  beforeEach(async () => {
    await server.loseAll();
    queue = await ShardQueue.connect(server.url);
  });
  afterEach(() => queue.close());
  after(() => Promise.all(closing.map((close) => close())));

  const outFor = (name: string) => join(folder, name);
  const put = (name: string, given: Partial<RunSettings> = {}, input = list) =>
    enqueue(queue, input, outFor(name), { settings: { ...settings, ...given }, shardBytes: SHARD_BYTES });

  it("by one worker: the rows of one process, in its order, with the same errors", async () => {
    const { run } = await put("one");
    assert.equal(run.rows, COUNT);
    assert.ok(run.shards >= 6, `${run.shards} shards`);
    const result = await workUntilDone(server.url);
    assert.deepEqual({ ...result }, { shards: run.shards, rows: COUNT, failed: 1, failures: 0 });
    assertSameRows("one");
    const [failed] = readFileSync(outFor("one/failed.jsonl"), "utf8").trim().split("\n");
    const { row, code, image } = JSON.parse(failed) as Record<string, unknown>;
    assert.deepEqual([row, code, image], [COUNT - 1, "E_IMAGE_DECODE", join(folder, "images/0024.png")]);
    assertMissing(outFor("one/work"));
    const status = await statusOf(queue);
    assert.equal(status?.state, "finished");
    assert.deepEqual(status.rows, { total: COUNT, done: COUNT, failed: 1 });
    assert.equal(status.shards.done, run.shards);
  });

  it("its manifest opens as one index, which every command reads", async () => {
    const { manifest, names, data } = readRun(outFor("one"));
    const stored = await openStored(outFor("one/manifest.json"));
    try {
      assert.deepEqual(stored.names, names);
      const { data: rows } = stored.index.vectors(0, COUNT);
      assert.ok(Buffer.from(rows.buffer).equals(data));
      assert.equal(stored.contents.length, COUNT);
      const { kind, input, model } = stored.record;
      assert.deepEqual([kind, input, model?.name], ["images", list, tinyModel]);
      const file = outFor("one/broken.json");
      for (const [what, broken, message] of [
        ["a shard's rows", { ...manifest, shards: [{ ...manifest.shards[0], rows: 1 }] }, /rows, not 1$/],
        ["dim", { ...manifest, dim: 7 }, /vectors of \d+, not of 7$/],
        ["a file", { ...manifest, shards: [{ rows: 1, files: [{ name: "../x.npy" }] }] }, /folder above/],
        ["a missing file", { ...manifest, shards: [{ rows: 1, files: [{ name: "x.npy" }] }] }, /cannot/],
        ["no shards", {}, /it is no manifest/],
      ] as const) {
        writeFileSync(file, JSON.stringify(broken));
        const error = await rejectsWith("E_INDEX_CORRUPT", () => openStored(file), what);
        assert.match(error.message, message);
      }
      rmSync(file);
      await rejectsWith("E_INDEX_NOT_FOUND", () => openStored(file));
    } finally {
      stored.index.close();
    }
  });

  it("by three workers at once: every shard once, the same files as by one", async () => {
    await put("three");
    const results = await Promise.all([1, 2, 3].map(() => workUntilDone(server.url, { concurrency: 1 })));
    const { manifest } = assertSameRows("three");
    assert.equal(
      results.reduce((sum, { shards }) => sum + shards, 0),
      manifest.shards.length,
    );
    assert.deepEqual(readdirSync(outFor("three/shards")).sort(), readdirSync(outFor("one/shards")).sort());
  });

  it("a shard that is delivered twice is in the run once, also where the bits differ", async () => {
    const { run } = await put("twice");
    const store = new LocalStore(outFor("twice"));
    const [shard] = await readRanges(store, run);
    const reader = new ShardReader(run.settings, {});
    const images = await readImages(store, run, shard);
    const clip = await loadTiny();
    const embed = (of: Run) => embedShard({ clip, store, run: of }, shard, reader.source(images));
    const first = await embed(run);
    const again = await embed(run);
    const other = await embed({ ...run, settings: { ...run.settings, autoRotate: true } });
    await clip.close();
    assert.deepEqual([first.isOurs, again.isOurs, other.isOurs], [true, false, false]);
    assert.deepEqual(other.done, first.done);
    assert.deepEqual(
      readdirSync(outFor("twice/shards")).sort(),
      first.done.files.map(({ name }) => name.slice(7)).sort(),
    );
  });

  it("goes on after Redis lost everything: only what is not done is embedded", async () => {
    const { run } = await put("lost");
    const stop = new AbortController();
    const before = await workUntilDone(server.url, {
      signal: stop.signal,
      concurrency: 1,
      onShard: () => stop.abort(),
    });
    assert.ok(before.shards < run.shards);
    await queue.close();
    await server.loseAll();
    queue = await ShardQueue.connect(server.url);
    const again = await put("lost");
    assert.deepEqual([again.resumed, again.done, again.run.id], [true, before.shards, run.id]);
    const after = await workUntilDone(server.url);
    assert.equal(before.shards + after.shards, run.shards);
    assertSameRows("lost");
  });

  it("tries a shard again after a pause, and fails one that never succeeds, with its error", async () => {
    const { run } = await put("retry");
    writeFileSync(outFor("retry/shards"), "in the way");
    const notes: string[] = [];
    const result = await workUntilDone(server.url, {
      onNote: (text) => {
        notes.push(text);
        if (text.includes("attempt 2 of 6")) rmSync(outFor("retry/shards"), { force: true });
      },
    });
    assert.ok(result.failures > run.shards, notes.join("\n"));
    assert.match(notes.join("\n"), /attempt 1 of 6: cannot write .*retry/);
    assertSameRows("retry");
  });

  it("refuses another run in the same place, and another run on a queue that works", async () => {
    await put("refused");
    const other = await rejectsWith("E_ARGUMENT", () => put("refused", { format: "parquet" }));
    assert.match(other.message, /a run with format npy, not parquet; take another --out/);
    const shorter = join(folder, "shorter.jsonl");
    writeFileSync(shorter, readFileSync(list, "utf8").split("\n").slice(1).join("\n"));
    await rejectsWith("E_ARGUMENT", () => put("refused", {}, shorter));
    const busy = await rejectsWith("E_QUEUE", () => put("elsewhere"));
    assert.match(busy.message, /still works on .*refused/);
  });

  it("refuses a worker with another model", async () => {
    const { run } = await put("model");
    await workUntilDone(server.url, { signal: AbortSignal.timeout(400) });
    const about = JSON.parse(readFileSync(outFor("model/model.json"), "utf8")) as object;
    writeFileSync(outFor("model/model.json"), JSON.stringify({ ...about, weights: "0".repeat(64) }));
    rmSync(outFor("model/done"), { recursive: true, force: true });
    await put("model");
    const error = await rejectsWith("E_ARGUMENT", () => workUntilDone(server.url));
    assert.match(error.message, /another weights than this worker has/);
    assert.ok((await doneShards(new LocalStore(outFor("model")))).size < run.shards);
  });

  it("merges again by itself, removes what no record names, and reports a file that is gone", async () => {
    const { run } = await put("merged");
    await workUntilDone(server.url);
    const store = new LocalStore(outFor("merged"));
    const manifest = readFileSync(outFor("merged/manifest.json"));
    rmSync(outFor("merged/manifest.json"));
    writeFileSync(outFor("merged/shards/000000-0000000000000000.npy"), "of a worker that was killed");
    await merge(store, run);
    assert.ok(readFileSync(outFor("merged/manifest.json")).equals(manifest));
    assertMissing(outFor("merged/shards/000000-0000000000000000.npy"));
    const [file] = readdirSync(outFor("merged/shards"));
    rmSync(outFor(`merged/shards/${file}`));
    const error = await rejectsWith("E_QUEUE", () => merge(store, run));
    assert.match(error.message, new RegExp(`${file} is missing; remove the record of shard 0`));
    rmSync(outFor("merged/done/000000.json"));
    await put("merged");
    assert.ok(!existsSync(outFor("merged/manifest.json")));
    await workUntilDone(server.url);
    assert.ok(readFileSync(outFor("merged/manifest.json")).equals(manifest));
  });

  it("says what is wrong with the address of Redis", async () => {
    await rejectsWith("E_ARGUMENT", () => ShardQueue.connect("http://localhost"));
    await rejectsWith("E_ARGUMENT", () => ShardQueue.connect(server.url, "a:b"));
    const error = await rejectsWith("E_QUEUE", () => ShardQueue.connect("redis://:secret@127.0.0.1:1/0"));
    assert.match(error.message, /cannot reach Redis at redis:\/\/127\.0\.0\.1:1\/0: .*ECONNREFUSED/);
  });

  function assertSameRows(name: string) {
    const found = readRun(outFor(name));
    assert.deepEqual(found.names, single.names);
    assert.ok(found.data.equals(single.data), "other rows than one process gives");
    return found;
  }
});

function loadTiny(): Promise<Clip> {
  return load(tinyModel, { device: "cpu", threads: 1, towers: "image" });
}

async function workUntilDone(url: string, options: Partial<WorkerOptions> = {}) {
  const queue = await ShardQueue.connect(url);
  try {
    return await work(queue, { load: loadTiny, exitWhenDone: true, heartbeat: 2, ...options });
  } finally {
    await queue.close();
  }
}
