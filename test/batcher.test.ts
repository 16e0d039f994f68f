import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Batcher, load, type Clip } from "../lib/index.js";
import { Gate } from "../lib/clip/batching/gate.js";
import { DurationLog, type BatchObserver } from "../lib/clip/batching/metrics.js";
import { errorOf, rejectsWith, tinyModel, type Thrown } from "./support/index.js";

describe("batcher", () => {
  let clip: Clip;
  let image: (value: number) => { data: Uint8Array; width: number; height: number; channels: 3 };
  before(async () => {
    clip = await load(tinyModel, { device: "cpu" });
    const side = clip.info.imageSize;
    image = (value) => ({
      data: new Uint8Array(side * side * 3).fill(value),
      width: side,
      height: side,
      channels: 3,
    });
  });
  after(() => clip.close());

  it("merges concurrent calls, keeps each one's error to itself, refuses beyond its limit", async () => {
    const batcher = new Batcher(clip, { maxBatch: 8, maxDelay: 20, maxWaiting: 12 });
    const calls = Array.from({ length: 12 }, (_, i) =>
      batcher.encodeImage(i === 5 ? Buffer.from("no image") : image(i * 20)),
    );
    await rejectsWith("E_BUSY", () => batcher.encodeImage(image(1)));
    const results = await Promise.allSettled(calls);
    assert.deepEqual(
      results.map((r) => r.status),
      Array.from({ length: 12 }, (_, i) => (i === 5 ? "rejected" : "fulfilled")),
    );
    const reason = (results[5] as PromiseRejectedResult).reason as Thrown;
    assert.deepEqual([reason.code, reason.index], ["E_IMAGE_DECODE", undefined]);
    const alone = await clip.encodeImages(Array.from({ length: 12 }, (_, i) => image(i * 20)));
    results.forEach(
      (r, i) =>
        i !== 5 &&
        assert.deepEqual(
          (r as PromiseFulfilledResult<Float32Array>).value,
          alone.data.slice(i * alone.dim, (i + 1) * alone.dim),
        ),
    );
    await sleep(1);
    assert.equal(batcher.waiting, 0);
    const texts = await Promise.all(["a cat", "a dog"].map((t) => batcher.encodeText(t)));
    assert.deepEqual(texts[1], (await clip.encodeTexts(["a dog"])).data);
  });

  it("a text that is refused is refused alone", async () => {
    const batcher = new Batcher(clip, { truncate: "error" });
    const results = await Promise.allSettled(
      ["a", "word ".repeat(100), 5 as unknown as string, "b"].map((t) => batcher.encodeText(t)),
    );
    assert.deepEqual(
      results.map((r) => (r.status === "rejected" ? (r.reason as { code: string }).code : r.status)),
      ["fulfilled", "E_TEXT_TOO_LONG", "E_ARGUMENT", "fulfilled"],
    );
  });

  it("options: checked when it is made; limits hold for its images, and are the model's where it has none", async () => {
    for (const name of [
      "maxBatch",
      "maxDelay",
      "maxWaiting",
      "imageStep",
      "maxPixels",
      "maxBytes",
      "decodeTimeout",
    ] as const) {
      for (const value of [NaN, -1, "x"])
        assert.throws(() => new Batcher(clip, { [name]: value }), { code: "E_ARGUMENT", subject: name });
    }
    const batcher = new Batcher(clip, { maxPixels: 10, formats: ["svg"], sources: { file: false } });
    const svg = (side: number) =>
      Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}"/>`);
    await rejectsWith("E_IMAGE_TOO_LARGE", () => batcher.encodeImage(svg(4)));
    assert.equal((await batcher.encodeImage(svg(3))).length, clip.info.embedDim);
    assert.match((await errorOf(() => batcher.encodeImage("a.svg"))).message, /sources\.file/);
    await rejectsWith("E_ARGUMENT", () => batcher.encodeImage(null as never));
  });

  it("texts as token ids: the same bits as the text, also merged with texts; other ids are refused", async () => {
    const batcher = new Batcher(clip, { maxDelay: 20 });
    const texts = ["a cat", "a dog", "a red circle"];
    const tokens = (text: string) => clip.tokenize([text]);
    const calls = [batcher.encodeText(texts[0]), batcher.encodeText(tokens(texts[1]))];
    calls.push(batcher.encodeText(tokens(texts[2])));
    const { data, dim } = await clip.encodeTexts(texts);
    for (const [i, vector] of (await Promise.all(calls)).entries())
      assert.deepEqual(vector, data.slice(i * dim, (i + 1) * dim));
    const two = clip.tokenize(texts);
    await rejectsWith("E_ARGUMENT", () => batcher.encodeText(two));
    await rejectsWith("E_ARGUMENT", () => batcher.encodeText({} as never));
  });

  it("batches that follow each other in the same memory: each keeps its own pixels and errors", async () => {
    const batcher = new Batcher(clip, { maxBatch: 4, maxDelay: 1 });
    const values = Array.from({ length: 40 }, (_, i) => i * 6);
    const alone = await clip.encodeImages(values.map(image));
    const calls = values.map((value, i) =>
      i % 7 === 3
        ? errorOf(() => batcher.encodeImage(Buffer.from("no image")))
        : batcher.encodeImage(image(value)),
    );
    for (const [i, result] of (await Promise.all(calls)).entries()) {
      const expected = alone.data.slice(i * alone.dim, (i + 1) * alone.dim);
      if (result instanceof Error) assert.equal(i % 7, 3);
      else assert.deepEqual(result, expected, `image ${i}`);
    }
  });

  it("an observer is told of each batch and of the time of its stages", async () => {
    const batches: string[] = [];
    const stages = new Map<string, number>();
    const observer: BatchObserver = {
      onBatch: (lane, waits) => batches.push(`${lane} ${waits.length} ${waits.every((wait) => wait >= 0)}`),
      onStage: (lane, stage, seconds) => stages.set(`${lane} ${stage}`, seconds),
    };
    const batcher = new Batcher(clip, { maxBatch: 2, observer });
    await Promise.all([
      batcher.encodeImage(image(1)),
      batcher.encodeImage(image(2)),
      batcher.encodeText("a"),
    ]);
    assert.deepEqual(batches.sort(), ["images 2 true", "texts 1 true"]);
    const names = ["images decode", "images forward", "images read", "images resize", "texts forward"];
    assert.deepEqual([...stages.keys()].sort(), names);
    assert.ok(stages.get("images forward")! > 0 && stages.get("texts forward")! > 0);
  });

  it("the signal of a call: rejects it alone, in the queue and in work", async () => {
    const batcher = new Batcher(clip, { maxBatch: 4, maxDelay: 30 });
    const controller = new AbortController();
    const calls = [
      batcher.encodeImage(image(1)),
      batcher.encodeImage(image(2), { signal: controller.signal }),
      batcher.encodeImage(image(3)),
    ];
    controller.abort();
    assert.equal(batcher.waiting, 2);
    await rejectsWith("E_ABORTED", () => calls[1]);
    await Promise.all([calls[0], calls[2]]);
    await rejectsWith("E_ABORTED", () => batcher.encodeText("a", { signal: AbortSignal.abort() }));
    assert.equal(
      (await errorOf(() => batcher.encodeText("a", { signal: 5 as unknown as AbortSignal }))).subject,
      "signal",
    );
    const { images } = batcher.metrics();
    assert.deepEqual([images.done, images.aborted, images.failed, images.batches], [2, 1, 0, 1]);
  });

  it("a batch that nobody waits for any more is ended", async () => {
    let seen: AbortSignal | undefined;
    const preprocess = (_: unknown, { signal }: { signal: AbortSignal }) =>
      new Promise((_resolve, reject) => {
        seen = signal;
        signal.addEventListener("abort", () => reject(new Error("ended")));
      });
    const stuck = { info: clip.info, preprocess };
    const batcher = new Batcher(stuck as unknown as Clip, { maxDelay: 0 });
    const [one, other] = [new AbortController(), new AbortController()];
    const calls = [one, other].map(({ signal }) => errorOf(() => batcher.encodeImage(image(1), { signal })));
    await sleep(10);
    one.abort();
    assert.equal(seen!.aborted, false);
    other.abort();
    assert.equal(seen!.aborted, true);
    const codes = (await Promise.all(calls)).map((error) => error.code);
    assert.deepEqual(codes, ["E_ABORTED", "E_ABORTED"]);
    await batcher.drain();
  });

  it("a text waits for one turn of images, however many are queued", async () => {
    const turns: string[] = [];
    const slow = {
      info: clip.info,
      preprocess: (items: unknown[]) =>
        Promise.resolve({
          data: new Uint8Array(items.length * 3),
          rows: items.length,
          height: 1,
          width: 1,
          errors: items.map(() => undefined),
        }),
      encodePixels: async ({ rows }: { rows: number }) => {
        turns.push(`images ${rows}`);
        await sleep(10);
        return { data: new Float32Array(rows * clip.info.embedDim), rows, dim: clip.info.embedDim };
      },
      encodeTexts: (texts: string[]) => {
        turns.push(`texts ${texts.length}`);
        return Promise.resolve({
          data: new Float32Array(texts.length * clip.info.embedDim),
          rows: texts.length,
          dim: clip.info.embedDim,
        });
      },
    };
    const batcher = new Batcher(slow as unknown as Clip, { maxDelay: 0 });
    const uploads = Array.from({ length: 48 }, (_, i) => batcher.encodeImage(image(i)));
    await sleep(5);
    await batcher.encodeText("a cat");
    assert.ok([1, 2].includes(turns.indexOf("texts 1")), turns.join());
    await Promise.all(uploads);
    assert.deepEqual(
      turns.filter((turn) => turn.startsWith("images")),
      Array.from({ length: 6 }, () => "images 8"),
    );
  });

  it("drain: no more calls, what waits is started at once, and all are answered", async () => {
    const batcher = new Batcher(clip, { maxDelay: 60_000, maxBatch: 2 });
    const calls = [1, 2, 3].map((value) => batcher.encodeImage(image(value)));
    const text = batcher.encodeText("a cat");
    let answered = 0;
    for (const call of [...calls, text]) void call.then(() => answered++);
    await batcher.drain();
    assert.equal(answered, 4);
    await rejectsWith("E_CLOSED", () => batcher.encodeImage(image(1)));
    await batcher.drain();
  });

  it("metrics: queue, batches, sizes, waits", async () => {
    const batcher = new Batcher(clip, { maxDelay: 20, maxBatch: 4 });
    assert.deepEqual(batcher.metrics().texts.waits, { p50: 0, p99: 0, max: 0 });
    const calls = [1, 2, 3, 4, 5, 6].map((value) =>
      batcher.encodeImage(value === 6 ? Buffer.from("bad") : image(value)),
    );
    assert.deepEqual([batcher.metrics().images.queued, batcher.metrics().images.running], [2, 4]);
    await Promise.allSettled(calls);
    await sleep(1);
    const { images, texts } = batcher.metrics();
    assert.deepEqual(
      [images.queued, images.running, images.done, images.failed, images.batches],
      [0, 0, 5, 1, 2],
    );
    assert.deepEqual(images.batchSizes, { mean: 3, largest: 4 });
    assert.ok(
      images.waits.max >= images.waits.p50 &&
        images.latencies.p50 > 0 &&
        images.latencies.max >= images.waits.p50,
    );
    assert.equal(texts.batches, 0);
  });
});

describe("turns at the model", () => {
  it("texts go first, but not twice while images wait", async () => {
    const gate = new Gate(1);
    const order: string[] = [];
    const turn = (lane: "images" | "texts", name: string) =>
      gate.run(lane, async () => (await sleep(1), void order.push(name)));
    await Promise.all([
      turn("images", "i1"),
      turn("images", "i2"),
      turn("images", "i3"),
      turn("texts", "t1"),
      turn("texts", "t2"),
    ]);
    assert.deepEqual(order, ["i1", "t1", "i2", "t2", "i3"]);
  });

  it("a failed turn lets the next one go", async () => {
    const gate = new Gate(1);
    const failed = errorOf(() => gate.run("texts", () => Promise.reject(new Error("x"))));
    assert.equal(await gate.run("texts", () => Promise.resolve(5)), 5);
    assert.equal((await failed).message, "x");
  });
});

describe("durations", () => {
  it("percentiles of the last 1,024", () => {
    const log = new DurationLog();
    for (let i = 0; i < 1024; i++) log.add(1e6);
    for (let i = 1; i <= 1000; i++) log.add(i);
    const { p50, max } = log.summary();
    assert.deepEqual([p50, max], [512, 1e6]);
  });
});
