import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { tableCell, type SavedResults } from "../../lib/eval/table.js";
import { chooseImages } from "../../lib/report/gallery.js";
import { reportHtml } from "../../lib/report/html.js";
import { examplePng, gridPng } from "../../lib/report/images.js";
import { contactSheetHtml, contactSheetPng } from "../../lib/report/sheet.js";
import { REPORT_STYLE, STYLE } from "../../lib/report/style.js";
import { tablePage } from "../../lib/report/table.js";
import { PAGE } from "../../lib/serve/page/html.js";
import { temporaryFolder } from "../support/index.js";
import { changed, evaluation, HOSTILE, manifest, page } from "../support/report.js";

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

  let pages: [name: string, html: string][];

  before(async () => {
    const image = join(folder, "a.png");
    await sharp({ create: { width: 900, height: 80, channels: 3, background: "red" } })
      .png()
      .toFile(image);
    const interval = { low: 0.4, high: 0.6, method: "wilson" as const };
    const metrics = { accuracy: 0.5, accuracyInterval: interval, topK: [], macro: { recall: 0.5 } };
    const cells = [tableCell("a", "b", { metrics, manifest } as unknown as SavedResults, "a/b/results.json")];
    pages = [
      ["report", await page(Array.from({ length: 30 }, (_, i) => `a class with a rather long name ${i}`))],
      [
        "contact sheet",
        await contactSheetHtml([{ query: "red", hits: [{ name: "a.png", score: 1 }] }], folder, folder),
      ],
      ["table", await tablePage(cells)],
      ["server", PAGE],
    ];
  });

  /** The style sheet of a page without its fonts. */
  const cssOf = (html: string) =>
    /<style>([^]*?)<\/style>/.exec(html)![1].replace(/@font-face \{[^}]*\}/g, "");

  it("are as wide as the screen", () => {
    for (const [name, html] of pages)
      assert.match(html, /<meta name="viewport" content="width=device-width, initial-scale=1">/, name);
  });

  it("have no width beyond 390 pixels outside of what scrolls", () => {
    assert.deepEqual(
      wideRules(
        ".a { width: 391px; } .b { grid-template-columns: repeat(2, minmax(min(440px, 100%), 1fr)); }",
        390,
      ),
      [" width: 391px"],
    );
    for (const [name, html] of pages) {
      const css = cssOf(html);
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

  it("have each of their colours once for light and once for dark, and no other in their rules", () => {
    for (const [name, html] of pages) {
      const css = cssOf(html);
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
    const warned = changed(data, { read: () => join(folder, name) });
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
