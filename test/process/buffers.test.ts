// Memory that is taken away while native code works with it. Each script runs in a process of its own,
// because what is tested for is a crash: the call gives the result of an undisturbed one, or E_ARGUMENT.
import assert from "node:assert/strict";
import { join } from "node:path";
import { root, tinyModel } from "../support/index.js";
import { printedBy, runScript } from "../support/process.js";

const PRELUDE = `
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { EmbeddingIndex, load, topK } from ${JSON.stringify(join(root, "dist", "index.js"))};
const model = ${JSON.stringify(tinyModel)};
const generator = () => {
  let state = 7;
  return () => (state = (state * 1103515245 + 12345) % 2147483648);
};
const random = (n) => {
  const next = generator();
  return Float32Array.from({ length: n }, () => next() / 2 ** 30 - 1);
};
const bytes = (n) => {
  const next = generator();
  return Uint8Array.from({ length: n }, () => next() >> 16);
};
// The buffer is transferred to a receiver that drops it; its memory is given back and used again.
const lose = (array) => {
  structuredClone(array.buffer, { transfer: [array.buffer] });
  globalThis.gc();
  for (let i = 0; i < 8; i++) new Uint8Array(1 << 20).fill(255);
};
// Calls work(array) and takes the array's memory away after so many turns of the event loop.
const disturbed = async (make, work, expected) => {
  for (const turns of [0, 1, 4, 20]) {
    const array = make();
    const call = work(array).then((value) => ({ value }), (error) => ({ error }));
    for (let i = 0; i < turns; i++) await turn();
    if (array.byteLength) lose(array);
    const { value, error } = await call;
    // An encoded file whose bytes are gone before it is read is an empty one.
    if (error) assert.ok(["E_ARGUMENT", "E_IMAGE_DECODE"].includes(error.code), error.stack);
    else assert.deepEqual(value, expected);
  }
};
const refused = async (name, call) => {
  const error = await Promise.resolve().then(call).then(() => undefined, (e) => e);
  assert.equal(error?.code, "E_ARGUMENT", name + ": " + error?.stack);
  assert.match(error.message, /resizable/, name);
};
const resizable = (array) => {
  const copy = new array.constructor(new ArrayBuffer(array.byteLength, { maxByteLength: array.byteLength }));
  copy.set(array);
  return copy;
};
const shared = (array) => {
  const copy = new array.constructor(new SharedArrayBuffer(array.byteLength));
  copy.set(array);
  return copy;
};
`;

function runs(script: string): void {
  const run = runScript(`${PRELUDE}\n${script}\nconsole.log("end");`, ["--expose-gc"]);
  assert.match(printedBy(run), /end/);
}

describe("buffers that are transferred, resized or dropped during a call", function () {
  this.timeout(300_000);

  it("pixels: encodePixels", () => {
    runs(`
      const clip = await load(model, { device: "cpu" });
      const size = clip.info.imageSize, rows = 40;
      const whole = bytes(rows * size * size * 3), make = () => whole.slice();
      const images = (data) => ({ data, rows, height: size, width: size });
      const work = async (data) => (await clip.encodePixels(images(data), { batchSize: 8 })).data;
      const expected = await work(make());
      await disturbed(make, work, expected);
      await refused("pixels", () => work(resizable(make())));
      assert.deepEqual(await work(shared(make())), expected);
      await clip.close();`);
  });

  it("decoded pixels and files: encodeImages, resized on the CPU and by the device", () => {
    runs(`
      const clip = await load(model, { device: "cpu" });
      const [width, height] = [1500, 1000]; // more than is copied at once
      const whole = bytes(width * height * 3), make = () => whole.slice();
      const image = (data) => ({ data, width, height, channels: 3 });
      for (const options of [{}, { resizeOn: "device" }, { decodeOn: "device" }]) {
        const work = async (data) => (await clip.encodeImages([image(data)], options)).data;
        const expected = await work(make());
        await disturbed(make, work, expected);
        await refused("raw", () => work(resizable(make())));
        assert.deepEqual(await work(shared(make())), expected);
        // With "collect" it is the row's own error.
        const pair = [image(resizable(make())), image(make())];
        const both = await clip.encodeImages(pair, { ...options, onError: "collect" });
        assert.equal(both.errors[0].code, "E_ARGUMENT");
        assert.deepEqual(both.data.slice(clip.info.embedDim), expected);
        // The object is the caller's: its pixels are dropped while they wait.
        const images = Array.from({ length: 4 }, () => image(make()));
        const call = clip.encodeImages(images, options).catch((error) => error);
        for (let i = 0; i < 30; i++) {
          await turn();
          if (i === 3) images.forEach((image) => (image.data = null));
          globalThis.gc();
        }
        const found = await call;
        if (found instanceof Error) {
          assert.equal(found.code, "E_ARGUMENT");
        } else {
          const size = expected.length;
          for (let i = 0; i < 4; i++) assert.deepEqual(found.data.slice(i * size, (i + 1) * size), expected);
        }
      }
      await clip.close();`);
  });

  it("encoded files", () => {
    runs(`
      const clip = await load(model, { device: "cpu" });
      const { createRequire } = await import("node:module");
      const sharp = createRequire(${JSON.stringify(join(root, "package.json"))})("sharp");
      const raw = { width: 900, height: 700, channels: 3 };
      const jpeg = new Uint8Array(await sharp(bytes(900 * 700 * 3), { raw }).jpeg().toBuffer());
      const work = async (data) => (await clip.encodeImages([data])).data;
      const expected = await work(jpeg.slice());
      await disturbed(() => jpeg.slice(), work, expected);
      assert.deepEqual(await work(resizable(jpeg)), expected); // its bytes are copied in one go
      assert.deepEqual(await work(shared(jpeg)), expected);
      await clip.close();`);
  });

  it("token ids: encodeTokens", () => {
    runs(`
      const clip = await load(model, { device: "cpu" });
      const tokens = clip.tokenize(Array.from({ length: 300 }, (_, i) => "a red circle " + i));
      const make = () => tokens.data.slice();
      const work = async (data) => (await clip.encodeTokens({ ...tokens, data }, { batchSize: 16 })).data;
      const expected = await work(make());
      await disturbed(make, work, expected);
      await refused("ids", () => work(resizable(make())));
      await clip.close();`);
  });

  it("rows and queries of an index, rows of topK", () => {
    runs(`
      const [dim, rows] = [64, 36_000]; // 9 MB: several parts
      const base = random(rows * dim), queries = random(8 * dim);
      // Up to 8 queries get the same bits from the int8 prefilter, which is made when a second search comes.
      const query = { data: queries, rows: 8, dim };
      const index = EmbeddingIndex.create(dim);
      await index.add({ data: base.slice(), rows, dim });
      const expected = await index.search(query, 5);
      await disturbed(() => queries.slice(), (data) => index.search({ data, rows: 8, dim }, 5), expected);
      await refused("queries", () => index.search({ data: resizable(queries), rows: 8, dim }, 5));

      const add = async (data) => {
        const fresh = EmbeddingIndex.create(dim);
        await fresh.add({ data: random(dim), rows: 1, dim });
        try {
          await fresh.add({ data, rows, dim });
        } finally {
          assert.ok(fresh.rows === 1 || fresh.rows === rows + 1, "all or none");
        }
        return { vector: fresh.vector(rows), rows: fresh.rows };
      };
      await disturbed(() => base.slice(), add, { vector: base.slice((rows - 1) * dim), rows: rows + 1 });
      await refused("add", () => add(resizable(base)));
      assert.equal((await add(shared(base))).rows, rows + 1);

      const best = async (data) => topK(query, { data, rows, dim }, 5);
      const allowed = new Uint8Array(rows / 8).fill(255);
      assert.deepEqual((await best(base.slice())).indices, expected.indices);
      await disturbed(() => base.slice(), best, await best(base.slice()));
      const ask = (data) => topK({ data, rows: 8, dim }, { data: base, rows, dim }, 5);
      await disturbed(() => queries.slice(), ask, await best(base));
      await disturbed(() => allowed.slice(), (bits) => index.search(query, 5, { allowed: bits }), expected);
      await refused("base", () => best(resizable(base)));
      assert.deepEqual((await best(shared(base))).indices, expected.indices);`);
  });

  it("memory of WebAssembly that grows", () => {
    runs(`
      const clip = await load(model, { device: "cpu" });
      const size = clip.info.imageSize, rows = 8, pixels = bytes(rows * size * size * 3);
      const images = (data) => ({ data, rows, height: size, width: size });
      const work = async (data) => (await clip.encodePixels(images(data), { batchSize: 2 })).data;
      const expected = await work(pixels);
      for (const turns of [0, 1, 3, 10]) {
        const memory = new WebAssembly.Memory({ initial: 40, maximum: 80 });
        const data = new Uint8Array(memory.buffer, 0, pixels.length);
        data.set(pixels);
        const call = work(data).catch((error) => error);
        for (let i = 0; i < turns; i++) await turn();
        memory.grow(10);
        const found = await call;
        if (found instanceof Error) assert.equal(found.code, "E_ARGUMENT");
        else assert.deepEqual(found, expected);
      }
      await clip.close();`);
  });
});
