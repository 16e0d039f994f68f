import assert from "node:assert/strict";
import { addon } from "../../lib/addon.js";
import { cropped, mirror, randomCrop } from "../../lib/finetune/augment.js";
import { bestOf, sinceBest } from "../../lib/finetune/history.js";
import { changedRecipe, recipeOf } from "../../lib/finetune/recipes.js";
import { randomOf, Sampler } from "../../lib/finetune/sampler.js";
import { learningRateAt } from "../../lib/finetune/schedule.js";
import { golden, sha256 } from "../support/index.js";
import { noiseImage } from "../support/noise.js";

describe("the learning rate", () => {
  const about = { learningRate: 1e-3, leastLearningRate: 1e-5, warmup: 0, steps: 100 };

  it("is half a cosine, as PyTorch's CosineAnnealingLR", () => {
    assert.equal(learningRateAt(0, about), 1e-3);
    assert.ok(Math.abs(learningRateAt(50, about) - (1e-3 + 1e-5) / 2) < 1e-12);
    const last = 1e-5 + (1e-3 - 1e-5) * 0.5 * (1 + Math.cos(0.99 * Math.PI));
    assert.ok(Math.abs(learningRateAt(99, about) - last) < 1e-15);
  });

  it("rises in the warm-up, as open_clip's cosine_lr", () => {
    const warm = { ...about, warmup: 10 };
    assert.ok(Math.abs(learningRateAt(0, warm) - 1e-4) < 1e-15);
    assert.equal(learningRateAt(9, warm), 1e-3);
    assert.equal(learningRateAt(10, warm), 1e-3);
  });
});

describe("the sampler", () => {
  it("takes each image once before any twice, in another order each time", () => {
    const sampler = new Sampler(10, 3);
    const sorted = (start: number) => sampler.batch(start, 10).sort((a, b) => a - b);
    const all = Array.from({ length: 10 }, (_, i) => i);
    assert.deepEqual(sorted(0), all);
    assert.deepEqual(sorted(10), all);
    assert.notDeepEqual(sampler.batch(0, 10), sampler.batch(10, 10));
  });

  it("gives a place the same image in any order of requests", () => {
    const whole = new Sampler(7, 1).batch(0, 40);
    const late = new Sampler(7, 1);
    assert.deepEqual(late.batch(20, 20), whole.slice(20));
    assert.deepEqual(late.batch(3, 9), whole.slice(3, 12));
    assert.notDeepEqual(new Sampler(7, 2).batch(0, 40), whole);
  });
});

describe("random crops", () => {
  it("lie in the image, with their share of the area and their ratio", () => {
    const random = randomOf(1, "crops");
    for (let i = 0; i < 500; i++) {
      const { left, top, width, height } = randomCrop(random, { width: 200, height: 120 }, [0.2, 0.6]);
      assert.ok(left >= 0 && top >= 0 && left + width <= 200 && top + height <= 120);
      const share = (width * height) / (200 * 120);
      assert.ok(share > 0.18 && share < 0.62, `share ${share}`);
      const ratio = width / height;
      assert.ok(ratio > 0.72 && ratio < 1.38, `ratio ${ratio}`);
    }
  });

  it("are the largest part in the middle where no try fits", () => {
    const box = randomCrop(randomOf(1, "flat"), { width: 1000, height: 10 }, [1, 1]);
    assert.deepEqual(box, { left: 493, top: 0, width: 13, height: 10 });
  });

  for (const { case: given, sha256: expected } of golden("crops") as { case: number[]; sha256: string }[]) {
    it(`have Pillow's bytes after the resize: ${given.join(" ")}`, async () => {
      const [seed, width, height, left, top, w, h, side] = given;
      const image = noiseImage(seed, width, height, 3);
      const part = cropped(image, { left, top, width: w, height: h });
      const out = new Uint8Array(side * side * 3);
      const transform = { size: side, resize: 1, resized: side, crop: 0, filter: 0, fill: 0 };
      await addon().preprocess(part.data, w, h, 3, transform, out, 0);
      assert.equal(sha256(out), expected);
    });
  }

  it("take the pixels of their box; a mirror turns rows round", () => {
    const image = noiseImage(5, 6, 4, 3);
    const part = cropped(image, { left: 1, top: 2, width: 3, height: 2 });
    const pixel = (x: number, y: number) => [...image.data.subarray(3 * (6 * y + x), 3 * (6 * y + x) + 3)];
    assert.deepEqual([...part.data.subarray(0, 3)], pixel(1, 2));
    assert.deepEqual([...part.data.subarray(15, 18)], pixel(3, 3));
    const square = noiseImage(5, 4, 4, 3).data;
    const turned = square.slice();
    mirror(turned, 4);
    assert.deepEqual([...turned.subarray(0, 3)], [...square.subarray(9, 12)]);
    mirror(turned, 4);
    assert.deepEqual(turned, square);
  });
});

describe("validations", () => {
  const at = (step: number, accuracy: number, loss: number) => ({ step, accuracy, loss });

  it("the best has the highest accuracy, then the lowest loss, then comes first", () => {
    const all = [at(1, 0.5, 1), at(2, 0.7, 2), at(3, 0.7, 1), at(4, 0.7, 1), at(5, 0.6, 0)];
    assert.equal(bestOf(all)?.step, 3);
    assert.equal(sinceBest(all), 2);
    assert.equal(bestOf([]), undefined);
    assert.equal(sinceBest([]), 0);
  });
});

describe("recipes", () => {
  it("are the published ones", () => {
    const { optimizer, learningRate, batchSize, steps } = recipeOf("image", 100);
    assert.deepEqual([optimizer, learningRate, batchSize, steps], ["adam", 1e-5, 32, 4000]);
    assert.equal(recipeOf("lora", 4).steps, 2000);
    assert.equal(recipeOf("lora", 900).steps, 8000);
    assert.equal(recipeOf("flyp", 4).weightDecay, 0.1);
  });

  it("keep what a change leaves undefined", () => {
    const changed = changedRecipe("lora", 4, { steps: undefined, lora: { rank: 8, alpha: undefined } });
    assert.equal(changed.steps, 2000);
    assert.deepEqual([changed.lora.rank, changed.lora.alpha], [8, 1]);
  });
});
