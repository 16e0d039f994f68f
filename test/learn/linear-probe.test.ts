import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { fitLinearProbe, LinearProbe, type FitOptions } from "../../lib/learn/index.js";
import { largestDifference } from "../support/compare.js";
import { golden, rejectsWith, root } from "../support/index.js";
import { runScript } from "../support/process.js";
import { problem, type ProblemSize } from "./problems.js";

interface Case extends ProblemSize {
  name: string;
  lambda: number;
  standardize?: boolean;
  coefficients: number[];
  intercepts: number[];
  predicted: number[];
  /** Of the first rows. */
  probabilities: number[];
}

const { cases } = golden("linear-probe") as { cases: Case[] };

describe("fitLinearProbe", () => {
  for (const given of cases) {
    const { name, lambda, standardize, classes } = given;
    it(`has scikit-learn's coefficients to 1e-6 and its predictions: ${name}`, async () => {
      const { features, labels } = problem(given);
      const options = { classes, lambda, standardize, tolerance: 1e-11 };
      const probe = await fitLinearProbe(features, labels, options);
      assert.ok(probe.fit.converged, `the gradient is ${probe.fit.gradient}`);
      assert.ok(largestDifference(probe.coefficients, given.coefficients) <= 1e-6);
      assert.ok(largestDifference(probe.intercepts, given.intercepts) <= 1e-6);
      assert.deepEqual([...(await probe.predict(features))], given.predicted);
      const rows = given.probabilities.length / classes;
      const first = { ...features, data: features.data.subarray(0, rows * features.dim), rows };
      assert.ok(largestDifference(await probe.probabilities(first), given.probabilities) <= 1e-7);
    });
  }

  const size = { seed: 1, rows: 90, dim: 6, classes: 3 };

  it("a signal that is aborted while the features are copied ends the fit", async () => {
    const { features, labels } = problem(size);
    const controller = new AbortController();
    const fit = fitLinearProbe(features, labels, { signal: controller.signal });
    controller.abort();
    await rejectsWith("E_ABORTED", () => fit);
  });

  it("very large features, whose float32 products overflow, end the fit", async () => {
    const { features, labels } = problem(size);
    const data = features.data.map((value) => value * 1e19);
    const { coefficients } = await fitLinearProbe({ ...features, data }, labels, { maxIterations: 100 });
    assert.ok(coefficients.every(Number.isFinite));
  });

  it("a constant feature, whose mean is rounded, is standardized to zero", async () => {
    const { features, labels } = problem(size);
    const data = features.data.map((value, i) => (i % size.dim === 2 ? 0.1 : value));
    const probe = await fitLinearProbe({ ...features, data }, labels, { standardize: true });
    assert.deepEqual(
      [probe.standardization?.mean[2], probe.standardization?.deviation[2]],
      [Math.fround(0.1), 1],
    );
    const other = data.map((value, i) => (i % size.dim === 2 ? 0.101 : value));
    const predicted = await probe.predict({ ...features, data: other });
    assert.deepEqual(predicted, await probe.predict({ ...features, data }));
  });

  it("logits are those of the weights at the call, also where the probe's arrays are transferred then", async () => {
    const { features, labels } = problem(size);
    const probe = await fitLinearProbe(features, labels);
    const expected = await probe.logits(features);
    const logits = probe.logits(features);
    structuredClone(0, { transfer: [probe.intercepts.buffer] });
    assert.deepEqual(await logits, expected);
  });

  it("ends at the tolerance, and says so where the iterations end before", async () => {
    const { features, labels } = problem(size);
    const { fit } = await fitLinearProbe(features, labels);
    assert.ok(fit.converged && fit.gradient <= 1e-8 && fit.iterations > 0, JSON.stringify(fit));
    const cut = await fitLinearProbe(features, labels, { maxIterations: 1 });
    assert.deepEqual([cut.fit.iterations, cut.fit.converged], [1, false]);
  });

  it("a start that is the result is done at once, and is not changed", async () => {
    const { features, labels } = problem(size);
    const start = await fitLinearProbe(features, labels, { tolerance: 1e-10 });
    const before = start.coefficients.slice();
    const again = await fitLinearProbe(features, labels, { start, tolerance: 1e-9 });
    assert.equal(again.fit.iterations, 0);
    const other = await fitLinearProbe(features, labels, { start, lambda: 100 });
    assert.ok(other.fit.iterations > 0);
    assert.deepEqual(start.coefficients, before);
  });

  it("names of classes, or as many as the labels say", async () => {
    const { features, labels } = problem(size);
    assert.deepEqual((await fitLinearProbe(features, labels)).classes, ["0", "1", "2"]);
    const named = await fitLinearProbe(features, labels, { classes: ["a", "b", "c", "never seen"] });
    assert.equal(named.coefficients.length, 4 * size.dim);
    assert.ok((await named.predict(features)).every((label) => label < 3));
  });

  it("does not change the features, standardized or not, in shared memory too", async () => {
    const { features, labels } = problem(size);
    const shared = new Float32Array(new SharedArrayBuffer(features.data.byteLength));
    shared.set(features.data);
    const probe = await fitLinearProbe({ ...features, data: shared }, labels, { standardize: true });
    assert.deepEqual(shared, features.data);
    await probe.predict({ ...features, data: shared });
    assert.deepEqual(shared, features.data);
  });

  it("an abort ends it with E_ABORTED, before and during the fit", async () => {
    const { features, labels } = problem({ seed: 2, rows: 4000, dim: 300, classes: 40 });
    const aborted = { signal: AbortSignal.abort() };
    await rejectsWith("E_ABORTED", () => fitLinearProbe(features, labels, aborted));
    const signal = AbortSignal.timeout(50);
    const started = performance.now();
    const endless = { signal, lambda: 1e-6, tolerance: 1e-300 };
    await rejectsWith("E_ABORTED", () => fitLinearProbe(features, labels, endless));
    assert.ok(performance.now() - started < 5000);
  });

  it("a process that exits, and a worker that is ended, do not wait for a fit", () => {
    const fit = `
      import { fitLinearProbe } from ${JSON.stringify(pathToFileURL(join(root, "dist/learn/index.js")).href)};
      import { parentPort } from "node:worker_threads";
      const [rows, dim, classes] = [20_000, 256, 60];
      const data = Float32Array.from({ length: rows * dim }, Math.random);
      const labels = Int32Array.from({ length: rows }, (_, i) => i % classes);
      const options = { lambda: 1e-6, tolerance: 1e-300 };
      fitLinearProbe({ data, rows, dim }, labels, options).finally(() => console.log("done"));
      setTimeout(() => parentPort?.postMessage("runs"), 300);`;
    const exited = runScript(`${fit}\nsetTimeout(() => process.exit(7), 400);`);
    assert.deepEqual([exited.status, exited.signal, exited.stdout], [7, null, ""], exited.stderr);
    const url = `data:text/javascript,${encodeURIComponent(fit)}`;
    const ended = runScript(`
      import { Worker } from "node:worker_threads";
      const worker = new Worker(new URL(${JSON.stringify(url)}));
      worker.once("message", async () => { await worker.terminate(); console.log("ended"); });`);
    assert.deepEqual([ended.status, ended.stdout.trim()], [0, "ended"], ended.stderr);
  });

  it("reports its progress", async () => {
    const { features, labels } = problem(size);
    const seen: number[] = [];
    const { fit } = await fitLinearProbe(features, labels, {
      onProgress: ({ iterations }) => seen.push(iterations),
    });
    assert.equal(seen.at(-1), fit.iterations);
  });

  it("bad input is E_ARGUMENT, with the row", async () => {
    const { features, labels } = problem(size);
    const withNaN = { ...features, data: features.data.slice() };
    withNaN.data[3 * size.dim + 2] = NaN;
    const error = await rejectsWith("E_ARGUMENT", () => fitLinearProbe(withNaN, labels));
    assert.equal(error.index, 3);
    assert.match(error.message, /row 3 of the features holds NaN/);
    const wrong = Int32Array.from(labels);
    wrong[7] = 9;
    const label = await rejectsWith("E_ARGUMENT", () => fitLinearProbe(features, wrong, { classes: 3 }));
    assert.equal(label.index, 7);
    const bad: [string, FitOptions | undefined, ArrayLike<number>?][] = [
      ["lambda", { lambda: 0 }],
      ["tolerance", { tolerance: -1 }],
      ["classes", { classes: ["only one"] }],
      ["labels", undefined, labels.subarray(1)],
      ["labels", undefined, new Int32Array(size.rows)],
    ];
    for (const [subject, options, ids = labels] of bad) {
      const thrown = await rejectsWith("E_ARGUMENT", () => fitLinearProbe(features, ids, options), subject);
      assert.equal(thrown.subject, subject);
    }
    const start = await fitLinearProbe(features, labels);
    const other = problem({ ...size, dim: 7 });
    await rejectsWith("E_ARGUMENT", () => fitLinearProbe(other.features, other.labels, { start }));
    await rejectsWith("E_ARGUMENT", () => start.predict(other.features));
  });

  it("logits of two classes are those of the second, and of no rows none", async () => {
    const weights = { coefficients: Float64Array.of(1, -1), intercepts: Float64Array.of(0.5) };
    const probe = new LinearProbe({ classes: ["a", "b"], dim: 2, lambda: 1, ...weights });
    const features = { data: Float32Array.of(2, 1, 0, 3), rows: 2, dim: 2 };
    assert.deepEqual(await probe.logits(features), Float64Array.of(0, 1.5, 0, -2.5));
    assert.equal((await probe.logits({ data: new Float32Array(0), rows: 0, dim: 2 })).length, 0);
  });
});
