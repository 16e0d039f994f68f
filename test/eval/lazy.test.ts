import assert from "node:assert/strict";
import { createWriteStream, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import sharp from "sharp";
import tar from "tar-stream";
import { Dataset, loadDataset } from "../../lib/datasets/index.js";
import { zeroShot } from "../../lib/eval/index.js";
import { load } from "../../lib/index.js";
import type { Clip } from "../../lib/clip/clip.js";
import { temporaryFolder, tinyModel } from "../support/index.js";

const COUNT = 120;
const BATCH = 8;

interface ShardSample {
  key: string;
  label: number;
  /** The bytes of its file, made when they are written. */
  image: () => Buffer;
}

/** Writes a WebDataset shard of PNG files and their classes. */
async function writeShard(file: string, samples: readonly ShardSample[]): Promise<void> {
  const pack = tar.pack();
  const written = pipeline(pack, createWriteStream(file));
  for (const { key, label, image } of samples) {
    pack.entry({ name: `${key}.png` }, image());
    pack.entry({ name: `${key}.cls` }, String(label));
  }
  pack.finalize();
  await written;
}

describe("evaluation reads images when their batch is made", function () {
  this.timeout(120_000);
  let clip: Clip;
  let images: Buffer[];
  before(async () => {
    clip = await load(tinyModel, { device: "cpu" });
    images = await Promise.all(
      [0, 1].map((i) =>
        sharp({ create: { width: 64, height: 64, channels: 3, background: i ? "red" : "blue" } })
          .png()
          .toBuffer(),
      ),
    );
  });
  after(() => clip.close());

  it("each image is read once, and at most three batches before its result", async () => {
    let [reads, most, done] = [0, 0, 0];
    const samples = Array.from({ length: COUNT }, (_, i) => ({
      name: String(i),
      label: i % 2,
      read: () => {
        most = Math.max(most, ++reads - done);
        return images[i % 2];
      },
    }));
    const data = new Dataset({ name: "counted", split: "all", classes: ["blue", "red"], samples });
    const result = await zeroShot(clip, data, { batchSize: BATCH, onProgress: (count) => (done = count) });
    assert.equal(result.predictions.length, COUNT);
    assert.equal(reads, COUNT);
    assert.ok(most <= 3 * BATCH, `${most} images were read and not done`);
  });

  for (const journal of [false, true]) {
    const way = journal ? ", with a journal too" : "";
    it(`images of the last shard are read after the first batch is done${way}`, async () => {
      const [folder, shards, each] = [temporaryFolder(), 4, 60];
      const file = (shard: number) => join(folder, `${shard}.tar`);
      for (let shard = 0; shard < shards; shard++) {
        const samples = Array.from({ length: each }, (_, i) => ({
          key: `${shard}-${i}`,
          label: i % 2,
          image: () => images[i % 2],
        }));
        await writeShard(file(shard), samples);
      }
      const data = await loadDataset(join(folder, `{0..${shards - 1}}.tar`));
      let batches = 0;
      const result = await zeroShot(clip, data, {
        batchSize: BATCH,
        ...(journal ? { journal: join(folder, "evaluation.journal") } : {}),
        onProgress: () => {
          // What was read before this moment would be classified all the same.
          if (batches++ === 0) writeFileSync(file(shards - 1), Buffer.alloc(statSync(file(shards - 1)).size));
        },
      });
      assert.equal(result.predictions.length, (shards - 1) * each);
      assert.equal(result.skipped.length, each);
      assert.ok(result.skipped.every(({ name }) => name.startsWith(`${shards - 1}-`)));
    });
  }

  it("the memory for shards of 160 MB stays below 40 MB", async () => {
    const size = 8 << 20; // bytes a file has behind its image: a decoder does not need them, a reader does
    const filled = (image: Buffer) => Buffer.concat([image, Buffer.alloc(size)]);
    const shard = join(temporaryFolder(), "0.tar");
    await writeShard(
      shard,
      Array.from({ length: 20 }, (_, i) => ({
        key: String(i),
        label: i % 2,
        image: () => filled(images[i % 2]),
      })),
    );

    const live = new Set<WeakRef<Buffer>>();
    const data = await loadDataset(shard);
    const counted = [...data].map((sample) => ({
      ...sample,
      read: async () => {
        const bytes = (await sample.read()) as Buffer;
        live.add(new WeakRef(bytes));
        return bytes;
      },
    }));
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    let most = 0;
    const watched = new Dataset({
      name: "shard",
      split: "all",
      classes: [...data.classes],
      samples: counted,
    });
    await zeroShot(clip, watched, {
      batchSize: 1,
      onProgress: () => {
        collect();
        most = Math.max(most, [...live].filter((reference) => reference.deref()).length);
      },
    });
    assert.equal(live.size, 20);
    assert.ok(most * size <= 40e6, `${most} images were held`);
  });

  it("underscores of class names are spaces in prompts, where nothing else is asked for", async () => {
    const samples = [0, 1].map((label) => ({ name: String(label), label, read: () => images[label] }));
    const data = new Dataset({ name: "two", split: "all", classes: ["blue_circle", "red_square"], samples });
    const spaced = await zeroShot(clip, data);
    assert.deepEqual(spaced.classNames, ["blue circle", "red square"]);
    assert.deepEqual(data.classes, ["blue_circle", "red_square"]);
    assert.deepEqual((await zeroShot(clip, data, { keepUnderscores: true })).classNames, [
      "blue_circle",
      "red_square",
    ]);
    assert.deepEqual((await zeroShot(clip, data, { classNames: ["a_b", "c"] })).classNames, ["a_b", "c"]);
  });
});
