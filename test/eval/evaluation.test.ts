import assert from "node:assert/strict";
import {
  clipScore,
  compareClassifiers,
  groupAccuracies,
  jaccardScores,
  macroF1,
  mcnemar,
  meanAveragePrecision,
  refClipScore,
} from "../../lib/eval/index.js";
import { assertClose, assertNear } from "../support/compare.js";
import { golden, rejectsWith } from "../support/index.js";

interface Goldens {
  macroF1: {
    classes: number;
    truth: number[];
    predicted: number[];
    occurring: number;
    true: number;
    all: number;
  }[];
  multiLabel: {
    classes: number;
    scores: number[];
    targets: number[];
    perClass: number[];
    elevenPoint: number[];
  }[];
  jaccard: { scores: number[]; answers: number[]; score: number }[];
  groups: { groups: string[]; hits: boolean[]; accuracies: Record<string, number> };
  mcnemar: { b: number; c: number; p: number }[];
  clipScore: {
    images: number[][];
    captions: number[][];
    references: number[][];
    referencesOf: number[][];
    scores: number[];
    withReferences: number[];
  };
}

const goldens = golden("evaluation") as Goldens;

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

function embeddings(rows: number[][]) {
  return { data: Float32Array.from(rows.flat()), rows: rows.length, dim: rows[0].length };
}

describe("macro F1 over the classes that are asked for, equal to scikit-learn's", () => {
  goldens.macroF1.forEach(({ classes, truth, predicted, ...expected }, n) => {
    it(`case ${n}: ${truth.length} images, ${classes} classes`, () => {
      for (const over of ["occurring", "true", "all"] as const)
        assertNear(macroF1(truth, predicted, classes, over), expected[over], 1e-12, over);
      assert.equal(macroF1(truth, predicted, classes), macroF1(truth, predicted, classes, "occurring"));
    });
  });
});

describe("mean average precision of several labels, equal to scikit-learn's", () => {
  goldens.multiLabel.forEach(({ classes, scores, targets, perClass, elevenPoint }, n) => {
    it(`case ${n}: ${scores.length / classes} images, ${classes} classes`, () => {
      const plain = meanAveragePrecision(scores, targets, classes);
      assertClose(plain.perClass, perClass, 1e-12);
      assertNear(plain.mean, mean(perClass), 1e-12);
      const points = meanAveragePrecision(scores, targets, classes, "11-point");
      assertClose(points.perClass, elevenPoint, 1e-12);
    });
  });

  it("refuses scores that are no whole rows", async () => {
    await rejectsWith("E_ARGUMENT", () => meanAveragePrecision([1, 2, 3], [0, 1, 0], 2));
    await rejectsWith("E_ARGUMENT", () => meanAveragePrecision([1, 2], [0], 2));
    await rejectsWith("E_ARGUMENT", () => meanAveragePrecision([], [], 2));
  });
});

describe("WinoGAViL's Jaccard score, equal to scikit-learn's", () => {
  it("mean, and mean by the number of candidates", () => {
    const found = jaccardScores(goldens.jaccard);
    assertNear(found.mean, mean(goldens.jaccard.map(({ score }) => score)), 1e-12);
    assert.deepEqual([...found.byCandidates.keys()], [5, 6, 10, 12]);
    for (const [candidates, score] of found.byCandidates) {
      const own = goldens.jaccard.filter(({ scores }) => scores.length === candidates);
      assertNear(score, mean(own.map((item) => item.score)), 1e-12, `${candidates} candidates`);
    }
  });

  it("refuses answers that are no candidates, with the number of the question", async () => {
    const good = { scores: [1, 2, 3], answers: [0] };
    for (const answers of [[3], [], [1, 1], [-1]]) {
      const error = await rejectsWith("E_ARGUMENT", () => jaccardScores([good, { ...good, answers }]));
      assert.equal(error.index, 1);
    }
    await rejectsWith("E_ARGUMENT", () => jaccardScores([]));
  });
});

describe("accuracy of groups", () => {
  it("equal to scikit-learn's of each group, the lowest first", () => {
    const { groups, hits, accuracies } = goldens.groups;
    const found = groupAccuracies(groups, hits);
    assert.equal(found.length, Object.keys(accuracies).length);
    for (const { group, accuracy, count, interval } of found) {
      assertNear(accuracy, accuracies[group], 1e-12, group);
      assert.equal(count, groups.filter((one) => one === group).length);
      assert.ok(interval.low <= accuracy && accuracy <= interval.high);
    }
    assert.equal(found[0].accuracy, Math.min(...Object.values(accuracies)));
  });

  it("refuses lists of different lengths", async () => {
    await rejectsWith("E_ARGUMENT", () => groupAccuracies(["a"], []));
  });
});

describe("McNemar's exact test, equal to statsmodels' and SciPy's", () => {
  for (const { b, c, p } of goldens.mcnemar) {
    it(`${b} : ${c}`, () => {
      const found = mcnemar(b, c);
      assert.deepEqual([found.onlyFirst, found.onlySecond], [b, c]);
      assert.ok(Math.abs(found.p - p) <= 1e-10 * p, `${found.p} and ${p}`);
    });
  }

  it("refuses counts that are none", async () => {
    for (const bad of [-1, 1.5, NaN]) {
      assert.equal((await rejectsWith("E_ARGUMENT", () => mcnemar(bad, 1))).subject, "b");
      assert.equal((await rejectsWith("E_ARGUMENT", () => mcnemar(1, bad))).subject, "c");
    }
  });
});

describe("two classifiers on the same images", () => {
  const results = (rights: readonly boolean[]) =>
    rights.map((isRight, i) => ({ image: `${i}.png`, label: "cat", isRight }));
  const first = results(Array.from({ length: 200 }, (_, i) => i % 4 !== 0));
  const second = results(Array.from({ length: 200 }, (_, i) => i % 4 !== 0 || i % 8 === 0));

  it("the difference, its interval and McNemar's p", () => {
    const found = compareClassifiers(first, second);
    assert.deepEqual([found.count, found.first, found.second], [200, 0.75, 0.875]);
    assertNear(found.difference, 0.125, 1e-15);
    assert.deepEqual(found.mcnemar, mcnemar(0, 25));
    const { low, high } = found.interval;
    assert.ok(low > 0.07 && low < 0.1 && high > 0.15 && high < 0.18, `${low} to ${high}`);
    const back = compareClassifiers(second, first);
    assertNear(back.difference, -0.125, 1e-15);
  });

  it("images that both get right or both get wrong do not widen the interval by themselves", () => {
    // The deviation of a paired difference is that of the disagreements: none here.
    const { interval } = compareClassifiers(first, first);
    assert.deepEqual([interval.low, interval.high], [0, 0]);
  });

  it("refuses other images, other classes, more images and none, and names the first", async () => {
    const change = (i: number, what: object) => first.map((one, k) => (k === i ? { ...one, ...what } : one));
    const refused = async (other: typeof first) =>
      rejectsWith("E_ARGUMENT", () => compareClassifiers(first, other));
    const image = await refused(change(3, { image: "other.png" }));
    assert.equal(image.index, 3);
    assert.match(image.message, /3\.png.*other\.png/);
    assert.match((await refused(change(5, { label: "dog" }))).message, /5\.png is of class cat.*dog/);
    assert.match((await refused(first.slice(0, 199))).message, /199\.png is only in the first/);
    assert.match((await refused([...first, ...results([true])])).message, /0\.png is only in the second/);
    await rejectsWith("E_ARGUMENT", () => compareClassifiers([], []));
  });
});

describe("CLIPScore", () => {
  const { images, captions, references, referencesOf, scores, withReferences } = goldens.clipScore;

  it("2.5 · max(cos, 0), equal to torchmetrics' by its factor", () => {
    const found = clipScore(embeddings(images), embeddings(captions));
    assertClose(found, scores, 1e-12);
    assert.ok(found.includes(0), "a negative cosine is 0");
    const hundred = clipScore(embeddings(images), embeddings(captions), { weight: 100 });
    assertClose(
      hundred,
      scores.map((score) => 40 * score),
      1e-10,
    );
  });

  it("RefCLIPScore: the harmonic mean with the closest reference", () => {
    const found = refClipScore(scores, embeddings(captions), embeddings(references), referencesOf);
    assertClose(found, withReferences, 1e-12);
  });

  it("refuses what are no pairs, and a caption without a reference", async () => {
    await rejectsWith("E_ARGUMENT", () => clipScore(embeddings(images), embeddings(captions.slice(1))));
    const none = referencesOf.map((own, i) => (i === 2 ? [] : own));
    const work = () => refClipScore(scores, embeddings(captions), embeddings(references), none);
    assert.equal((await rejectsWith("E_ARGUMENT", work)).index, 2);
  });
});
