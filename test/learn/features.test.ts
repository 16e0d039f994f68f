import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load, type Clip } from "../../lib/index.js";
import { loadDataset } from "../../lib/datasets/index.js";
import { datasetFeatures, embeddingsOfPooled } from "../../lib/learn/index.js";
import { assertClose } from "../support/compare.js";
import { fixture, rejectsWith, temporaryFolder } from "../support/index.js";

const folder = temporaryFolder();
const cache = join(folder, "features");

/** A folder data set: CLASS/NAME from a fixture. */
function dataset(name: string, files: Record<string, string>): string {
  for (const [path, image] of Object.entries(files)) {
    const file = join(folder, name, path);
    mkdirSync(join(file, ".."), { recursive: true });
    copyFileSync(fixture(`images/${image}`), file);
  }
  return join(folder, name);
}

describe("datasetFeatures", () => {
  let clip: Clip;
  /** Images that went through the model. */
  let encoded = 0;

  before(async () => {
    clip = await load("tiny", { device: "cpu" });
    const stream = clip.streamImages.bind(clip);
    clip.streamImages = async function* (images, options) {
      for await (const batch of stream(images, options)) {
        encoded += batch.rows;
        yield batch;
      }
    };
  });
  after(() => clip.close());

  const first = dataset("first", { "a/1.png": "rgb.png", "a/2.png": "rgba.png", "b/1.jpg": "rgb444.jpg" });

  it("are the embeddings of the images, and the second time no image is encoded", async () => {
    const data = await loadDataset(first);
    encoded = 0;
    const fresh = await datasetFeatures(clip, data, { cache });
    assert.deepEqual([encoded, fresh.cached], [3, 0]);
    const { data: expected } = await clip.encodeImages(fresh.names.map((name) => join(first, name)));
    assert.deepEqual(fresh.features.data, expected);
    assert.deepEqual([...fresh.labels], [0, 0, 1]);
    encoded = 0;
    const again = await datasetFeatures(clip, data, { cache });
    assert.deepEqual([encoded, again.cached], [0, 3]);
    assert.deepEqual(again.features, fresh.features);
  });

  it("are found by content: another name is taken over, a changed image is not", async () => {
    const second = dataset("second", { "x/moved.png": "rgb.png", "y/1.png": "grey.png" });
    encoded = 0;
    const found = await datasetFeatures(clip, await loadDataset(second), { cache });
    assert.deepEqual([encoded, found.cached], [1, 1]);
    copyFileSync(fixture("images/palette.png"), join(second, "x/moved.png"));
    encoded = 0;
    const changed = await datasetFeatures(clip, await loadDataset(second), { cache });
    assert.deepEqual([encoded, changed.cached], [1, 1]);
    assert.notDeepEqual(changed.features.data, found.features.data);
  });

  it("other settings have features of their own", async () => {
    encoded = 0;
    const turned = await datasetFeatures(clip, await loadDataset(first), { cache, autoRotate: true });
    assert.deepEqual([encoded, turned.cached], [3, 0]);
  });

  it("pooled features are kept apart, raw, and give the embeddings without encoding the images again", async () => {
    const data = await loadDataset(first);
    encoded = 0;
    const pooled = await datasetFeatures(clip, data, { cache, features: "pooled" });
    assert.deepEqual([encoded, pooled.cached], [3, 0]);
    assert.equal(pooled.features.dim, clip.info.pooledDim);
    const paths = pooled.names.map((name) => join(first, name));
    const expected = await clip.encodeImages(paths, { output: "pooled" });
    assert.deepEqual(pooled.features.data, expected.data);
    encoded = 0;
    const embeddings = await datasetFeatures(clip, data, { cache });
    assert.deepEqual([encoded, embeddings.cached], [0, 3]);
    const again = await embeddingsOfPooled(clip, data, pooled, { cache });
    assert.equal(encoded, 0);
    assertClose(again.features.data, embeddings.features.data, 1e-6);
    assert.deepEqual(again.names, embeddings.names);
  });

  it("an image that cannot be read is left out with its reason, or fails by its name", async () => {
    const bad = dataset("bad", { "a/1.png": "rgb.png", "b/1.png": "rgb.png" });
    writeFileSync(join(bad, "a", "broken.png"), "no image");
    const data = await loadDataset(bad);
    const found = await datasetFeatures(clip, data, { cache });
    assert.equal(found.features.rows, 2);
    assert.deepEqual([...found.labels], [0, 1]);
    const [skipped] = found.skipped;
    assert.deepEqual([skipped.name, skipped.code], [join("a", "broken.png"), "E_IMAGE_DECODE"]);
    assert.ok(found.features.data.every(Number.isFinite));
    const error = await rejectsWith("E_IMAGE_DECODE", () =>
      datasetFeatures(clip, data, { cache, onError: "fail" }),
    );
    assert.match(error.message, /broken\.png/);
  });
});
