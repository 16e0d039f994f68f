import assert from "node:assert/strict";
import { computeMetrics, wilson } from "../../lib/eval/metrics.js";
import { softmax } from "../../lib/util/softmax.js";
import { assertClose, assertNear } from "../support/compare.js";
import { golden } from "../support/index.js";

interface Case {
  truth: number[];
  probabilities: number[][];
  classes: number;
  accuracy: number;
  precision: number[];
  recall: number[];
  f1: number[];
  macro: number[];
  confusion: number[][];
  balanced: number;
  rocAuc?: number;
  averagePrecision?: number;
}

describe("metrics equal scikit-learn's to 1e-12", () => {
  (golden("metrics") as Case[]).forEach((c, n) => {
    it(`case ${n}: ${c.truth.length} images, ${c.classes} classes`, () => {
      const names = Array.from({ length: c.classes }, (_, i) => `class ${i}`);
      const m = computeMetrics(
        c.truth.map((label, i) => ({ label, probabilities: c.probabilities[i] })),
        names,
      );
      const near = (a: number, b: number) => assert.ok(Math.abs(a - b) <= 1e-12, `${a} and ${b}`);
      near(m.accuracy, c.accuracy);
      near(m.meanPerClassRecall, c.balanced);
      assertClose(
        m.perClass.map((p) => p.precision),
        c.precision,
        1e-12,
      );
      assertClose(
        m.perClass.map((p) => p.recall),
        c.recall,
        1e-12,
      );
      assertClose(
        m.perClass.map((p) => p.f1),
        c.f1,
        1e-12,
      );
      assertClose([m.macro.precision, m.macro.recall, m.macro.f1], c.macro, 1e-12);
      assert.deepEqual(m.confusion, c.confusion);
      if (c.rocAuc !== undefined) {
        near(m.binary!.rocAuc, c.rocAuc);
        near(m.binary!.averagePrecision, c.averagePrecision!);
      }
      assert.ok(m.accuracyInterval.low < m.accuracy && m.accuracy < m.accuracyInterval.high);
    });
  });

  it("calibration error of a known case", () => {
    const items = [
      { label: 0, probabilities: [0.9, 0.1] },
      { label: 1, probabilities: [0.9, 0.1] },
    ];
    assertNear(computeMetrics(items, ["a", "b"]).calibration.ece, 0.4, 1e-12);
  });

  it("Wilson's interval of 8 in 10", () => {
    const { low, high } = wilson(8, 10);
    assert.ok(Math.abs(low - 0.4901625) < 1e-6 && Math.abs(high - 0.9433178) < 1e-6);
  });
});

describe("softmax", () => {
  it("of 200,000 values: equal shares that sum to 1", () => {
    const shares = softmax(new Float32Array(200_000));
    assertNear(shares[0], 5e-6, 1e-12);
    assertNear(
      shares.reduce((a, b) => a + b, 0),
      1,
      1e-9,
    );
  });
});
