import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CLIP_PROMPTS } from "../../lib/datasets/clip-sets/prompts.js";
import { meanAveragePrecision } from "../../lib/eval/index.js";
import type { MultiLabelMetrics } from "../../lib/eval/multi-label.js";
import { fixture, temporaryFolder } from "../support/index.js";
import { commandLine } from "../support/process.js";

const folder = temporaryFolder();
const cli = commandLine(join(folder, "cache"));
const { classes } = CLIP_PROMPTS.voc2007;

const IMAGES: [file: string, objects: string[]][] = [
  ["rgb.png", ["dog", "person", "dog"]],
  ["grey.png", ["cat"]],
  ["palette.png", ["person"]],
];

/** VOC2007 with these images and objects. */
function vocRoot(): string {
  const root = join(folder, "voc", "VOCdevkit", "VOC2007");
  for (const name of ["Annotations", "JPEGImages", "ImageSets/Main"])
    mkdirSync(join(root, name), { recursive: true });
  const box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>";
  for (const [id, [file, objects]] of IMAGES.entries()) {
    const xml = objects.map((name) => `<object><name>${name}</name>${box}</object>`).join("");
    writeFileSync(join(root, "Annotations", `00${id}.xml`), `<annotation>${xml}</annotation>`);
    copyFileSync(fixture(`images/${file}`), join(root, "JPEGImages", `00${id}.jpg`));
  }
  const list = IMAGES.map((_, id) => `00${id}\n`).join("");
  for (const split of ["train", "test"]) writeFileSync(join(root, `ImageSets/Main/${split}.txt`), list);
  return join(folder, "voc");
}

describe("torchclip eval on images of several classes", function () {
  this.timeout(120_000);

  const root = vocRoot();
  const about = ["-m", "tiny", "-s", "voc2007-multilabel", "--root", root];

  it("mean average precision of the cosines, in text, results.json, predictions.csv and the page", () => {
    const out = join(folder, "out");
    const run = cli("eval", ...about, "-o", out);
    assert.equal(run.status, 0, run.stderr);
    const [, ...lines] = readFileSync(join(out, "predictions.csv"), "utf8").trim().split("\n");
    const rows = lines.map((line) => line.trim().split(","));
    assert.deepEqual(
      rows.map((row) => row[2]),
      ["dog|person", "cat", "person"],
    );
    const scores = rows.flatMap((row) => row.slice(3).map(Number));
    const targets = IMAGES.flatMap(([, objects]) => classes.map((name) => Number(objects.includes(name))));
    const expected = meanAveragePrecision(scores, targets, classes.length);
    const { metrics } = JSON.parse(readFileSync(join(out, "results.json"), "utf8")) as {
      metrics: MultiLabelMetrics;
    };
    assert.equal(metrics.meanAveragePrecision.none, expected.mean);
    assert.deepEqual(
      metrics.perClass.map(({ averagePrecision }) => averagePrecision.none),
      expected.perClass,
    );
    assert.deepEqual(
      metrics.perClass.filter(({ images }) => images > 0).map(({ label, images }) => [label, images]),
      [
        ["cat", 1],
        ["dog", 1],
        ["person", 2],
      ],
    );
    assert.match(run.stdout, new RegExp(`Mean average precision: ${(100 * expected.mean).toFixed(2)}%`));
    assert.match(
      readFileSync(join(out, "report.html"), "utf8"),
      /Mean average precision[^]*<td>person<\/td>/,
    );
  });

  it("what needs one class of each image refuses the set", () => {
    for (const args of [
      ["eval", ...about, "--models", "tiny"],
      ["probe", ...about],
    ]) {
      const run = cli(...args, "-o", join(folder, "refused"));
      assert.equal(run.status, 2, run.stderr);
      assert.match(run.stderr, /E_ARGUMENT: voc2007-multilabel has images of several classes/);
    }
  });
});
