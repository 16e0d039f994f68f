import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Script } from "node:vm";
import { chooseImages } from "../../lib/report/gallery.js";
import { reportHtml } from "../../lib/report/html.js";
import { scriptJson } from "../../lib/report/script.js";
import { thresholdTable } from "../../lib/report/thresholds.js";
import { changed, evaluation, HOSTILE, manifest, page } from "../support/report.js";

describe("the report page", () => {
  it("is self-contained and lets no name become markup, script or request", async () => {
    const html = await page(["cat", HOSTILE, "<b>dog</b>"]);
    assert.ok(!html.includes(HOSTILE));
    assert.ok(!/<img src=x|<b>dog/.test(html));
    assert.ok(!/(src|href)="(?!data:)/.test(html));
    const scripts = [...html.matchAll(/<script([^>]*)>([^]*?)<\/script>/g)];
    assert.equal(scripts.length, 2, "the data and the page's own script");
    const own = scripts[1][2];
    const hash = createHash("sha256").update(own).digest("base64");
    const policy = /Content-Security-Policy" content="([^"]*)"/.exec(html)![1];
    assert.ok(
      policy.includes("default-src 'none'") && policy.includes(`script-src 'sha256-${hash}'`),
      policy,
    );
    assert.doesNotThrow(() => new Script(own), "the script is JavaScript");
    const data = JSON.parse(scripts[0][2]) as { thresholds: { classes: unknown[] } };
    assert.equal(data.thresholds.classes.length, 3);
    assert.ok(!scriptJson(HOSTILE).includes("</"));
  });

  it("has accuracy first, the manifest folded, charts of one size", async () => {
    for (const classes of [
      ["negative", "positive"],
      ["a", "b", "c"],
      Array.from({ length: 60 }, (_, i) => `class ${i}`),
    ]) {
      const html = await page(classes, 240);
      assert.match(html, /<div class="figures"><div class="figure first"><span>Accuracy/);
      assert.match(html, /<details><summary>Manifest of the run/);
      const sizes = [...html.matchAll(/<svg xmlns[^>]*viewBox="0 0 (\d+) (\d+)"/g)].map(
        (m) => `${m[1]} x ${m[2]}`,
      );
      assert.equal(sizes.length, classes.length === 2 ? 4 : 3);
      assert.deepEqual([...new Set(sizes)], ["420 x 330"], classes.length.toString());
    }
  });

  it("an image that has gone since is told, and the report is written all the same", async () => {
    const { data, result } = evaluation(["a", "b"]);
    const gone = changed(data, { read: () => "/no/such/file.png" });
    const html = await reportHtml({
      data: gone,
      result,
      manifest,
      examplePng: Buffer.from(""),
      exampleText: "",
      shown: chooseImages(result, []),
    });
    assert.match(html, /no longer readable/);
  });

  it("the gallery: most confident mistakes first, then the least certain", () => {
    const { result } = evaluation(["a", "b", "c"], 300);
    const shown = chooseImages(result, []);
    const top = (p: { probabilities: number[]; predicted: number }) => p.probabilities[p.predicted];
    const mistakes = shown.filter((s) => s.groups.includes("mistake")).map((s) => s.prediction);
    assert.ok(mistakes.every((p) => p.predicted !== p.label));
    const surest = Math.max(...result.predictions.filter((p) => p.predicted !== p.label).map(top));
    assert.equal(top(mistakes[0]), surest);
    const margin = (p: { probabilities: number[] }) => {
      const [first, second] = [...p.probabilities].sort((a, b) => b - a);
      return first - second;
    };
    const uncertain = shown.filter((s) => s.groups.includes("uncertain")).map((s) => margin(s.prediction));
    const all = result.predictions.map(margin).sort((a, b) => a - b);
    assert.deepEqual(
      [...uncertain].sort((a, b) => a - b),
      all.slice(0, uncertain.length),
    );
    assert.equal(new Set(shown.map((s) => s.prediction.index)).size, shown.length, "no image twice");
  });

  it("the threshold table counts what it says, for each class against the others", () => {
    const { result } = evaluation(["a", "b", "c"], 200);
    const { steps, classes } = thresholdTable(result);
    for (const [c, { support, found, right }] of classes.entries()) {
      assert.equal(support, result.predictions.filter((p) => p.label === c).length);
      for (let t = 0; t <= steps; t++) {
        const above = result.predictions.filter((p) => p.probabilities[c] + 1e-9 >= t / steps);
        assert.equal(found[t], above.length, `class ${c}, threshold ${t / steps}`);
        assert.equal(right[t], above.filter((p) => p.label === c).length);
      }
    }
  });
});
