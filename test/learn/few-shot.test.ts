import assert from "node:assert/strict";
import {
  drawShots,
  fewShot,
  fitLpPlusPlus,
  summarizeFewShot,
  tipAdapter,
  type FewShotRun,
} from "../../lib/learn/index.js";
import { assertClose } from "../support/compare.js";
import { golden, rejectsWith } from "../support/index.js";
import { noise } from "../support/noise.js";
import { problem } from "./problems.js";

interface Golden {
  logitScale: number;
  alpha: number;
  beta: number;
  cases: {
    seed: number;
    rows: number;
    dim: number;
    classes: number;
    lpPlusPlus: { coefficients: number[]; intercepts: number[]; alphas: number[] };
    tipAdapter: number[];
  }[];
}

const { cases, ...constants } = golden("few-shot") as Golden;
const names = (count: number) => Array.from({ length: count }, (_, i) => `class ${i}`);

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
