import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadDataset, readSentences, renderFolder, textPng } from "../../lib/datasets/index.js";
import { reviews } from "../../lib/datasets/demo/reviews.js";
import { datasetScene, sceneSvg } from "../../lib/datasets/demo/scenes.js";
import { svgPng } from "../../lib/datasets/render/text.js";
import { fixture, hasShared, rejectsWith, sha256, sharedData, temporaryFolder } from "../support/index.js";

const folder = temporaryFolder();
const cacheDir = join(folder, "cache");

describe("data sets", () => {
  it("rendered-demo: splits, counts, classes, prompts with sources", async () => {
    const data = await loadDataset("rendered-demo", { cacheDir });
    assert.deepEqual(data.classes, ["negative", "positive"]);
    assert.equal(data.length, 640);
    assert.deepEqual(Object.fromEntries(data.splits.map((s) => [s.split, s.byClass])), {
      train: [200, 200],
      valid: [80, 80],
      test: [320, 320],
    });
    assert.equal(data.at(250).label, 0);
    assert.equal(data.at(639).label, 1);
    assert.ok(data.prompts.length === 2 && data.prompts.every((p) => p.source.length > 10));
    assert.equal((await loadDataset("rendered-demo", { cacheDir, split: "val" })).length, 160);
  });

  it("no sentence of rendered-demo is in two splits", () => {
    const seen = new Map<string, string>();
    for (const [split, n] of [
      ["train", 2000],
      ["valid", 160],
      ["test", 640],
    ] as const) {
      for (const { text } of reviews(split, n)) {
        assert.ok(!seen.has(text), `"${text}" is in ${seen.get(text)} and ${split}`);
        seen.set(text, split);
      }
    }
  });

  it("class names put a list's classes in order: names by name, ids by place", async () => {
    const file = join(folder, "order.csv");
    const names = Array.from({ length: 12 }, (_, i) => `${"zyxwvutsrqpo"[i]} thing`);
    writeFileSync(file, ["path,label", ...names.map((name, i) => `${i}.png,${name}`)].join("\n"));
    const named = (await loadDataset(file)).withClasses(names)!;
    assert.deepEqual([named.classes, [...named].map((s) => s.label)], [names, names.map((_, i) => i)]);
    writeFileSync(file, ["path,label", ...names.map((_, i) => `${i}.png,${i}`)].join("\n"));
    const ids = (await loadDataset(file)).withClasses([...names, "one more"])!;
    assert.deepEqual(
      [...ids].map((s) => s.label),
      names.map((_, i) => i),
    );
    assert.deepEqual(
      [ids.classes.length, ids.splits[0].byClass.at(-1), ids.splits[0].byClass[10]],
      [13, 0, 1],
    );
    await rejectsWith("E_ARGUMENT", async () => (await loadDataset(file)).withClasses(names.slice(1)));
    await rejectsWith("E_ARGUMENT", async () => (await loadDataset(file)).withClasses(["a", "a"]));
    assert.equal((await loadDataset("scenes", { cacheDir })).withClasses(["other", "names"]), undefined);
  });

  it("scenes has 24 classes", async () => {
    const data = await loadDataset("scenes", { cacheDir });
    assert.deepEqual([data.classes.length, data.length], [24, 480]);
    assert.ok(data.classes.includes("red circle"));
  });

  it("drawn images have the same bytes on every machine", () => {
    assert.equal(
      sha256(textPng("a great film")),
      "43ad0b9418b759fa50d77a80953ebf093af67e802cd8648bb08fcb955bdfb326",
    );
    assert.equal(
      sha256(svgPng(sceneSvg(datasetScene("test", 3, 1)))),
      "bc254d85c533da6eb17a124010c3cddf18061189bee9afcc919a60cc910f7323",
    );
  });

  it("long words and sentences stay inside the image", () => {
    for (const text of ["x".repeat(200), "word ".repeat(60), ""]) assert.ok(textPng(text).length > 100);
  });

  it("sampling is seeded; limit takes the first ones of each class", async () => {
    const data = await loadDataset("scenes", { cacheDir });
    const names = (d: Iterable<{ name: string }>) => [...d].map((s) => s.name);
    assert.deepEqual(names(data.sample(10, 3)), names(data.sample(10, 3)));
    assert.notDeepEqual(names(data.sample(10, 3)), names(data.sample(10, 4)));
    const few = data.limit(30); // 24 classes: two of the first six, one of the others
    assert.deepEqual(few.classes, data.classes);
    assert.deepEqual(names(few.limit(2)), [data.at(0).name, data.at(20).name]);
    const counts = data.classes.map((_, label) => [...few].filter((sample) => sample.label === label).length);
    assert.deepEqual(counts, [...new Array<number>(6).fill(2), ...new Array<number>(18).fill(1)]);
    await rejectsWith("E_ARGUMENT", () => data.at(480));
  });

  it("a folder with a class a folder", async () => {
    const root = join(folder, "pets");
    for (const c of ["dog", "cat"]) {
      mkdirSync(join(root, c), { recursive: true });
      copyFileSync(fixture("images/rgb.png"), join(root, c, "1.png"));
      writeFileSync(join(root, c, "notes.txt"), "not an image");
    }
    const data = await loadDataset(root);
    assert.deepEqual([data.classes, data.length, data.at(1).label], [["cat", "dog"], 2, 1]);
    await rejectsWith("E_DATASET_NOT_FOUND", () => loadDataset(root, { split: "test" }));
  });

  it("lists in CSV, TSV and JSONL", async () => {
    writeFileSync(
      join(folder, "a.csv"),
      'path,label,split\n"x,1.png",cat,train\ny.png,dog,test\nz.png,cat,test\n',
    );
    writeFileSync(join(folder, "a.tsv"), "image\tlabel\nx.png\t1\ny.png\t0\n");
    writeFileSync(
      join(folder, "a.jsonl"),
      '{"path":"x.png","label":"cat"}\n{"path":"y.png","label":"dog"}\n',
    );
    const csv = await loadDataset(join(folder, "a.csv"));
    assert.deepEqual([csv.split, csv.length, csv.classes], ["test", 2, ["cat", "dog"]]);
    assert.equal(
      (await loadDataset(join(folder, "a.csv"), { split: "train" })).at(0).read(),
      join(folder, "x,1.png"),
    );
    const tsv = await loadDataset(join(folder, "a.tsv"), { classes: ["no", "yes"] });
    assert.deepEqual([tsv.at(0).label, tsv.at(1).label], [1, 0]);
    assert.equal((await loadDataset(join(folder, "a.jsonl"))).length, 2);
  });

  const bad: [string, string, string, string][] = [
    ["an unknown label", "bad1.csv", "path,label\nx.png,bird\n", "E_LABEL_UNKNOWN"],
    ["a missing column", "bad2.csv", "file,class\nx.png,cat\n", "E_DATASET_FORMAT"],
    ["no rows", "bad3.csv", "path,label\n", "E_DATASET_EMPTY"],
    ["a line that is no JSON", "bad4.jsonl", "{oops\n", "E_DATASET_FORMAT"],
  ];
  for (const [what, name, content, code] of bad) {
    it(`${what}: ${code} with the place`, async () => {
      const file = join(folder, name);
      writeFileSync(file, content);
      const error = await rejectsWith(code, () => loadDataset(file, { classes: ["cat", "dog"] }));
      assert.ok(error.message.includes(name), error.message);
    });
  }

  it("an unknown name: E_DATASET_NOT_FOUND with the names", async () => {
    const error = await rejectsWith("E_DATASET_NOT_FOUND", () => loadDataset("imaginary"));
    assert.match(error.message, /rendered-sst2/);
  });

  it("rendered-sst2 with wrong counts is refused", async () => {
    const root = join(folder, "sst2");
    for (const s of ["train", "valid", "test"]) {
      for (const c of ["negative", "positive"]) {
        mkdirSync(join(root, s, c), { recursive: true });
        copyFileSync(fixture("images/rgb.png"), join(root, s, c, "1.png"));
      }
    }
    const error = await rejectsWith("E_DATASET_FORMAT", () => loadDataset("rendered-sst2", { root }));
    assert.match(error.message, /3310 \+ 3610/);
  });

  it("the SST2 test sentences render in Rendered SST2's layout, with its counts", async function () {
    this.timeout(300_000);
    if (!hasShared) {
      console.log("      skipped: the SST2 sentences are not at ../shared/data");
      return this.skip();
    }
    const sentences = await readSentences(join(sharedData, "sst2", "test.tsv"));
    const out = join(folder, "rendered", "test");
    await renderFolder(sentences, out, { classes: ["negative", "positive"] });
    const data = await loadDataset(join(folder, "rendered"), { split: "test" });
    assert.deepEqual(data.splits[0].byClass, [912, 909]);
  });
});
