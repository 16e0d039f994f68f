import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  chooseLambda,
  fitByProtocol,
  fitLinearProbe,
  nearestNeighbours,
  overlaps,
  readProbe,
  searchLambda,
  writeProbe,
} from "../../lib/learn/index.js";
import { holdOut } from "../../lib/learn/split.js";
import { errorOf, rejectsWith, temporaryFolder } from "../support/index.js";
import { problem } from "./problems.js";

const folder = temporaryFolder();
const classes = ["a", "b", "c"];
const train = problem({ seed: 31, rows: 90, dim: 12, classes: 3 });

/** Rows from `first` on of a larger draw of the same problem. */
function later(first: number, count: number) {
  const { features, labels } = problem({ seed: 31, rows: first + count, dim: 12, classes: 3 });
  const data = features.data.slice(first * 12);
  return { features: { data, rows: count, dim: 12 }, labels: labels.slice(first) };
}
const valid = later(90, 60);

describe("the protocol of a linear probe", () => {
  it("searches λ as the CLIP paper: seven values, then half the distance around the best", async () => {
    const { tried, lambda, accuracy } = await searchLambda(train, valid, { classes });
    const steps = tried.map((one) => Math.round((Math.log10(one.lambda) + 6) * 8));
    for (const coarse of [0, 16, 32, 48, 64, 80, 96]) assert.ok(steps.includes(coarse));
    assert.ok(tried.length <= 15);
    const best = Math.max(...tried.map((one) => one.accuracy));
    assert.equal(accuracy, best);
    const equal = tried.filter((one) => one.accuracy === best).sort((a, b) => a.loss - b.loss);
    assert.equal(lambda, equal[0].lambda);
    const chosen = Math.round((Math.log10(lambda) + 6) * 8);
    for (const neighbour of [chosen - 1, chosen + 1]) assert.ok(steps.includes(neighbour), `λ of ${lambda}`);
  });

  it("each tried λ has the accuracy of a fit from zero", async () => {
    const { tried } = await searchLambda(train, valid, { classes });
    for (const one of tried.filter((_, i) => i % 4 === 0)) {
      const { lambda } = one;
      const probe = await fitLinearProbe(train.features, train.labels, { classes, lambda, tolerance: 1e-9 });
      const predicted = await probe.predict(valid.features);
      const hits = predicted.filter((label, i) => label === valid.labels[i]).length;
      assert.ok(Math.abs(hits / 60 - one.accuracy) < 1e-9, `λ ${lambda}`);
    }
  });

  it("fits train and validation together with the λ that was found", async () => {
    const { probe, search } = await fitByProtocol(train, valid, { classes });
    assert.equal(probe.lambda, search?.lambda);
    const all = problem({ seed: 31, rows: 150, dim: 12, classes: 3 });
    const again = await fitLinearProbe(all.features, all.labels, { classes, lambda: probe.lambda });
    assert.deepEqual(probe.coefficients, again.coefficients);
    const fixed = await fitByProtocol(train, undefined, { classes, lambda: 2 });
    assert.deepEqual([fixed.probe.lambda, fixed.search], [2, undefined]);
    await rejectsWith("E_ARGUMENT", () => fitByProtocol(train, undefined, { classes }));
  });

  it("cross-validation takes the λ whose held-out rows are most probable", async () => {
    const choice = await chooseLambda(train, { classes });
    assert.equal(choice?.folds, 5);
    assert.ok(choice.accuracy > 0.5 && choice.loss < Math.log(3));
    const single = problem({ seed: 31, rows: 3, dim: 12, classes: 3 });
    assert.equal(await chooseLambda(single, { classes }), undefined);
  });

  it("holds out a share of each class, by the seed", () => {
    const { kept, held } = holdOut(train.labels, 3, 0.2, 1);
    assert.deepEqual([kept.length, held.length], [72, 18]);
    for (let c = 0; c < 3; c++) assert.equal(held.filter((row) => train.labels[row] === c).length, 6);
    assert.deepEqual(holdOut(train.labels, 3, 0.2, 1), { kept, held });
    assert.notDeepEqual(holdOut(train.labels, 3, 0.2, 2).held, held);
  });
});

describe("nearest neighbours", () => {
  it("the votes of the k nearest, weighted by exp(cosine / temperature)", async () => {
    const rows = { data: Float32Array.of(1, 0, 0.8, 0.6, 0, 1), rows: 3, dim: 2 };
    const given = { features: rows, labels: Int32Array.of(0, 1, 1) };
    const query = { data: Float32Array.of(1, 0), rows: 1, dim: 2 };
    const shares = await nearestNeighbours(given, query, 2, { k: 2, temperature: 0.5 });
    const votes = [Math.exp(1 / 0.5), Math.exp(0.8 / 0.5)];
    assert.ok(Math.abs(shares[0] - votes[0] / (votes[0] + votes[1])) < 1e-6);
    assert.ok(Math.abs(shares[0] + shares[1] - 1) < 1e-12);
    const all = await nearestNeighbours(given, query, 2, { k: 100, temperature: 1e-3 });
    assert.ok(all[0] > 0.999);
    await rejectsWith("E_ARGUMENT", () => nearestNeighbours(given, query, 2, { k: 0 }));
    const odd = { features: rows, labels: Int32Array.of(0, 1, 2) };
    const { index } = await rejectsWith("E_ARGUMENT", () => nearestNeighbours(odd, query, 2));
    assert.equal(index, 2);
    await rejectsWith("E_ARGUMENT", () => nearestNeighbours(given, query, 2, { temperature: 0 }));
  });
});

describe("probe files", () => {
  const model = { name: "some model", fingerprint: "f".repeat(32), features: "embedding" } as const;

  it("know the features that they were fitted on; other kinds are refused", async () => {
    const probe = await fitLinearProbe(train.features, train.labels, { classes });
    const file = join(folder, "pooled.safetensors");
    await writeProbe(file, { probe, model: { ...model, features: "pooled" } });
    assert.equal((await readProbe(file)).model.features, "pooled");
    writeFileSync(file, readFileSync(file, "latin1").replace('"pooled"', '"looped"'), "latin1");
    const error = await rejectsWith("E_MODEL_CORRUPT", () => readProbe(file));
    assert.match(error.message, /kind of features/);
  });

  it("are read as they were written, with the standardization", async () => {
    for (const standardize of [false, true]) {
      const options = { classes: ["a", 'ü, "b"', "c"], standardize, lambda: 0.1 };
      const probe = await fitLinearProbe(train.features, train.labels, options);
      const file = join(folder, "a.safetensors");
      await writeProbe(file, { probe, model });
      const stored = await readProbe(file);
      assert.deepEqual(stored.model, model);
      assert.deepEqual(stored.probe.classes, options.classes);
      assert.equal(stored.probe.lambda, 0.1);
      assert.deepEqual(await stored.probe.logits(valid.features), await probe.logits(valid.features));
    }
  });

  it("that are damaged, cut or something else are E_MODEL_CORRUPT", async () => {
    const probe = await fitLinearProbe(train.features, train.labels, { classes });
    const file = join(folder, "b.safetensors");
    await writeProbe(file, { probe, model });
    const whole = readFileSync(file);
    const changed = (from: string, to: string) =>
      Buffer.from(whole.toString("latin1").replace(from, to.padEnd(from.length)), "latin1");
    const bad: [string, Buffer][] = [
      ["cut", whole.subarray(0, whole.length - 1)],
      ["another format", changed("torchclip-probe-2", "torchclip-probe-9")],
      ["no classes", changed('[\\"a\\",\\"b\\",\\"c\\"]', "[]")],
      ["other features", changed('"embedding"', '"embeddinx"')],
      [
        "NaN",
        Buffer.concat([whole.subarray(0, whole.length - 8), Buffer.from([0, 0, 0, 0, 0, 0, 0xf8, 0x7f])]),
      ],
    ];
    for (const [name, bytes] of bad) {
      assert.notDeepEqual(bytes, whole, name);
      writeFileSync(file, bytes);
      await rejectsWith("E_MODEL_CORRUPT", () => readProbe(file), name);
    }
    const missing = await errorOf(() => readProbe(join(folder, "none")));
    assert.equal(missing.code, "E_MODEL_NOT_FOUND");
  });
});

describe("overlaps", () => {
  it("are images with the same content; unknown content is none", () => {
    const first = { contents: ["x", "", "y"], names: ["1", "2", "3"] };
    const second = { contents: ["", "y", "z"], names: ["4", "5", "6"] };
    assert.deepEqual(overlaps(first, second), [{ first: "3", second: "5" }]);
  });
});
