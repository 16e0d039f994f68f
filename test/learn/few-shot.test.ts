import assert from "node:assert/strict";
import {
  drawShots,
  fewShot,
  fitLpPlusPlus,
  fitProlip,
  ImageProjection,
  summarizeFewShot,
  tipAdapter,
  type FewShotFeatures,
  type FewShotOptions,
  type FewShotRun,
} from "../../lib/learn/index.js";
import { similarity, type Embeddings } from "../../lib/embeddings.js";
import { softmaxRows } from "../../lib/util/softmax.js";
import { accuracyOf } from "../../lib/learn/labelled.js";
import { argmaxRows } from "../../lib/learn/solver/linear-probe.js";
import { assertClose } from "../support/compare.js";
import { golden, rejectsWith } from "../support/index.js";
import { noise } from "../support/noise.js";
import { problem } from "./problems.js";

interface Golden {
  logitScale: number;
  alpha: number;
  beta: number;
  prolip: { steps: number; learningRate: number };
  cases: {
    seed: number;
    rows: number;
    dim: number;
    classes: number;
    lpPlusPlus: { coefficients: number[]; intercepts: number[]; alphas: number[] };
    tipAdapter: number[];
    prolip: number[];
  }[];
}

const { cases, prolip: prolipSteps, ...constants } = golden("few-shot") as Golden;
const names = (count: number) => Array.from({ length: count }, (_, i) => `class ${i}`);

const rowOf = ({ data, dim }: Embeddings, row: number) => [...data.subarray(row * dim, (row + 1) * dim)];

/** Features and texts of a case of the reference. */
function given({ seed, rows, dim, classes }: Golden["cases"][number]) {
  const { features, labels } = problem({ seed, rows, dim, classes });
  const texts = Float32Array.from(
    { length: classes * dim },
    (_, i) => (noise(seed + 3, i) / 2 ** 31 - 1) * 0.25,
  );
  const scaled = { ...features, data: features.data.map((x) => x * 0.25) };
  return { features: scaled, labels, texts: { data: texts, rows: classes, dim } };
}

/** The texts and the projection of a ProLIP case: embeddings are two floats shorter than features. */
function givenProlip(one: Golden["cases"][number]) {
  const { features, labels, texts } = given(one);
  const { seed, dim: pooledDim, classes } = one;
  const dim = pooledDim - 2;
  const shortened = Array.from({ length: classes }, (_, k) =>
    [...texts.data.subarray(k * pooledDim, (k + 1) * pooledDim)].slice(0, dim),
  );
  const draw = (number: number, length: number) =>
    Float64Array.from({ length }, (_, i) => Math.fround((noise(number, i) / 2 ** 31 - 1) * 0.25));
  const matrix = draw(seed + 4, dim * pooledDim);
  const projection = new ImageProjection({ dim, pooledDim, matrix, bias: draw(seed + 5, dim) });
  return {
    features,
    labels,
    texts: { data: Float32Array.from(shortened.flat()), rows: classes, dim },
    projection,
  };
}

describe("few-shot methods", () => {
  for (const one of cases) {
    const { rows, classes, dim } = one;

    it(`LP++ agrees with NumPy to 1e-8: ${rows} images, ${classes} classes`, async () => {
      const { features, labels, texts } = given(one);
      const probe = await fitLpPlusPlus(features, labels, texts, { classes: names(classes) });
      const { coefficients, intercepts } = one.lpPlusPlus;
      if (classes > 2) {
        assertClose(probe.coefficients, coefficients, 1e-8);
        assertClose(probe.intercepts, intercepts, 1e-8);
      } else {
        const difference = coefficients.slice(dim).map((value, i) => value - coefficients[i]);
        assertClose(probe.coefficients, difference, 1e-8);
        assertClose(probe.intercepts, [intercepts[1] - intercepts[0]], 1e-8);
      }
    });

    it(`Tip-Adapter agrees with NumPy to 1e-5: ${rows} images, ${classes} classes`, () => {
      const { features, labels, texts } = given(one);
      const queries = { data: features.data.subarray(0, 6 * dim), rows: 6, dim };
      assertClose(tipAdapter({ features, labels }, texts, queries, constants), one.tipAdapter, 1e-5);
    });
  }

  for (const one of cases) {
    const { rows, classes } = one;
    const size = `${rows} images, ${classes} classes`;
    it(`ProLIP agrees with NumPy to 1e-10, with any number of threads: ${size}`, async () => {
      const { features, labels, texts, projection } = givenProlip(one);
      const options = { classes: names(classes), logitScale: constants.logitScale, ...prolipSteps };
      const before = projection.matrix.slice();
      const tuned = await fitProlip(features, labels, texts, projection, { ...options, threads: 1 });
      assertClose(tuned.matrix, one.prolip, 1e-10);
      assert.deepEqual(tuned.bias, projection.bias);
      assert.deepEqual(projection.matrix, before);
      const threads = await fitProlip(features, labels, texts, projection, { ...options, threads: 3 });
      assert.deepEqual(threads.matrix, tuned.matrix);
    });
  }

  it("ProLIP: no step or a huge penalty changes nothing, more steps raise the probability of the labels", async () => {
    const { features, labels, texts, projection } = givenProlip(cases[0]);
    const options = { classes: names(3), logitScale: 20 };
    const none = await fitProlip(features, labels, texts, projection, { ...options, steps: 0 });
    assert.deepEqual(none.matrix, projection.matrix);
    const held = await fitProlip(features, labels, texts, projection, { ...options, lambda: 1e9 });
    assertClose(held.matrix, projection.matrix, 1e-4);
    const lossOf = async (tuned: ImageProjection) => {
      const cosines = similarity(await tuned.embed(features), texts);
      const probabilities = softmaxRows(cosines, 3, 20);
      return labels.reduce((sum, label, row) => sum - Math.log(probabilities[row * 3 + label]), 0);
    };
    const [few, many] = await Promise.all(
      [10, 200].map((steps) =>
        fitProlip(features, labels, texts, projection, { ...options, steps, learningRate: 1e-2 }),
      ),
    );
    assert.ok((await lossOf(few)) < (await lossOf(projection)));
    assert.ok((await lossOf(many)) < (await lossOf(few)));
  });

  it("ProLIP refuses what does not fit together, and ends by its signal", async () => {
    const { features, labels, texts, projection } = givenProlip(cases[0]);
    const options = { classes: names(3), logitScale: 20 };
    const refuses = async (subject: string, work: () => Promise<unknown>) => {
      const error = await rejectsWith("E_ARGUMENT", work);
      assert.equal(error.subject, subject, error.message);
    };
    const short = { data: features.data.slice(0, 24 * 9), rows: 24, dim: 9 };
    const two = { ...texts, data: texts.data.slice(0, 2 * texts.dim), rows: 2 };
    await refuses("features", () => fitProlip(short, labels, texts, projection, options));
    await refuses("texts", () => fitProlip(features, labels, two, projection, options));
    await refuses("labels", () => fitProlip(features, labels.slice(1), texts, projection, options));
    await refuses("lambda", () => fitProlip(features, labels, texts, projection, { ...options, lambda: -1 }));
    await refuses("learningRate", () =>
      fitProlip(features, labels, texts, projection, { ...options, learningRate: 0 }),
    );
    await refuses("features", () => projection.embed(short));
    const signal = AbortSignal.timeout(20);
    const steps = 1 << 20;
    await rejectsWith("E_ABORTED", () =>
      fitProlip(features, labels, texts, projection, { ...options, steps, signal }),
    );
  });

  it("ProLIP and a probe on pooled features say what they need", async () => {
    const { features, labels, texts, projection } = givenProlip(cases[0]);
    const embedded = { features: await projection.embed(features), labels };
    const pooled = { ...embedded, pooled: features };
    const options = { classes: names(3), texts, logitScale: 20, shots: [2], seeds: [1] };
    const run = (given: FewShotFeatures, more: Partial<FewShotOptions>) =>
      fewShot(given, given, { ...options, methods: ["prolip"], ...more });
    await rejectsWith("E_ARGUMENT", () => run(pooled, {}));
    await rejectsWith("E_ARGUMENT", () => run(embedded, { projection }));
    await rejectsWith("E_ARGUMENT", () => run(embedded, { methods: ["probe"], probeFeatures: "pooled" }));
    const methods = ["prolip", "probe"] as const;
    const runs = await run(pooled, { methods, projection, probeFeatures: "pooled" });
    assert.deepEqual(
      runs.map(({ method }) => method),
      methods,
    );
    assert.ok(runs[1].accuracy > 1 / 3);
    const rows = drawShots(labels, names(3), 2, 1).kept;
    const drawn = {
      ...features,
      data: Float32Array.from(rows.flatMap((row) => rowOf(features, row))),
      rows: 6,
    };
    const drawnLabels = Int32Array.from(rows, (row) => labels[row]);
    const classes = names(3);
    const tuned = await fitProlip(drawn, drawnLabels, texts, projection, { classes, logitScale: 20 });
    const predicted = argmaxRows(similarity(await tuned.embed(features), texts), 3);
    assert.equal(runs[0].accuracy, accuracyOf(predicted, labels));
  });

  it("LP++ needs a text for each class and a row of each class, and ends by its signal", async () => {
    const { features, labels, texts } = given(cases[0]);
    const classes = names(3);
    const two = { ...texts, data: texts.data.subarray(0, 2 * texts.dim), rows: 2 };
    await rejectsWith("E_ARGUMENT", () => fitLpPlusPlus(features, labels, two, { classes }));
    const error = await rejectsWith("E_ARGUMENT", () =>
      fitLpPlusPlus(
        features,
        labels.map(() => 1),
        texts,
        { classes },
      ),
    );
    assert.match(error.message, /the class "class 0" has no row/);
    const signal = AbortSignal.timeout(20);
    const steps = 1 << 20;
    await rejectsWith("E_ABORTED", () => fitLpPlusPlus(features, labels, texts, { classes, steps, signal }));
  });

  it("draws are balanced, repeatable, and nested in their size", () => {
    const { labels } = problem({ seed: 5, rows: 60, dim: 2, classes: 4 });
    const four = drawShots(labels, names(4), 4, 7);
    assert.deepEqual(drawShots(labels, names(4), 4, 7), four);
    assert.notDeepEqual(drawShots(labels, names(4), 4, 8), four);
    for (let c = 0; c < 4; c++) assert.equal(four.kept.filter((row) => labels[row] === c).length, 4);
    assert.deepEqual(
      [...four.kept, ...four.held].sort((a, b) => a - b),
      [...labels.keys()],
    );
    const two = drawShots(labels, names(4), 2, 7);
    assert.ok(two.kept.every((row) => four.kept.includes(row)));
  });

  it("a class with fewer images than shots is E_ARGUMENT, by its name", async () => {
    const { labels } = problem({ seed: 5, rows: 10, dim: 2, classes: 4 });
    const error = await rejectsWith("E_ARGUMENT", () => drawShots(labels, names(4), 3, 1));
    assert.match(error.message, /the class "class 2" has 2 training images, fewer than 3 shots/);
  });

  it("every method on every draw; more images help", async () => {
    const train = problem({ seed: 21, rows: 120, dim: 24, classes: 4 });
    const all = problem({ seed: 21, rows: 320, dim: 24, classes: 4 });
    const test = {
      features: { data: all.features.data.subarray(120 * 24), rows: 200, dim: 24 },
      labels: all.labels.subarray(120),
    };
    const texts = {
      data: Float32Array.from({ length: 96 }, (_, i) => noise(9, i) / 2 ** 33),
      rows: 4,
      dim: 24,
    };
    const seen: number[] = [];
    const runs = await fewShot(train, test, {
      classes: names(4),
      texts,
      logitScale: 10,
      methods: ["probe", "tip-adapter", "lp++"],
      shots: [1, 16],
      seeds: [1, 2],
      onRun: (done) => seen.push(done),
    });
    assert.equal(runs.length, 12);
    assert.deepEqual(
      seen,
      Array.from({ length: 13 }, (_, i) => i),
    );
    const summary = summarizeFewShot(runs);
    const mean = (method: string, shots: number) =>
      summary.find((one) => one.method === method && one.shots === shots)?.mean ?? NaN;
    for (const method of ["probe", "tip-adapter", "lp++"]) {
      assert.ok(mean(method, 16) > mean(method, 1), `${method}: ${mean(method, 16)}`);
    }
    assert.ok(mean("probe", 16) > 0.6);
  });

  it("mean and deviation of the draws", () => {
    const run = (accuracy: number, seed: number): FewShotRun => ({
      method: "probe",
      shots: 2,
      seed,
      accuracy,
      seconds: 1,
    });
    const [summary] = summarizeFewShot([run(0.5, 1), run(0.7, 2), run(0.9, 3)]);
    assert.deepEqual(
      [summary.draws, summary.mean.toFixed(6), summary.deviation.toFixed(6)],
      [3, "0.700000", "0.200000"],
    );
    assert.equal(summarizeFewShot([run(0.5, 1)])[0].deviation, 0);
  });
});
