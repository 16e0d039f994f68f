import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import sharp from "sharp";
import { load, TorchclipError, type BatchOptions, type Clip, type ImageInput } from "../lib/index.js";
import { assertClose, assertNear } from "./support/compare.js";
import { errorOf, fixture, rejectsWith, tinyModel, type Thrown } from "./support/index.js";
import { noiseImage } from "./support/noise.js";

const good = noiseImage(1, 64, 48, 3);

describe("Clip", () => {
  let clip: Clip;
  before(async () => (clip = await load(tinyModel)));
  after(() => clip.close());

  it("classifies: probabilities sum to 1, best first, logit = scale × cosine", async () => {
    const p = await clip.classify(good, ["a", "b", "c"], { topK: 3 });
    assertNear(
      p.reduce((s, x) => s + x.probability, 0),
      1,
      1e-9,
    );
    assert.ok(p[0].probability >= p[1].probability && p[1].probability >= p[2].probability);
    for (const x of p) assertNear(x.logit, x.cosine * clip.info.logitScale, 1e-9);
    assert.equal((await clip.classify(good, ["a", "b", "c"], { topK: 1 })).length, 1);
  });

  it("embeddings are normalised unless asked otherwise", async () => {
    const norm = (d: Float32Array) => Math.hypot(...d);
    assertNear(norm((await clip.encodeImages([good])).data), 1, 1e-5);
    assert.ok(Math.abs(norm((await clip.encodeImages([good], { normalize: false })).data) - 1) > 1e-2);
    assertNear(norm((await clip.encodeTexts(["x"])).data), 1, 1e-5);
  });

  it("a bad image rejects with its index and name", async () => {
    const error = await errorOf(() => clip.encodeImages([good, good, "/nowhere/x.jpg", good]));
    assert.ok(error instanceof TorchclipError);
    assert.deepEqual([error.code, error.index, error.subject], ["E_IMAGE_READ", 2, "/nowhere/x.jpg"]);
    assert.match(error.message, /image 2/);
  });

  it('onError "collect" keeps the order, holds each error, and its row is NaN', async () => {
    const bad = Buffer.from("no image");
    const images = [good, bad, fixture("images/rgb.png"), "/nowhere/y.png", good];
    const e = await clip.encodeImages(images, { onError: "collect", batchSize: 2 });
    assert.deepEqual(
      e.errors.map((x) => x?.code),
      [undefined, "E_IMAGE_DECODE", undefined, "E_IMAGE_READ", undefined],
    );
    assert.deepEqual(
      e.errors.map((x) => x?.index),
      [undefined, 1, undefined, 3, undefined],
    );
    assert.ok(e.data.subarray(e.dim, 2 * e.dim).every(Number.isNaN));
    const alone = await clip.encodeImages([good]);
    assertClose(e.data.subarray(4 * e.dim), alone.data, 1e-6);
  });

  for (const runner of ["auto", "generic"] as const) {
    it(`one tower alone gives the same embeddings; the other is E_ARGUMENT (runner "${runner}")`, async () => {
      await using whole = await load(tinyModel, { device: "cpu", runner });
      await using images = await load(tinyModel, { device: "cpu", runner, towers: "image" });
      await using texts = await load(tinyModel, { device: "cpu", runner, towers: "text" });
      assert.deepEqual(await images.encodeImages([good]), await whole.encodeImages([good]));
      assert.deepEqual(await texts.encodeTexts(["a cat"]), await whole.encodeTexts(["a cat"]));
      const weights = [whole, images, texts].map((model) => model.memoryUsage().weights);
      assert.equal(weights[0], weights[1] + weights[2]);
      const pixels = await texts.preprocess([good]);
      for (const work of [
        () => images.encodeTexts(["a cat"]),
        () => images.encodeTokens(images.tokenize(["a cat"])),
        () => images.classify(good, ["a cat"]),
        () => texts.encodeImages([good]),
        () => texts.encodePixels(pixels),
      ]) {
        const { code, subject } = await errorOf(work);
        assert.deepEqual([code, subject], ["E_ARGUMENT", "towers"]);
      }
    });
  }

  it("pixels go into given memory, which must be large enough", async () => {
    const fresh = await clip.preprocess([good, good]);
    for (const memory of [new ArrayBuffer(fresh.data.length + 5), new SharedArrayBuffer(fresh.data.length)]) {
      const into = new Uint8Array(memory).fill(9);
      const pixels = await clip.preprocess([good, good], { into });
      assert.deepEqual([pixels.data.buffer === memory, pixels.rows], [true, 2]);
      assert.deepEqual(Buffer.from(pixels.data), Buffer.from(fresh.data));
      assert.deepEqual((await clip.encodePixels(pixels)).data, (await clip.encodePixels(fresh)).data);
    }
    const { code, subject } = await errorOf(() =>
      clip.preprocess([good, good], { into: fresh.data.subarray(1) }),
    );
    assert.deepEqual([code, subject], ["E_ARGUMENT", "into"]);
  });

  it("batches of every size give the same rows", async () => {
    const images = Array.from({ length: 7 }, (_, i) => noiseImage(i, 50 + i, 40, 3));
    const one = await clip.encodeImages(images, { batchSize: 1 });
    for (const batchSize of [2, 3, 7, 64])
      assertClose((await clip.encodeImages(images, { batchSize })).data, one.data, 1e-5);
  });

  it('resizeOn "device" gives the same bits, and errors by image', async () => {
    const images = [fixture("images/rgb.png"), good, noiseImage(5, 31, 200, 3)];
    const device = await clip.encodeImages(images, { resizeOn: "device", batchSize: 2 });
    assert.deepEqual(device.data, (await clip.encodeImages(images, { batchSize: 2 })).data);
    const mixed = await clip.encodeImages([good, "/nowhere/z.png"], {
      resizeOn: "device",
      onError: "collect",
    });
    assert.equal(mixed.errors[1]?.code, "E_IMAGE_READ");
    assert.ok(Number.isNaN(mixed.data[mixed.dim]) && !Number.isNaN(mixed.data[0]));
    await rejectsWith("E_ARGUMENT", () => clip.encodeImages([good], { resizeOn: "gpu" as "cpu" }));
  });

  it('decodeOn "device": what the device does not decode, the CPU does, with its errors', async () => {
    const jpeg = await sharp(good.data, { raw: { width: 64, height: 48, channels: 3 } })
      .jpeg()
      .toBuffer();
    const images = [jpeg, fixture("images/rgb.png"), jpeg.subarray(0, 40), good];
    const e = await clip.encodeImages(images, { decodeOn: "device", onError: "collect" });
    const cpu = await clip.encodeImages(images, { onError: "collect" });
    assert.deepEqual(
      e.errors.map((x) => [x?.code, x?.index]),
      cpu.errors.map((x) => [x?.code, x?.index]),
    );
    assert.equal(e.errors[2]?.code, "E_IMAGE_DECODE");
    if (clip.info.device === "cpu") assert.deepEqual(e.data, cpu.data);
  });

  it('"cuda:all" never falls back silently', async () => {
    const outcome = await load(tinyModel, { device: "cuda:all" }).catch((error: unknown) => error as Thrown);
    if (outcome instanceof Error) {
      assert.equal(outcome.code, "E_CUDA_UNAVAILABLE", outcome.message);
      assert.match(outcome.message, /cuda:all is not available: \S/);
    } else {
      assert.match(outcome.info.device, /^cuda/);
      await outcome.close();
    }
  });

  it("streams in order with back-pressure", async () => {
    let taken = 0;
    function* endless() {
      for (;;) {
        taken++;
        yield good;
      }
    }
    let batches = 0;
    for await (const b of clip.streamImages(endless(), { batchSize: 4 })) {
      assert.equal(b.rows, 4);
      await new Promise((r) => setTimeout(r, 20));
      assert.ok(taken <= (batches + 3) * 4, `${taken} taken after ${batches} batches`);
      if (++batches === 3) break;
    }
  });

  it("a text longer than the context: an error that names it, or cut on request", async () => {
    const long = "word ".repeat(100);
    const error = await errorOf(() => clip.encodeTexts(["short", long]));
    assert.deepEqual([error.code, error.index], ["E_TEXT_TOO_LONG", 1]);
    const cut = await clip.encodeTexts(["short", long], { truncate: "end" });
    assert.deepEqual(cut.truncated, [false, true]);
    const { data, length } = clip.tokenize([long], { truncate: "end" });
    assert.equal(data[length - 1], clip.info.vocabSize - 1);
  });

  it("aborting rejects with E_ABORTED, before and while running", async () => {
    await rejectsWith("E_ABORTED", () => clip.encodeImages([good], { signal: AbortSignal.abort() }));
    const controller = new AbortController();
    const many = Array.from({ length: 400 }, () => good);
    setTimeout(() => controller.abort(), 30);
    await rejectsWith("E_ABORTED", () =>
      clip.encodeImages(many, { batchSize: 8, signal: controller.signal }),
    );
    assert.equal((await clip.encodeImages([good])).rows, 1, "the engine works on");
  });

  it("items that are no images: E_ARGUMENT for their own rows, also where their getters throw or change", async () => {
    const thrower = {
      get width(): number {
        throw new Error("boom");
      },
    };
    let reads = 0;
    const shifting = {
      ...good,
      get width() {
        return reads++ === 0 ? 64 : 1e6;
      },
    };
    const images = [
      null,
      undefined,
      7,
      {},
      thrower,
      Symbol("x"),
      () => 1,
      new DataView(new ArrayBuffer(4)),
      shifting,
      good,
    ] as unknown as ImageInput[];
    for (const resizeOn of ["cpu", "device"] as const) {
      reads = 0;
      const e = await clip.encodeImages(images, { onError: "collect", resizeOn });
      assert.deepEqual(
        e.errors.map((x) => x?.code),
        [...Array.from({ length: 8 }, () => "E_ARGUMENT"), undefined, undefined],
      );
      assert.deepEqual(e.data.subarray(8 * e.dim, 9 * e.dim), e.data.subarray(9 * e.dim));
    }
    const error = await errorOf(() => clip.encodeImages([good, null as unknown as ImageInput]));
    assert.deepEqual([error.code, error.index], ["E_ARGUMENT", 1]);
    const list = [good, good];
    const boom = () => {
      throw new Error("boom");
    };
    Object.defineProperty(list, 1, { get: boom });
    for (const work of [() => clip.encodeImages(list), () => clip.preprocess(list)]) {
      const failure = await errorOf(work);
      assert.deepEqual([failure.code, failure.index], ["E_ARGUMENT", 1]);
    }
  });

  it("options that are wrong, NaN, or cannot be read: E_ARGUMENT with the option's name", async () => {
    const wrong: BatchOptions[] = [
      ...(["maxPixels", "maxBytes", "decodeTimeout", "fetchTimeout", "batchSize"] as const).flatMap(
        (name) => [{ [name]: NaN }, { [name]: 0 }, { [name]: "5" as unknown as number }],
      ),
      { formats: ["bmpp" as "bmp"] },
      { formats: "png" as unknown as [] },
      { sources: { url: 1 as unknown as boolean } },
      { sources: { urls: false } as object },
      { onError: "ignore" as "throw" },
      { normalize: NaN as unknown as boolean },
      { signal: {} as AbortSignal },
    ];
    for (const options of wrong) {
      const [name] = Object.keys(options);
      for (const work of [
        () => clip.encodeImages([good], options),
        () => clip.classify(good, ["a"], options),
        () => clip.preprocess([good], options),
      ]) {
        const error = await errorOf(work);
        assert.deepEqual([error.code, error.subject], ["E_ARGUMENT", name], inspect(options));
      }
    }
    const thrower = {
      get maxPixels(): number {
        throw new Error("boom");
      },
    };
    const error = await errorOf(() => clip.encodeImages([good], thrower));
    assert.deepEqual([error.code, error.subject], ["E_ARGUMENT", "maxPixels"]);
    assert.equal((await errorOf(() => clip.encodeTexts(["a"], { batchSize: NaN }))).subject, "batchSize");
    assert.equal((await errorOf(() => load(tinyModel, { maxPixels: NaN }))).subject, "maxPixels");
    await rejectsWith("E_ARGUMENT", () => clip.encodeImages([good], null as unknown as BatchOptions));
  });

  it("limits of the model hold where a call has none; a call's own go before", async () => {
    const strict = await load(tinyModel, { maxPixels: 100, formats: ["png"], sources: { file: false } });
    try {
      const png = readFileSync(fixture("images/rgb.png"));
      await rejectsWith("E_IMAGE_TOO_LARGE", () => strict.encodeImages([png]));
      assert.equal((await strict.encodeImages([png], { maxPixels: 1e6 })).rows, 1);
      assert.match(
        (await errorOf(() => strict.encodeImages([fixture("images/rgb.png")]))).message,
        /sources\.file/,
      );
      assert.equal(
        (await strict.encodeImages([fixture("images/rgb.png")], { maxPixels: 1e6, sources: { file: true } }))
          .rows,
        1,
      );
      const jpeg = readFileSync(fixture("images/rgb420.jpg"));
      for (const decodeOn of ["cpu", "device"] as const) {
        assert.match(
          (await errorOf(() => strict.encodeImages([jpeg], { decodeOn }))).message,
          /option formats/,
        );
        await rejectsWith("E_IMAGE_TOO_LARGE", () =>
          strict.encodeImages([jpeg], { decodeOn, formats: ["jpeg"] }),
        );
      }
    } finally {
      await strict.close();
    }
  });

  it('decodeOn "device" reads each image once', async () => {
    let requests = 0;
    const server = createServer((_request, response) => {
      requests++;
      response.end(readFileSync(fixture("images/rgb.png")));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a.png`;
    try {
      await clip.encodeImages([url], { decodeOn: "device", sources: { allowPrivate: true } });
      assert.equal(requests, 1);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it("the signal is answered at once while images are fetched, read from a stalled source, or decoded", async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/`;
    async function* stalled(): AsyncGenerator<ImageInput> {
      yield good;
      await new Promise(() => undefined);
    }
    const stream = async (signal: AbortSignal) => {
      for await (const { rows } of clip.streamImages(stalled(), { batchSize: 1, signal }))
        assert.equal(rows, 1);
    };
    const uses = (id: string, used: string, times: number) =>
      `<g id="${id}">${`<use href="#${used}"/>`.repeat(times)}</g>`;
    const circles = `<circle id="a" r="5"/>${uses("b", "a", 100)}${uses("c", "b", 1000)}`;
    const size = 'width="60" height="60"';
    const svg = Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" ${size}><defs>${circles}</defs><use href="#c"/></svg>`,
    );
    for (const work of [
      (signal: AbortSignal) => clip.encodeImages([url], { signal, sources: { allowPrivate: true } }),
      stream,
      (signal: AbortSignal) => clip.encodeImages([svg], { signal }),
    ]) {
      const controller = new AbortController();
      const running = errorOf(() => work(controller.signal));
      await new Promise((resolve) => setTimeout(resolve, 30));
      const start = performance.now();
      controller.abort();
      assert.equal((await running).code, "E_ABORTED");
      // 50, and what a busy machine adds.
      assert.ok(performance.now() - start < 250, `${performance.now() - start} ms`);
    }
    silent.closeAllConnections();
    silent.close();
  });

  it("empty lists give empty results", async () => {
    assert.deepEqual([(await clip.encodeImages([])).rows, (await clip.encodeTexts([])).rows], [0, 0]);
  });

  const bad: [string, () => unknown, string][] = [
    ["batch 0", () => clip.encodeImages([good], { batchSize: 0 }), "E_ARGUMENT"],
    ["images that are no list", () => clip.encodeImages("x.jpg" as never), "E_ARGUMENT"],
    ["a text that is no string", () => clip.encodeTexts([3 as never]), "E_ARGUMENT"],
    ["a template without {}", () => clip.classify(good, ["a"], { template: "a photo" }), "E_ARGUMENT"],
    ["no labels", () => clip.classify(good, []), "E_ARGUMENT"],
    ["device abacus", () => load(tinyModel, { device: "abacus" as never }), "E_ARGUMENT"],
    ["precision fp4", () => load(tinyModel, { precision: "fp4" as never }), "E_ARGUMENT"],
    ["fp8 on a CPU", () => load(tinyModel, { precision: "fp8", device: "cpu" }), "E_PRECISION"],
    ["threads -1", () => load(tinyModel, { threads: -1 }), "E_ARGUMENT"],
    ["CUDA that is not there", () => load(tinyModel, { device: "cuda:99" }), "E_CUDA_UNAVAILABLE"],
  ];
  for (const [what, work, code] of bad) it(`${what}: ${code}`, async () => await rejectsWith(code, work));
});

describe("a closed engine", () => {
  const methods: [string, (c: Clip) => unknown][] = [
    ["encodeImages", (c) => c.encodeImages([good])],
    ["encodeTexts", (c) => c.encodeTexts(["x"])],
    ["classify", (c) => c.classify(good, ["a", "b"])],
  ];
  for (const [name, call] of methods) {
    it(`${name}: E_CLOSED`, async () => {
      const clip = await load(tinyModel);
      await clip.close();
      await clip.close();
      await rejectsWith("E_CLOSED", () => call(clip));
    });
  }

  it("closing while batches wait settles all of them", async () => {
    const clip = await load(tinyModel);
    const work = Array.from({ length: 5 }, () =>
      clip.encodeImages(Array.from({ length: 64 }, () => good)).then(
        () => "done",
        (error: unknown) => (error as Thrown).code,
      ),
    );
    await new Promise((r) => setTimeout(r, 20));
    await clip.close();
    for (const outcome of await Promise.all(work))
      assert.ok(outcome === "done" || outcome === "E_CLOSED", `outcome: ${outcome}`);
  });
});
