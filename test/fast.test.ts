import assert from "node:assert/strict";
import { load, type Clip, type Embeddings } from "../lib/index.js";
import { addon } from "../lib/addon.js";
import { fastestOf } from "../lib/clip/precision.js";
import { assertClose, assertCosine } from "./support/compare.js";
import { rejectsWith, root, tinyModel } from "./support/index.js";
import { noise } from "./support/noise.js";
import { printedBy, runScript } from "./support/process.js";

const TEXTS = ["a cat", "a photo of a very small dog that is sitting", "", "the film is bad", "bad"];

function pixels(clip: Clip, rows: number) {
  const size = clip.info.imageSize;
  const data = new Uint8Array(rows * size * size * 3);
  for (let i = 0; i < data.length; i++) {
    const row = Math.floor(i / (size * size * 3));
    data[i] = Math.max(
      0,
      Math.min(
        255,
        128 + 90 * Math.sin((i % (size * 3)) / (20 + 9 * row) + row) + ((noise(7, i) >>> 24) - 128) / 4,
      ),
    );
  }
  return { data, rows, height: size, width: size };
}

const PRECISIONS = ["fp32", "bf16", "fp16", "int8"] as const;
const LEAST: Record<string, number> = { bf16: 0.9995, fp16: 0.9995, int8: 0.999 };

describe("fast runner against TorchScript", () => {
  let generic: Clip;
  let images: Embeddings;
  let texts: Embeddings;
  before(async () => {
    generic = await load(tinyModel, { runner: "generic", device: "cpu" });
    images = await generic.encodePixels(pixels(generic, 7));
    texts = await generic.encodeTexts(TEXTS);
  });
  after(() => generic.close());

  it("fp32: within 1e-5; bf16 and fp16: cosine at least 0.9995; int8: at least 0.999", async () => {
    assert.match(generic.info.imageRunner, /^generic fp32/);
    for (const precision of PRECISIONS) {
      const clip = await load(tinyModel, { precision, device: "cpu" });
      try {
        assert.match(clip.info.imageRunner, new RegExp(`^fast ${precision} `));
        assert.match(clip.info.textRunner, new RegExp(`^fast ${precision} `));
        assert.equal(clip.info.precision, precision);
        for (const [mine, theirs] of [
          [await clip.encodePixels(pixels(clip, 7)), images],
          [await clip.encodeTexts(TEXTS), texts],
        ]) {
          if (precision === "fp32") assertClose(mine.data, theirs.data, 1e-5);
          else assertCosine(mine.data, theirs.data, theirs.dim, LEAST[precision], precision);
        }
        assert.equal(clip.info.requestedPrecision, precision);
      } finally {
        await clip.close();
      }
    }
  });

  it("every instruction set of this machine, each in a process of its own", function () {
    this.timeout(600_000);
    const features = addon().systemInfo().cpuFeatures;
    const sets = ["avx2", ...(features.includes("avx512f") ? ["avx512"] : []), "none"];
    for (const isa of sets) {
      const script = `
        import { load } from "torchclip";
        const out = {};
        for (const precision of ${JSON.stringify(PRECISIONS)}) {
          const clip = await load(${JSON.stringify(tinyModel)}, { precision, device: "cpu" });
          const e = await clip.encodeTexts(${JSON.stringify(TEXTS)});
          out[precision] = { runner: clip.info.textRunner, data: Array.from(e.data) };
          await clip.close();
        }
        process.stdout.write(JSON.stringify(out));`;
      const run = runScript(script, [], { cwd: root, env: { TORCHCLIP_ISA: isa } });
      const out = JSON.parse(printedBy(run)) as Record<string, { runner: string; data: number[] }>;
      for (const precision of PRECISIONS) {
        assert.match(
          out[precision].runner,
          new RegExp(`^fast ${precision} \\(${isa === "none" ? "plain" : isa}`),
        );
      }
      assertClose(out.fp32.data, texts.data, 1e-5, isa);
      for (const precision of ["bf16", "fp16", "int8"] as const)
        assertCosine(out[precision].data, texts.data, texts.dim, LEAST[precision], `${isa}, ${precision}`);
    }
  });

  it("the same bits for any batch size, in each precision; deterministic TorchScript too", async () => {
    for (const options of [
      { precision: "fp32" },
      { precision: "bf16" },
      { precision: "fp16" },
      { precision: "int8" },
      { runner: "generic", deterministic: true },
    ] as const) {
      const clip = await load(tinyModel, { device: "cpu", ...options });
      const all = pixels(clip, 7);
      const one = all.data.length / 7;
      const together = await clip.encodePixels(all);
      const alone = await clip.encodePixels({ ...all, data: all.data.slice(4 * one, 5 * one), rows: 1 });
      assert.deepEqual(
        alone.data,
        together.data.slice(4 * clip.info.embedDim, 5 * clip.info.embedDim),
        JSON.stringify(options),
      );
      const t = await clip.encodeTexts(TEXTS);
      assert.deepEqual((await clip.encodeTexts([TEXTS[3]])).data, t.data.slice(3 * t.dim, 4 * t.dim));
      await clip.close();
    }
  });

  it("texts that begin alike, equal ones and prefixes of others: the bits of each one alone, in each precision", async () => {
    const labels = ["cat", "cat", "catalogue of cats", "dog", "", "small dog and a cat on a red mat"];
    const all = labels
      .flatMap((label) => [`a photo of a ${label}`, `a blurry photo of the ${label}`, label])
      .concat(Array<string>(700).fill("a photo of a cat"));
    for (const precision of PRECISIONS) {
      const clip = await load(tinyModel, { device: "cpu", precision });
      const together = await clip.encodeTexts(all, { batchSize: 1000 });
      for (const r of [0, 1, 2, 3, 6, 9, 12, 14, 15, 17, 18, 717]) {
        const alone = await clip.encodeTexts([all[r]]);
        assert.deepEqual(
          alone.data,
          together.data.slice(r * together.dim, (r + 1) * together.dim),
          `${precision}, text ${r}`,
        );
      }
      await clip.close();
    }
  });

  it("memoryUsage: weights of 16 bits are half of float32's, those of int8 smaller still", async () => {
    const weights: Record<string, number> = {};
    for (const precision of PRECISIONS) {
      const clip = await load(tinyModel, { precision, device: "cpu" });
      weights[precision] = clip.memoryUsage().weights;
      await clip.close();
    }
    for (const precision of ["bf16", "fp16"] as const) {
      assert.ok(
        weights[precision] < 0.6 * weights.fp32,
        `${precision}: ${weights[precision]} of ${weights.fp32}`,
      );
    }
    assert.ok(weights.int8 < weights.bf16, `int8: ${weights.int8}, bf16: ${weights.bf16}`);
  });

  it("memoryUsage: the workspace does not grow over equal batches", async () => {
    const clip = await load(tinyModel, { precision: "int8", device: "cpu" });
    await clip.encodePixels(pixels(clip, 4));
    const first = clip.memoryUsage().workspace;
    for (let i = 0; i < 5; i++) await clip.encodePixels(pixels(clip, 4));
    assert.equal(clip.memoryUsage().workspace, first);
    const { graphs, refusedGraphs, graphProblem } = clip.memoryUsage();
    assert.deepEqual([graphs, refusedGraphs, graphProblem], [0, 0, ""]); // a CPU captures nothing
    await clip.close();
    assert.equal(clip.memoryUsage().weights, 0);
  });

  it("precision auto: measured once, remembered", async () => {
    const clip = await load(tinyModel, { precision: "auto", device: "cpu" });
    const choice = clip.info.precisionChoice!;
    assert.equal(choice.chosen, clip.info.precision);
    assert.deepEqual(
      choice.measured.map((m) => m.precision),
      ["fp32", "bf16", "int8"],
    );
    assert.equal(fastestOf(choice.measured), choice.chosen);
    const again = await load(tinyModel, { precision: "auto", device: "cpu" });
    assert.deepEqual(again.info.precisionChoice, choice);
    await Promise.all([clip.close(), again.close()]);
  });

  it("precision auto: fp32 unless another is accurate enough and 5 % faster", () => {
    const fp32 = { precision: "fp32", cosine: 1, seconds: 1 } as const;
    assert.equal(fastestOf([fp32]), "fp32");
    assert.equal(fastestOf([fp32, { precision: "bf16", cosine: 0.9999, seconds: 0.97 }]), "fp32");
    assert.equal(fastestOf([fp32, { precision: "bf16", cosine: 0.9999, seconds: 0.9 }]), "bf16");
    assert.equal(
      fastestOf([
        fp32,
        { precision: "bf16", cosine: 0.9999, seconds: 0.9 },
        { precision: "int8", cosine: 0.999, seconds: 0.3 },
      ]),
      "bf16",
    );
    assert.equal(
      fastestOf([
        fp32,
        { precision: "bf16", cosine: 0.9999, seconds: 0.9 },
        { precision: "int8", cosine: 0.9996, seconds: 0.3 },
      ]),
      "int8",
    );
  });

  it("refuses pixels of another size and unknown runners", async () => {
    await rejectsWith("E_ARGUMENT", () =>
      generic.encodePixels({ data: new Uint8Array(12), rows: 1, height: 2, width: 2 }),
    );
    await rejectsWith("E_ARGUMENT", () => load(tinyModel, { runner: "swift" as "auto" }));
  });
});
