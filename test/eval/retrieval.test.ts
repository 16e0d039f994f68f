import assert from "node:assert/strict";
import type { Embeddings } from "../../lib/index.js";
import { retrievalMetrics, type DirectionMetrics } from "../../lib/eval/index.js";
import { measureRetrieval } from "../../lib/eval/retrieval-metrics.js";
import { assertNear } from "../support/compare.js";
import { golden, rejectsWith } from "../support/index.js";

type Figures = Record<string, number>;

interface Case {
  images: number[][];
  captions: number[][];
  imageOf: number[];
  oneCaption: { imageToText: Figures; textToImage: Figures };
  /** Absent where scores are equal, whose order CLIP_benchmark leaves open. */
  anyPositive?: { imageToText: Figures; textToImage: Figures };
}

const DIRECTIONS = ["imageToText", "textToImage"] as const;

function embeddings(rows: number[][]): Embeddings {
  return { data: Float32Array.from(rows.flat()), rows: rows.length, dim: rows[0].length };
}

function recallsOf({ recall }: DirectionMetrics): Figures {
  return Object.fromEntries(recall.map(({ k, value }) => [k, value]));
}

function assertFigures(found: Figures, expected: Figures, what: string): void {
  for (const [name, value] of Object.entries(expected))
    assertNear(found[name], value, 1e-12, `${what} ${name}`);
}

/** Cosines in double precision, as a plain loop. */
function products(a: Embeddings, b: Embeddings): Float32Array {
  const out = new Float32Array(a.rows * b.rows);
  for (let i = 0; i < a.rows; i++) {
    for (let j = 0; j < b.rows; j++) {
      let sum = 0;
      for (let d = 0; d < a.dim; d++) sum += a.data[i * a.dim + d] * b.data[j * b.dim + d];
      out[i * b.rows + j] = sum;
    }
  }
  return out;
}

describe("retrieval metrics", () => {
  const cases = golden("retrieval") as Case[];

  cases.forEach(({ images, captions, imageOf, oneCaption, anyPositive }, n) => {
    const title = `case ${n}: ${images.length} images, ${captions.length} captions`;
    it(`${title}: equal to CLIP_benchmark's and open_clip_train's code to 1e-12`, async () => {
      const metrics = await retrievalMetrics(embeddings(images), embeddings(captions), imageOf);
      assert.deepEqual([metrics.images, metrics.captions], [images.length, captions.length]);
      for (const direction of DIRECTIONS) {
        const pairs = metrics.oneCaption[direction];
        const { medianRank, meanRank } = pairs;
        const figures = { ...recallsOf(pairs), median: medianRank.value, mean: meanRank.value };
        assertFigures(figures, oneCaption[direction], `one caption, ${direction}`);
        assert.equal(pairs.ndcg10, undefined);
        if (!anyPositive) continue;
        const all = metrics.anyPositive[direction];
        const found = { ...recallsOf(all), ndcg10: all.ndcg10!.value };
        assertFigures(found, anyPositive[direction], `any positive, ${direction}`);
      }
    });
  });

  it("the mean of both Recall@1 is DataComp's main score", async () => {
    const { images, captions, imageOf } = cases[1];
    const { anyPositive, meanRecall1 } = await retrievalMetrics(
      embeddings(images),
      embeddings(captions),
      imageOf,
    );
    const [text, image] = DIRECTIONS.map((direction) => anyPositive[direction].recall[0].value);
    assertNear(meanRecall1, (text + image) / 2, 1e-15);
  });

  it("equal scores go to the lower number, and are counted", async () => {
    const same = embeddings([
      [1, 0],
      [1, 0],
      [0, 1],
    ]);
    const { anyPositive } = await retrievalMetrics(same, same, [0, 1, 2]);
    for (const direction of DIRECTIONS) {
      assert.equal(anyPositive[direction].ties, 2);
      assertNear(anyPositive[direction].recall[0].value, 2 / 3, 1e-15);
    }
    const { ranks } = await measureRetrieval(same, same, [0, 1, 2], products);
    assert.deepEqual([...ranks.imageToText], [0, 1, 0]);
  });

  it("two captions of one image that are equal are no tie with a wrong answer", async () => {
    const images = embeddings([
      [1, 0],
      [0, 1],
    ]);
    const captions = embeddings([
      [1, 0],
      [1, 0],
      [0, 1],
    ]);
    const { anyPositive } = await retrievalMetrics(images, captions, [0, 0, 1]);
    assert.equal(anyPositive.imageToText.ties, 0);
    assert.equal(anyPositive.imageToText.recall[0].value, 1);
  });

  it("intervals hold their value, are the same for one seed and others for another", async () => {
    const { images, captions, imageOf } = cases[2];
    const run = (seed: number) =>
      retrievalMetrics(embeddings(images), embeddings(captions), imageOf, { seed });
    const [first, again, other] = [await run(3), await run(3), await run(4)];
    assert.deepEqual(first, again);
    assert.notDeepEqual(first.anyPositive.imageToText, other.anyPositive.imageToText);
    for (const direction of DIRECTIONS) {
      const { recall, medianRank, meanRank, ndcg10 } = first.anyPositive[direction];
      for (const { value, interval } of [...recall, medianRank, meanRank, ndcg10!]) {
        assert.ok(
          interval.low <= value && value <= interval.high,
          `${interval.low} ${value} ${interval.high}`,
        );
        assert.equal(interval.method, "bootstrap");
      }
    }
  });

  it("captions of one image are resampled together: the interval is that of the images", async () => {
    // Ten images, of which five find all of their eight captions and five none: a bootstrap over 80 captions would
    // take 0.39 to 0.61, that over ten images is as wide as a coin thrown ten times.
    const count = 10;
    const axis = (i: number) => Array.from({ length: count }, (_, d) => (d === i ? 1 : 0));
    const images = embeddings(Array.from({ length: count }, (_, i) => axis(i)));
    const imageOf = Array.from({ length: 8 * count }, (_, i) => Math.floor(i / 8));
    const captions = embeddings(imageOf.map((image) => axis(image < 5 ? image : 9 - image)));
    const { anyPositive } = await retrievalMetrics(images, captions, imageOf);
    const { value, interval } = anyPositive.textToImage.recall[0];
    assert.equal(value, 0.5);
    assert.ok(interval.low <= 0.25 && interval.high >= 0.75, `${interval.low} to ${interval.high}`);
  });

  it("more images than a block: the same ranks as all at once", async () => {
    let state = 1;
    const next = () => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5;
    const rows = (n: number) => embeddings(Array.from({ length: n }, () => [next(), next(), next(), next()]));
    const images = rows(1700);
    const captions = rows(3400);
    const imageOf = Array.from({ length: 3400 }, (_, i) => i % 1700);
    let calls = 0;
    const counted = (a: Embeddings, b: Embeddings) => {
      calls++;
      return products(a, b);
    };
    const { ranks } = await measureRetrieval(images, captions, imageOf, counted);
    assert.ok(calls > 4, `${calls} blocks`);
    const scores = products(captions, images);
    for (const caption of [0, 616, 617, 1233, 3399]) {
      const own = scores.subarray(caption * 1700, (caption + 1) * 1700);
      const answer = own[imageOf[caption]];
      assert.equal(ranks.textToImage[caption], own.filter((score) => score > answer).length);
    }
  });

  it("refuses NaN, a caption of no image and an image without a caption, with the index", async () => {
    const rows = () => embeddings(Array.from({ length: 3 }, () => [1, 0]));
    const bad = rows();
    bad.data[3] = NaN;
    const run = (images: Embeddings, captions: Embeddings, of: number[]) => () =>
      retrievalMetrics(images, captions, of);
    const image = await rejectsWith("E_ARGUMENT", run(bad, rows(), [0, 1, 2]));
    assert.match(image.message, /embedding of image 1 holds NaN/);
    assert.equal(image.index, 1);
    assert.match((await rejectsWith("E_ARGUMENT", run(rows(), bad, [0, 1, 2]))).message, /caption 1/);
    assert.equal((await rejectsWith("E_ARGUMENT", run(rows(), rows(), [0, 1, 3]))).index, 2);
    assert.equal((await rejectsWith("E_ARGUMENT", run(rows(), rows(), [0, 0, 2]))).index, 1);
    await rejectsWith("E_ARGUMENT", run(rows(), rows(), [0, 1]));
  });

  it("stops where the signal fires", async () => {
    const { images, captions, imageOf } = cases[0];
    const signal = AbortSignal.abort();
    const work = () => retrievalMetrics(embeddings(images), embeddings(captions), imageOf, { signal });
    await rejectsWith("E_ABORTED", work);
  });
});
