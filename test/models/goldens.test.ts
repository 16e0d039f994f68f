import assert from "node:assert/strict";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load, similarity, softmax, type Clip } from "../../lib/index.js";
import { readSentences, textPng } from "../../lib/datasets/index.js";
import { assertClose, assertCosine, assertNear } from "../support/compare.js";
import { golden, hasShared, sharedData, temporaryFolder, tinyModel } from "../support/index.js";
import { noiseImage } from "../support/noise.js";
import { writeRandomModel } from "../support/random-model.js";

interface Golden {
  shapes: [string, number[]][];
  texts: string[];
  ids: number[][];
  images: [number, number, number][];
  image: number[][];
  text: number[][];
  probabilities: number[][];
  logit_scale: number;
}

function check(name: () => Clip, g: Golden): void {
  const images = g.images.map(([seed, w, h]) => noiseImage(seed, w, h, 3));

  it("tokens are identical", () => {
    assert.deepEqual([...name().tokenize(g.texts).data], g.ids.flat());
  });

  it("image embeddings ≤ 1e-5, cosine ≥ 1 − 1e-7", async () => {
    const e = await name().encodeImages(images);
    assertClose(e.data, g.image.flat(), 1e-5);
    assertCosine(e.data, g.image.flat(), e.dim, 1 - 1e-7);
  });

  it("text embeddings ≤ 1e-5", async () => {
    const e = await name().encodeTexts(g.texts);
    assertClose(e.data, g.text.flat(), 1e-5);
  });
}

describe("tiny against its training code", () => {
  let clip: Clip;
  before(async () => (clip = await load(tinyModel)));
  after(() => clip.close());
  check(() => clip, golden("tiny") as Golden);

  it("bf16 stays within cosine 0.999 of fp32", async () => {
    const g = golden("tiny") as Golden;
    const half = await load(tinyModel, { precision: "bf16" });
    const e = await half.encodeImages(g.images.map(([seed, w, h]) => noiseImage(seed, w, h, 3)));
    await half.close();
    assert.equal(half.info.precision, "bf16");
    assertCosine(e.data, g.image.flat(), e.dim, 0.999);
  });
});

describe("ViT-B/32 at its real size (random weights) against transformers", function () {
  this.timeout(600_000);
  const folder = temporaryFolder();
  const g = golden("vit-b-32") as Golden;
  let clip: Clip;
  before(async () => {
    const model = join(folder, "clip-vit-base-patch32");
    mkdirSync(model);
    writeRandomModel(join(model, "model.safetensors"), g.shapes);
    writeFileSync(
      join(model, "config.json"),
      JSON.stringify({
        vision_config: { hidden_act: "quick_gelu" },
        text_config: { hidden_act: "quick_gelu" },
      }),
    );
    clip = await load(model, { cacheDir: join(folder, "cache") });
  });
  after(() => clip.close());
  check(() => clip, g);

  for (const [precision, least] of [
    ["bf16", 0.9995],
    ["int8", 0.999],
  ] as const) {
    it(`${precision}: cosine to transformers' float32 at least ${least}`, async () => {
      const quick = await load(join(folder, "clip-vit-base-patch32"), {
        cacheDir: join(folder, "cache"),
        device: "cpu",
        precision,
      });
      try {
        const images = await quick.encodeImages(g.images.map(([seed, w, h]) => noiseImage(seed, w, h, 3)));
        const texts = await quick.encodeTexts(g.texts);
        for (const [mine, theirs] of [
          [images, g.image],
          [texts, g.text],
        ] as const)
          assertCosine(mine.data, theirs.flat(), mine.dim, least);
      } finally {
        await quick.close();
      }
    });
  }

  it("probabilities ≤ 1e-4", async () => {
    const e = await clip.encodeImages(g.images.map(([seed, w, h]) => noiseImage(seed, w, h, 3)));
    const s = similarity(e, await clip.encodeTexts(g.texts));
    assertNear(clip.info.logitScale, g.logit_scale, 1e-3);
    g.probabilities.forEach((row, r) => {
      const p = softmax(s.subarray(r * row.length, (r + 1) * row.length), clip.info.logitScale);
      assertClose(p, row, 1e-4);
    });
  });

  it("the second load takes the artifact from the cache", async () => {
    const before = statSync(clip.info.path).mtimeMs;
    const again = await load(join(folder, "clip-vit-base-patch32"), { cacheDir: join(folder, "cache") });
    await again.close();
    assert.equal(again.info.path, clip.info.path);
    assert.equal(statSync(clip.info.path).mtimeMs, before);
  });

  it("encodes rendered SST2 sentences in batches as one by one", async function () {
    if (!hasShared) {
      console.log("      skipped: the SST2 sentences are not at ../shared/data");
      return this.skip();
    }
    const sentences = (await readSentences(join(sharedData, "sst2", "test.tsv")))
      .slice(0, 24)
      .map((s) => textPng(s.text));
    const together = await clip.encodeImages(sentences);
    const alone = await clip.encodeImages(sentences, { batchSize: 1 });
    assertClose(together.data, alone.data, 1e-5);
  });
});
