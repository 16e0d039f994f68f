import assert from "node:assert/strict";
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clip } from "../../lib/clip/clip.js";
import { loadDataset, type CaptionSet } from "../../lib/datasets/index.js";
import { evaluateRetrieval, retrievalManifest } from "../../lib/eval/index.js";
import { load } from "../../lib/index.js";
import { errorOf, fixture, rejectsWith, temporaryFolder } from "../support/index.js";

describe("evaluateRetrieval", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  let clip: Clip;
  let data: CaptionSet;

  before(async () => {
    clip = await load("tiny", { device: "cpu" });
    const scenes = (await loadDataset("scenes", { split: "valid", cacheDir: folder })).limit(24);
    const images = [...scenes].map((sample, i) => {
      const image = join(folder, `${i}.png`);
      copyFileSync(sample.read() as string, image);
      const shape = scenes.classes[sample.label].replaceAll("_", " ");
      return { name: `${i}.png`, image, captions: [`a photo of a ${shape}`, `a ${shape}`] };
    });
    data = { name: "scenes", split: "valid", images };
  });
  after(() => clip.close());

  it("finds what tiny knows, the same with a cache and without", async () => {
    const plain = await evaluateRetrieval(clip, data);
    const { metrics, captions, imageOf, skipped, truncated } = plain;
    assert.equal(metrics.anyPositive.imageToText.recall[0].value, 1);
    assert.equal(metrics.oneCaption.textToImage.recall[0].value, 1);
    assert.deepEqual([captions.length, imageOf.length, skipped.length, truncated], [48, 48, 0, 0]);
    const cached = await evaluateRetrieval(clip, data, { cache: join(folder, "same"), batchSize: 7 });
    assert.deepEqual(cached.metrics, plain.metrics);
    assert.deepEqual(cached.ranks, plain.ranks);
  });

  it("takes over what the cache holds, and reads again what changed", async () => {
    const cache = join(folder, "cache");
    const first = await evaluateRetrieval(clip, data, { cache });
    assert.deepEqual(first.resumed, { images: 0, captions: 0 });
    assert.deepEqual((await evaluateRetrieval(clip, data, { cache })).resumed, { images: 24, captions: 48 });
    const changed = { ...data, images: data.images.map((image) => ({ ...image })) };
    changed.images[3].image = join(folder, "changed.png");
    copyFileSync(fixture("images/rgb.png"), changed.images[3].image);
    changed.images[4].captions = ["another caption"];
    const second = await evaluateRetrieval(clip, changed, { cache });
    assert.deepEqual(second.resumed, { images: 23, captions: 46 });
    const fresh = await evaluateRetrieval(clip, changed);
    assert.deepEqual(second.ranks, fresh.ranks);
  });

  it("goes on after a stop where it was", async () => {
    const cache = join(folder, "stopped");
    const controller = new AbortController();
    const onProgress = (what: string, done: number) => {
      if (what === "images" && done >= 8) controller.abort();
    };
    const { signal } = controller;
    const work = () => evaluateRetrieval(clip, data, { cache, batchSize: 4, signal, onProgress });
    await rejectsWith("E_ABORTED", work);
    const { resumed, ranks } = await evaluateRetrieval(clip, data, { cache, batchSize: 4 });
    assert.ok(resumed.images >= 8 && resumed.images < 24, `${resumed.images} images`);
    assert.deepEqual(ranks, (await evaluateRetrieval(clip, data)).ranks);
  });

  it("an image that cannot be read is left out with its captions, or is an error that names it", async () => {
    const broken = { ...data, images: data.images.map((image) => ({ ...image })) };
    broken.images[2].image = join(folder, "broken.png");
    writeFileSync(broken.images[2].image, "no image");
    for (const cache of [undefined, join(folder, "broken")]) {
      const result = await evaluateRetrieval(clip, broken, { cache });
      assert.deepEqual([result.metrics.images, result.metrics.captions], [23, 46]);
      assert.equal(result.images[2].name, "3.png");
      assert.equal(result.imageOf[4], 2);
      assert.deepEqual(
        result.skipped.map(({ name, code }) => [name, code]),
        [["2.png", "E_IMAGE_DECODE"]],
      );
      const error = await errorOf(() => evaluateRetrieval(clip, broken, { cache, onError: "fail" }));
      assert.equal(error.code, "E_IMAGE_DECODE");
      assert.match(error.message, /^2\.png: /);
      assert.equal(error.index, 2);
    }
    const none = { ...data, images: broken.images.slice(2, 3) };
    await rejectsWith("E_DATASET_EMPTY", () => evaluateRetrieval(clip, none));
    rmSync(join(folder, "broken"), { recursive: true });
  });

  it("long captions are cut and counted; an image without a caption is refused", async () => {
    const long = "a red circle ".repeat(60);
    const cut = { ...data, images: [{ ...data.images[0], captions: [long] }, ...data.images.slice(1)] };
    assert.equal((await evaluateRetrieval(clip, cut)).truncated, 1);
    const empty = { ...data, images: [...data.images.slice(0, 3), { ...data.images[3], captions: [] }] };
    const error = await rejectsWith("E_ARGUMENT", () => evaluateRetrieval(clip, empty));
    assert.deepEqual([error.index, error.subject], [3, "3.png"]);
  });

  it("the worst queries: latest answer first, with what came before it", async () => {
    // Two images swap their captions: they are the worst, and their own captions are where the others look.
    const swapped = { ...data, images: data.images.map((image) => ({ ...image })) };
    swapped.images[0].captions = data.images[9].captions;
    swapped.images[9].captions = data.images[0].captions;
    const { worst, captions, images } = await evaluateRetrieval(clip, swapped);
    assert.deepEqual([worst.imageToText.length, worst.textToImage.length], [10, 10]);
    const [first, second, third] = worst.imageToText;
    assert.deepEqual(
      [first.query, second.query].sort((a, b) => a - b),
      [0, 9],
    );
    assert.ok(first.rank >= second.rank && second.rank > 1, `${first.rank} ${second.rank}`);
    assert.ok(third.rank <= second.rank);
    assert.equal(captions[first.hits[0].row].includes(data.images[first.query].captions[1].slice(2)), true);
    assert.ok(first.hits[0].score >= first.hits[1].score && first.hits[2].score > first.answer.score);
    const caption = worst.textToImage[0];
    assert.ok(["0.png", "9.png"].includes(images[caption.answer.row].name));
  });

  it("the manifest says what was evaluated", async () => {
    const result = await evaluateRetrieval(clip, data);
    const manifest = retrievalManifest(clip, data, result, { seed: 0, batchSize: 32, autoRotate: false });
    assert.equal(manifest.dataset.name, "scenes");
    const counts = { images: 24, evaluated: 24, captions: 48, truncated: 0, skipped: 0 };
    assert.deepEqual(manifest.counts, counts);
    assert.equal(manifest.model.weights.sha256, clip.info.config.source.sha256);
  });
});
