import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { Script } from "node:vm";
import { mkdirSync, writeFileSync } from "node:fs";
import sharp from "sharp";
import { Dataset } from "../../lib/datasets/dataset.js";
import type { RunManifest } from "../../lib/eval/manifest.js";
import { argmax, computeMetrics } from "../../lib/eval/metrics.js";
import { tableCell, tableHtml, tableMarkdown, type SavedResults } from "../../lib/eval/table.js";
import type { ZeroShotResult } from "../../lib/eval/zero-shot.js";
import { fontFaces, loadFonts, textPath, textWidth } from "../../lib/report/fonts.js";
import { chooseImages } from "../../lib/report/gallery.js";
import { reportHtml } from "../../lib/report/html.js";
import { scriptJson } from "../../lib/report/script.js";
import { contactSheetHtml } from "../../lib/report/sheet.js";
import { thresholdTable } from "../../lib/report/thresholds.js";
import { seededRandom } from "../../lib/util/random.js";
import { temporaryFolder } from "../support/index.js";

const HOSTILE = `</script><img src=x onerror="alert('1')">`;

/** A made-up evaluation of `count` images over these classes. */
function evaluation(classes: string[], count = 60): { data: Dataset; result: ZeroShotResult } {
  const random = seededRandom(1);
  const image = { data: new Uint8Array(8 * 6 * 3).fill(120), width: 8, height: 6, channels: 3 as const };
  const predictions = Array.from({ length: count }, (_, index) => {
    const label = index % classes.length;
    const raw = classes.map((_, c) => random() + (c === label ? 0.6 : 0));
    const sum = raw.reduce((a, b) => a + b, 0);
    const probabilities = raw.map((x) => x / sum);
    return { index, name: `${HOSTILE}${index}.png`, label, predicted: argmax(probabilities), cosines: probabilities, probabilities };
  });
  const metrics = computeMetrics(predictions, classes);
  const prompts = { templates: [`a photo of ${HOSTILE} {}`], source: "test" };
  const samples = predictions.map((p) => ({ read: () => image, label: p.label, name: p.name }));
  const data = new Dataset({ name: HOSTILE, split: HOSTILE, classes, samples });
  const times = { read: 0, decode: 0, resize: 0, forward: 0, post: 0, total: 2 };
  const skipped = [{ index: 99, name: HOSTILE, code: "E_IMAGE_DECODE", message: HOSTILE }];
  return { data, result: { prompts, classNames: classes, predictions, skipped, metrics, times } };
}

const manifest = {
  model: { name: HOSTILE, weights: { file: HOSTILE } },
  device: "cpu",
  precision: "fp32",
  preprocessing: { exifOrientation: "ignored" },
  dataset: { split: "test" },
  counts: { pictures: 60, evaluated: 60, skipped: 0 },
  seconds: { total: 2 },
} as unknown as RunManifest;

async function page(classes: string[], count?: number): Promise<string> {
  const { data, result } = evaluation(classes, count);
  const shown = chooseImages(result, result.predictions.slice(0, 5));
  return reportHtml({ data, result, manifest, examplePng: Buffer.from("png"), exampleText: HOSTILE, shown });
}

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
    assert.ok(policy.includes("default-src 'none'") && policy.includes(`script-src 'sha256-${hash}'`), policy);
    assert.doesNotThrow(() => new Script(own), "the script is JavaScript");
    const data = JSON.parse(scripts[0][2]) as { thresholds: { classes: unknown[] } };
    assert.equal(data.thresholds.classes.length, 3);
    assert.ok(!scriptJson(HOSTILE).includes("</"));
  });

  it("has accuracy first, the manifest folded, charts of one size", async () => {
    for (const classes of [["negative", "positive"], ["a", "b", "c"], Array.from({ length: 60 }, (_, i) => `class ${i}`)]) {
      const html = await page(classes, 240);
      assert.match(html, /<div class="figures"><div class="figure first"><span>Accuracy/);
      assert.match(html, /<details><summary>Manifest of the run/);
      const sizes = [...html.matchAll(/<svg xmlns[^>]*viewBox="0 0 (\d+) (\d+)"/g)].map((m) => `${m[1]} x ${m[2]}`);
      assert.equal(sizes.length, classes.length === 2 ? 4 : 3);
      assert.deepEqual([...new Set(sizes)], ["420 x 330"], classes.length.toString());
    }
  });

  it("an image that has gone since is told, and the report is written all the same", async () => {
    const { data, result } = evaluation(["a", "b"]);
    const gone = new Dataset({
      ...data,
      classes: [...data.classes],
      samples: [...data].map((s) => ({ ...s, read: () => "/no/such/file.png" })),
      notes: [],
      splits: [],
      prompts: [],
    });
    const html = await reportHtml({ data: gone, result, manifest, examplePng: Buffer.from(""), exampleText: "", shown: chooseImages(result, []) });
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

describe("labels in the figures", () => {
  it("Chinese, Japanese and Korean are drawn by packaged fonts, what no font has as a box", async () => {
    const texts = ["猫", "ひらがな", "한국어", "naïve Ω"];
    await loadFonts(texts);
    const box = textPath("\u{10FFFD}", 0, 20, 20);
    for (const text of texts) {
      for (const char of text.replaceAll(" ", "")) {
        assert.notEqual(textPath(char, 0, 20, 20), box, char);
        assert.ok(textPath(char, 0, 20, 20).length > 20, char);
      }
    }
    assert.ok(textWidth("猫", 20) === 20, "a Han character is an em wide");
  });

  it("a page carries the font files that its classes need, and none for Latin", () => {
    assert.equal(fontFaces(["cat", "naïve"]), "");
    const css = fontFaces(["猫", "고양이"]);
    assert.ok((css.match(/@font-face/g) ?? []).length >= 2);
    assert.match(css, /src: url\(data:font\/woff2;base64,/);
  });
});

describe("the contact sheet", () => {
  const folder = temporaryFolder();

  it("has small WebP thumbnails that link to the images", async () => {
    const images = join(folder, "images & more");
    mkdirSync(images);
    const noise = await sharp({ create: { width: 1500, height: 1000, channels: 3, background: "black", noise: { type: "gaussian", mean: 128, sigma: 60 } } })
      .jpeg({ quality: 95 })
      .toBuffer();
    writeFileSync(join(images, "a:b #1.jpg"), noise);
    const html = await contactSheetHtml([{ query: HOSTILE, hits: [{ name: "a:b #1.jpg", score: 0.5 }] }], images, folder);
    assert.ok(!html.includes(HOSTILE));
    assert.match(html, /<a href="\.\/images%20%26%20more\/a%3Ab%20%231\.jpg">/);
    assert.match(html, /src="data:image\/webp;base64,/);
    assert.ok(html.length < noise.length / 4, `${html.length} bytes for an image of ${noise.length}`);
  });
});

describe("the table of models and data sets", () => {
  const cell = (model: string, dataset: string, accuracy: number, seconds: number) => {
    const interval = { low: accuracy - 0.1, high: accuracy + 0.1, method: "wilson" as const };
    const metrics = { accuracy, accuracyInterval: interval, topK: [], macro: { recall: accuracy } };
    const about = { ...manifest, counts: { pictures: 100, evaluated: 100, skipped: 0 }, seconds: { total: seconds } };
    return tableCell(model, dataset, { metrics, manifest: about } as unknown as SavedResults, `${model}/${dataset}/results.json`);
  };
  const cells = [
    cell("tiny", "a", 0.5, 10),
    cell("tiny", "b", 0.9, 10),
    cell("ViT-B/32", "a", 0.7, 50),
    cell("ViT-B/32", "b", 0.8, 50),
    cell("x<y", "a", 0.6, 1),
  ];

  it("the best of each column is bold; means, parameters and speed", () => {
    const lines = tableMarkdown(cells).split("\n");
    assert.equal(lines[0], "| model | parameters | a (100) | b (100) | mean | images/s |");
    assert.equal(lines[2], "| tiny | 4.7 M | 50.00 % (40.00 % to 60.00 %) | **90.00 % (80.00 % to 100.00 %)** | 70.00 % | 10.0 |");
    assert.equal(lines[3], "| ViT-B/32 | 151 M | **70.00 % (60.00 % to 80.00 %)** | 80.00 % (70.00 % to 90.00 %) | **75.00 %** | 2.0 |");
    assert.equal(lines[4], "| x<y |  | 60.00 % (50.00 % to 70.00 %) |  |  | 100.0 |", "no mean without all data sets");
    const html = tableHtml(cells, "");
    assert.match(html, /<a href="ViT-B\/32\/a\/report.html"><b>70.00 %/);
    assert.ok(html.includes("x&lt;y") && !html.includes("x<y"));
  });
});
