import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { Script } from "node:vm";
import { mkdirSync, writeFileSync } from "node:fs";
import sharp from "sharp";
import { Dataset } from "../../lib/datasets/dataset.js";
import type { RunManifest } from "../../lib/eval/run-manifest.js";
import { argmax, computeMetrics } from "../../lib/eval/metrics.js";
import { tableCell, tableCsv, tableHtml, tableMarkdown, type SavedResults } from "../../lib/eval/table.js";
import type { ZeroShotResult } from "../../lib/eval/zero-shot.js";
import { fontFaces, loadFonts, textPath, textWidth } from "../../lib/report/fonts.js";
import { chooseImages } from "../../lib/report/gallery.js";
import { reportHtml } from "../../lib/report/html.js";
import { examplePng, gridPng } from "../../lib/report/images.js";
import { scriptJson } from "../../lib/report/script.js";
import { contactSheetHtml, contactSheetPng } from "../../lib/report/sheet.js";
import { REPORT_STYLE, STYLE } from "../../lib/report/style.js";
import { tablePage } from "../../lib/report/table.js";
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
    return {
      index,
      name: `${HOSTILE}${index}.png`,
      label,
      predicted: argmax(probabilities),
      cosines: probabilities,
      probabilities,
    };
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
  counts: { images: 60, evaluated: 60, skipped: 0 },
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
    const gone = new Dataset({
      ...data,
      classes: [...data.classes],
      samples: [...data].map((s) => ({ ...s, read: () => "/no/such/file.png" })),
      notes: [],
      splits: [],
      prompts: [],
    });
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

  it("every Hangul syllable that is common has its own outline, also those that Noto Sans SC claims", async () => {
    const text = "한국어 고양이 사진 은는이가";
    await loadFonts([text]);
    const outlines = [...text.replaceAll(" ", "")].map((char) => textPath(char, 0, 20, 20));
    assert.equal(
      new Set(outlines).size,
      new Set(text.replaceAll(" ", "")).size,
      "one outline is that of two characters",
    );
  });

  it("a character that no font has is DejaVu's box, also where a subset claims it", async () => {
    await loadFonts(["\u{1F1E9}"]); // a regional indicator
    assert.equal(textPath("\u{1F1E9}", 0, 20, 20), textPath("\u{10FFFD}", 0, 20, 20));
  });

  it("a page carries the font files that its texts need, and none for Latin", async () => {
    assert.equal(await fontFaces("cat naïve"), "");
    const css = await fontFaces("<p>猫</p> 고양이");
    assert.ok((css.match(/@font-face/g) ?? []).length >= 2);
    assert.match(css, /src: url\(data:font\/woff2;base64,/);
  });
});

/** Whether one of a page's own font files covers a character. */
function carries(html: string, char: string): boolean {
  const point = char.codePointAt(0)!;
  const ranges = [...html.matchAll(/unicode-range: ([^;]+);/g)].flatMap((m) => m[1].split(","));
  return ranges.some((range) => {
    const [first, last] = range.slice(2).split("-");
    return parseInt(first, 16) <= point && point <= parseInt(last, 16);
  });
}

describe("Chinese, Japanese and Korean on the pages", () => {
  const folder = temporaryFolder();

  it("the report carries fonts for its prompts, data set, classes, image names and errors", async () => {
    const { data, result } = evaluation(["猫", "b"]);
    const [prediction] = result.predictions;
    const parts = {
      data: new Dataset({
        ...data,
        name: "動物園",
        classes: [...data.classes],
        samples: [...data],
        notes: [],
        splits: [],
        prompts: [],
      }),
      result: {
        ...result,
        prompts: { ...result.prompts, templates: ["一张{}的照片"] },
        skipped: [{ index: 1, name: "壊れた.png", code: "E_IMAGE_DECODE", message: "" }],
      },
      shown: [{ prediction: { ...prediction, name: "고양이.png" }, groups: ["sample" as const] }],
    };
    const html = await reportHtml({ ...parts, manifest, examplePng: Buffer.from(""), exampleText: "例" });
    for (const char of "動物園猫一张的照片壊고양이例") assert.ok(carries(html, char), char);
  });

  it("the contact sheet carries fonts for its queries and image names", async () => {
    const name = "사진.png";
    await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
      .png()
      .toFile(join(folder, name));
    const html = await contactSheetHtml([{ query: "红色", hits: [{ name, score: 0.5 }] }], folder, folder);
    for (const char of "红色사진") assert.ok(carries(html, char), char);
  });
});

/**
 * Widths in pixels that rules of a style sheet ask for, above `most`; `min(…)` and `max-width` give way on
 * small screens.
 */
function wideRules(css: string, most: number): string[] {
  const givesWay = css.replace(/\bmin\([^()]*\)/g, "").replace(/@media \([^)]*\)/g, "");
  const widths = [
    ...givesWay.matchAll(/(?:^|[;{\s])(?:min-width|width|flex-basis|grid-template-columns):([^;}]*)/g),
  ];
  return widths
    .filter(([, value]) =>
      [...value.matchAll(/([\d.]+)(px|rem)/g)].some(
        ([, n, unit]) => Number(n) * (unit === "rem" ? 16 : 1) > most,
      ),
    )
    .map(([rule]) => rule);
}

describe("pages on a phone and in the dark", () => {
  const folder = temporaryFolder();
  const PHONE = 390 - 2 * 16; // pixels between the page's margins

  async function pages(): Promise<[name: string, html: string][]> {
    const image = join(folder, "a.png");
    await sharp({ create: { width: 900, height: 80, channels: 3, background: "red" } })
      .png()
      .toFile(image);
    const interval = { low: 0.4, high: 0.6, method: "wilson" as const };
    const metrics = { accuracy: 0.5, accuracyInterval: interval, topK: [], macro: { recall: 0.5 } };
    const cells = [tableCell("a", "b", { metrics, manifest } as unknown as SavedResults, "a/b/results.json")];
    return [
      ["report", await page(Array.from({ length: 30 }, (_, i) => `a class with a rather long name ${i}`))],
      [
        "contact sheet",
        await contactSheetHtml([{ query: "red", hits: [{ name: "a.png", score: 1 }] }], folder, folder),
      ],
      ["table", await tablePage(cells)],
    ];
  }

  it("are as wide as the screen", async () => {
    for (const [name, html] of await pages())
      assert.match(html, /<meta name="viewport" content="width=device-width, initial-scale=1">/, name);
  });

  it("have no width beyond 390 pixels outside of what scrolls", async () => {
    assert.deepEqual(
      wideRules(
        ".a { width: 391px; } .b { grid-template-columns: repeat(2, minmax(min(440px, 100%), 1fr)); }",
        390,
      ),
      [" width: 391px"],
    );
    for (const [name, html] of await pages()) {
      const css = /<style>([^]*?)<\/style>/.exec(html)![1].replace(/@font-face \{[^}]*\}/g, "");
      assert.deepEqual(wideRules(css, PHONE), [], name);
      assert.match(css, /img \{ max-width: 100%;/, name);
      assert.match(css, /pre \{[^}]*overflow-x: auto;/, name);
      const body = html.slice(html.indexOf("<body>"));
      assert.doesNotMatch(body.replace(/<svg[^]*?<\/svg>/g, "<svg>"), /style="[^"]*width: ?\d/, name);
      for (const table of body.matchAll(/<table/g)) {
        assert.match(
          body.slice(0, table.index),
          /<div class="(scroll|bars)"[^>]*>$/,
          `${name}: a table that cannot be scrolled`,
        );
      }
      for (const [, width] of body
        .replace(/<svg[^]*?<\/svg>/g, "")
        .matchAll(/<(?!img|svg)\w+[^>]* width="(\d+)"/g))
        assert.ok(Number(width) <= PHONE, name);
    }
    for (const rule of [
      /\.chart svg \{ width: 100%;/,
      /\.scroll \{ overflow-x: auto; \}/,
      /\.bars \{[^}]*overflow: auto;/,
    ]) {
      assert.match(`${STYLE}${REPORT_STYLE}`, rule);
    }
  });

  it("have each of their colours once for light and once for dark, and no other in their rules", async () => {
    for (const [name, html] of await pages()) {
      const css = /<style>([^]*?)<\/style>/.exec(html)![1].replace(/@font-face \{[^}]*\}/g, "");
      const [, light] = /^\s*:root \{ color-scheme: light dark;([^}]*)\}/.exec(css)!;
      const [dark, inDark] = /@media \(prefers-color-scheme: dark\) \{ :root \{([^}]*)\} \}/.exec(css)!;
      const names = (rules: string) => [...rules.matchAll(/(--[\w-]+):/g)].map((m) => m[1]);
      assert.deepEqual(names(inDark), names(light), name);
      for (const [, used] of css.matchAll(/var\((--[\w-]+)/g))
        assert.ok(names(light).includes(used) || used === "--share", `${name}: ${used}`);
      const others = css.replace(light, "").replace(dark, "");
      // Behind images lies white in both: many have an alpha channel that was made for it.
      assert.deepEqual([...others.matchAll(/#[0-9a-f]{3,8}\b(?=[;\s}])/gi)].map(String), ["#fff"], name);
    }
  });
});

describe("the contact sheet", () => {
  const folder = temporaryFolder();

  it("has small WebP thumbnails that link to the images", async () => {
    const images = join(folder, "images & more");
    mkdirSync(images);
    const noise = await sharp({
      create: {
        width: 1500,
        height: 1000,
        channels: 3,
        background: "black",
        noise: { type: "gaussian", mean: 128, sigma: 60 },
      },
    })
      .jpeg({ quality: 95 })
      .toBuffer();
    writeFileSync(join(images, "a:b #1.jpg"), noise);
    const html = await contactSheetHtml(
      [{ query: HOSTILE, hits: [{ name: "a:b #1.jpg", score: 0.5 }] }],
      images,
      folder,
    );
    assert.ok(!html.includes(HOSTILE));
    assert.match(html, /<a href="\.\/images%20%26%20more\/a%3Ab%20%231\.jpg">/);
    assert.match(html, /src="data:image\/webp;base64,/);
    assert.ok(html.length < noise.length / 4, `${html.length} bytes for an image of ${noise.length}`);
  });
});

describe("a JPEG whose decoder warns", () => {
  const folder = temporaryFolder();
  const name = "warned.jpg";

  before(async () => {
    const noise = { type: "gaussian", mean: 128, sigma: 60 } as const;
    const jpeg = await sharp({ create: { width: 61, height: 47, channels: 3, background: "black", noise } })
      .jpeg()
      .toBuffer();
    const scan = jpeg.indexOf(Buffer.from([0xff, 0xda])); // the last marker before the pixels
    writeFileSync(
      join(folder, name),
      Buffer.concat([jpeg.subarray(0, scan), Buffer.from([0x11, 0x22, 0x33]), jpeg.subarray(scan)]),
    );
  });

  it("is one that sharp refuses by default", async () => {
    await assert.rejects(
      sharp(join(folder, name), { failOn: "warning" }).raw().toBuffer(),
      /extraneous bytes/,
    );
  });

  it("is shown in the report's gallery, in its example and in its grid", async () => {
    const { data, result } = evaluation(["a", "b"], 4);
    const warned = new Dataset({
      ...data,
      classes: [...data.classes],
      samples: [...data].map((s) => ({ ...s, read: () => join(folder, name) })),
      notes: [],
      splits: [],
      prompts: [],
    });
    const tile = { image: join(folder, name), lines: [name] };
    const html = await reportHtml({
      data: warned,
      result,
      manifest,
      examplePng: await examplePng(tile),
      exampleText: "",
      shown: chooseImages(result, []),
    });
    assert.doesNotMatch(html, /no longer readable/);
    assert.match(html, /src="data:image\/webp;base64,/);
    assert.ok((await gridPng([tile])).length > 0);
  });

  it("is shown on the contact sheet, as a page and as PNG", async () => {
    const found = [{ query: "noise", hits: [{ name, score: 0.5 }] }];
    assert.match(await contactSheetHtml(found, folder, folder), /src="data:image\/webp;base64,/);
    assert.ok((await contactSheetPng(found, folder)).length > 0);
  });
});

describe("the table of models and data sets", () => {
  const cell = (model: string, dataset: string, accuracy: number, seconds: number, parameters?: number) => {
    const interval = { low: accuracy - 0.1, high: accuracy + 0.1, method: "wilson" as const };
    const metrics = { accuracy, accuracyInterval: interval, topK: [], macro: { recall: accuracy } };
    const counts = { images: 100, evaluated: 100, skipped: 0 };
    const about = {
      ...manifest,
      model: { ...manifest.model, parameters },
      counts,
      seconds: { total: seconds },
    };
    return tableCell(
      model,
      dataset,
      { metrics, manifest: about } as unknown as SavedResults,
      `${model}/${dataset}/results.json`,
    );
  };
  const cells = [
    cell("tiny", "a", 0.5, 10),
    cell("tiny", "b", 0.9, 10),
    cell("ViT-B/32", "a", 0.7, 50),
    cell("ViT-B/32", "b", 0.8, 50),
    cell("x<y", "a", 0.6, 1),
  ];

  it("parameters: those that the run counted, for hub ids and paths too; of older results those of the name", () => {
    const counted = [
      cell("./my-model", "a", 0.5, 10, 228_865),
      cell("org/name", "a", 0.5, 10, 86.6e6),
      cell("ViT-B/32", "a", 0.5, 10),
    ];
    const column = tableMarkdown(counted)
      .split("\n")
      .slice(2, 5)
      .map((line) => line.split(" | ")[1]);
    assert.deepEqual(column, ["0.2 M", "87 M", "151 M"]);
    assert.match(tableCsv(counted), /,228865,/);
    assert.match(tableHtml(counted, ""), /<td>87 M<\/td>/);
  });

  it("its page carries fonts for the names of models and data sets, and the style of the reports", async () => {
    const html = await tablePage([cell("./模型", "동물", 0.5, 10)]);
    for (const char of "模型동물") assert.ok(carries(html, char), char);
    assert.ok(html.includes(STYLE));
  });

  it("the best of each column is bold, images/s too; means, parameters and speed", () => {
    const lines = tableMarkdown(cells).split("\n");
    assert.equal(lines[0], "| model | parameters | a (100) | b (100) | mean | images/s |");
    assert.equal(
      lines[2],
      "| tiny | 4.7 M | 50.00 % (40.00 % to 60.00 %) | **90.00 % (80.00 % to 100.00 %)** | 70.00 % | **10.0** |",
    );
    assert.equal(
      lines[3],
      "| ViT-B/32 | 151 M | **70.00 % (60.00 % to 80.00 %)** | 80.00 % (70.00 % to 90.00 %) | **75.00 %** | 2.0 |",
    );
    assert.equal(
      lines[4],
      "| x<y |  | 60.00 % (50.00 % to 70.00 %) |  |  | 100.0 |",
      "no mean, and no best speed, without all data sets",
    );
    const html = tableHtml(cells, "");
    assert.match(html, /<a href="ViT-B\/32\/a\/report.html"><b>70.00 %/);
    assert.match(html, /<td><b>10\.0<\/b><\/td><\/tr>/);
    assert.ok(html.includes("x&lt;y") && !html.includes("x<y"));
  });
});
