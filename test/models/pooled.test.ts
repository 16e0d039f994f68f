import assert from "node:assert/strict";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addon } from "../../lib/addon.js";
import { Batcher, load, normalizeRows, type Clip, type Embeddings } from "../../lib/index.js";
import { embedPooled, readImageProjection } from "../../lib/learn/index.js";
import { assertClose, assertCosine } from "../support/compare.js";
import { families, familyImages, writeFamilyFolder, type FamilyCase } from "../support/families.js";
import { fixture, rejectsWith, root, temporaryFolder, tinyModel } from "../support/index.js";
import { printedBy, runScript } from "../support/process.js";

/** Of the largest value of the expected features. */
const TOLERANCE = 1e-5;
const LEAST = { bf16: 0.9995, fp16: 0.9995, int8: 0.999 } as const;
const output = "pooled";

const largest = (values: readonly number[]) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

/** Compares raw features within the tolerance. */
function assertFeatures(found: ArrayLike<number>, expected: readonly number[], what: string): void {
  assertClose(found, expected, TOLERANCE * largest(expected), what);
}

describe("pooled image features of every family against open_clip and transformers", () => {
  const folder = temporaryFolder();
  const artifacts = new Map<FamilyCase, string>();
  const open = (c: FamilyCase, options: Parameters<typeof load>[1] = {}) =>
    load(artifacts.get(c) ?? "", { cacheDir: folder, device: "cpu", ...options });

  before(async function () {
    this.timeout(240_000);
    for (const c of families.cases) {
      const at = writeFamilyFolder(c, join(folder, c.name.replace(/\W+/g, "-")), true);
      const clip = await load(at, { cacheDir: folder, device: "cpu", towers: "image" });
      artifacts.set(c, clip.info.path);
      await clip.close();
    }
  });

  for (const c of families.cases) {
    const expected = c.pooled.flat();

    it(`${c.name}: the features of the reference, and their projection is the embedding: ≤ 1e-5`, async () => {
      const clip = await open(c);
      assert.match(clip.info.imageRunner, /^fast fp32/);
      assert.equal(clip.info.pooledDim, c.pooled[0].length);
      const pooled = await clip.encodeImages(familyImages, { output });
      assert.deepEqual([pooled.rows, pooled.dim], [c.pooled.length, clip.info.pooledDim]);
      assertFeatures(pooled.data, expected, c.name);
      const embeddings = await clip.encodeImages(familyImages);
      assertClose(embeddings.data, c.image.flat(), TOLERANCE, "embeddings between pooled features");
      const { kind, projection } = await readImageProjection(clip.info);
      const projected = await embedPooled(clip.info, pooled);
      await clip.close();
      if (c.name.includes("MLP head")) {
        assert.deepEqual([kind, projected], ["other", undefined]);
        return;
      }
      assert.equal(kind, c.name.includes("SigLIP") ? "none" : "linear");
      assert.equal(projection === undefined, kind === "none");
      assert.ok(projected);
      assertClose(projected.data, embeddings.data, 1e-6, "projected");
    });

    it(`${c.name}: TorchScript gives the same, bf16 and fp16 a cosine of at least 0.9995, int8 0.999`, async () => {
      const generic = await open(c, { runner: "generic", towers: "image" });
      assert.match(generic.info.imageRunner, /^generic fp32/);
      const { data } = await generic.encodeImages(familyImages, { output });
      const embeddings = await generic.encodeImages(familyImages);
      await generic.close();
      assertFeatures(data, expected, "generic");
      assertClose(embeddings.data, c.image.flat(), TOLERANCE, "generic embeddings");
      for (const precision of ["bf16", "fp16", "int8"] as const) {
        const clip = await open(c, { precision, towers: "image" });
        const { data: rows, dim } = await clip.encodeImages(familyImages, { output });
        await clip.close();
        assertCosine(rows, expected, dim, LEAST[precision], `${c.name} ${precision}`);
      }
    });
  }

  it("every instruction set of this machine", function () {
    this.timeout(600_000); // kernels without vector instructions are slow
    const features = addon().systemInfo().cpuFeatures;
    const paths = [...artifacts.values()];
    const files = familyImages.map(({ data, ...sizes }, i) => {
      const file = join(folder, `image-${i}.bin`);
      writeFileSync(file, data);
      return { ...sizes, file };
    });
    for (const isa of ["avx2", ...(features.includes("avx512f") ? ["avx512"] : []), "none"]) {
      const script = `
        import { readFileSync } from "node:fs";
        import { load } from "torchclip";
        const images = ${JSON.stringify(files)}.map(({ file, ...sizes }) =>
          ({ ...sizes, data: new Uint8Array(readFileSync(file)) }));
        const out = [];
        for (const path of ${JSON.stringify(paths)}) {
          const clip = await load(path, { device: "cpu", towers: "image" });
          const pooled = await clip.encodeImages(images, { output: "pooled" });
          out.push({ runner: clip.info.imageRunner, data: Array.from(pooled.data) });
          await clip.close();
        }
        process.stdout.write(JSON.stringify(out));`;
      const run = runScript(script, [], { cwd: root, env: { TORCHCLIP_ISA: isa } });
      const out = JSON.parse(printedBy(run)) as { runner: string; data: number[] }[];
      for (const [i, c] of families.cases.entries()) {
        assert.match(out[i].runner, new RegExp(`\\(${isa === "none" ? "plain" : isa}`));
        assertFeatures(out[i].data, c.pooled.flat(), `${c.name}, ${isa}`);
      }
    }
  });
});

describe("pooled image features of a model", () => {
  const folder = temporaryFolder();
  let clip: Clip;
  let pooled: Embeddings;
  const images = familyImages.concat(familyImages);
  before(async () => {
    clip = await load(tinyModel, { device: "cpu" });
    pooled = await clip.encodeImages(images, { output });
  });
  after(() => clip.close());

  it("are raw, or of length 1 where that is asked for", async () => {
    const normalized = await clip.encodeImages(images, { output, normalize: true });
    const expected = normalizeRows({ ...pooled, data: pooled.data.slice() });
    assertClose(normalized.data, expected.data, 1e-6);
    assert.notDeepEqual(normalized.data, pooled.data);
  });

  it("are the same bits from pixels, in a stream, in any batch, and resized where the model runs", async () => {
    const pixels = await clip.preprocess(images);
    assert.deepEqual((await clip.encodePixels(pixels, { output })).data, pooled.data);
    const rows: number[] = [];
    for await (const batch of clip.streamImages(images, { output, batchSize: 1 })) {
      assert.equal(batch.dim, clip.info.pooledDim);
      rows.push(...batch.data);
    }
    assert.deepEqual(Float32Array.from(rows), pooled.data);
    const resized = await clip.encodeImages(images, { output, resizeOn: "device" });
    assert.deepEqual(resized.data, pooled.data);
  });

  it("have NaN in the row of an image that cannot be read, and no row for no image", async () => {
    const { dim } = pooled;
    const broken = [images[0], Buffer.from("no image"), images[1]];
    const found = await clip.encodeImages(broken, { output, onError: "collect" });
    assert.ok(found.data.subarray(dim, 2 * dim).every(Number.isNaN));
    assert.deepEqual(found.data.subarray(2 * dim), pooled.data.subarray(dim, 2 * dim));
    const none = await clip.encodeImages([], { output });
    assert.deepEqual([none.rows, none.dim, none.data.length], [0, dim, 0]);
  });

  it("come from a batcher that is made for them", async () => {
    const batcher = new Batcher(clip, { output });
    const rows = await Promise.all(images.map((image) => batcher.encodeImage(image)));
    const text = await batcher.encodeText("a red circle");
    await batcher.drain();
    assert.equal(text.length, clip.info.embedDim);
    for (const [i, row] of rows.entries()) {
      assert.deepEqual(row, pooled.data.slice(i * pooled.dim, (i + 1) * pooled.dim));
    }
  });

  it("another output is E_ARGUMENT, and a classifier of texts has no choice", async () => {
    const wrong = { output: "tokens" as "pooled" };
    for (const work of [
      () => clip.encodeImages(images, wrong),
      () => clip.encodeImages([], wrong),
      () => new Batcher(clip, wrong),
      () => clip.classify(images[0], ["a", "b"], { output } as object),
    ]) {
      const error = await rejectsWith("E_ARGUMENT", work);
      assert.equal(error.subject, "output");
    }
  });

  it("the projection of an artifact that is gone or another one is refused", async () => {
    const { path, embedDim, pooledDim } = clip.info;
    await rejectsWith("E_MODEL_NOT_FOUND", () =>
      readImageProjection({ path: join(folder, "none.pt"), embedDim, pooledDim }),
    );
    const other = { path, embedDim: embedDim + 1, pooledDim };
    const error = await rejectsWith("E_MODEL_CORRUPT", () => readImageProjection(other));
    assert.match(error.message, /has changed since it was loaded/);
    const { projection } = await readImageProjection(clip.info);
    const rows = { ...pooled, data: pooled.data.slice() };
    rows.data[pooled.dim] = NaN;
    const { index } = await rejectsWith("E_ARGUMENT", async () => projection?.embed(rows));
    assert.equal(index, 1);
  });

  it("a third-party export gives none: E_ARGUMENT", async () => {
    const at = join(folder, "export");
    mkdirSync(at);
    cpSync(fixture("models/foreign-traced.pt"), join(at, "model.pt"));
    const tokenizer = families.tokenizers.find((t) => t && typeof t === "object");
    writeFileSync(join(at, "tokenizer.json"), JSON.stringify(tokenizer));
    const foreign = await load(at, { cacheDir: folder, device: "cpu", trustCode: true });
    try {
      assert.equal(foreign.info.pooledDim, 0);
      for (const work of [
        () => foreign.encodeImages(images, { output }),
        async () => foreign.encodePixels(await foreign.preprocess(images), { output }),
      ]) {
        const error = await rejectsWith("E_ARGUMENT", work);
        assert.match(error.message, /third-party TorchScript export gives no pooled features/);
      }
      assert.equal((await readImageProjection(foreign.info)).kind, "other");
      assert.equal((await foreign.encodeImages(images)).rows, images.length);
    } finally {
      await foreign.close();
    }
  });
});
