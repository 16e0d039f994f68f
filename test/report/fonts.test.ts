import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { fontFaces, loadFonts, textPath, textWidth } from "../../lib/report/fonts.js";
import { reportHtml } from "../../lib/report/html.js";
import { contactSheetHtml } from "../../lib/report/sheet.js";
import { temporaryFolder } from "../support/index.js";
import { carries, changed, evaluation, manifest } from "../support/report.js";

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
    assert.equal(textWidth("猫", 20), 20, "a Han character is an em wide");
  });

  it("every Hangul syllable that is common has its own outline, also those that Noto Sans SC claims", async () => {
    const text = "한국어 고양이 사진 은는이가";
    await loadFonts([text]);
    const characters = new Set(text.replaceAll(" ", ""));
    const outlines = new Set(Array.from(characters, (char) => textPath(char, 0, 20, 20)));
    assert.equal(outlines.size, characters.size, "one outline is that of two characters");
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

describe("Chinese, Japanese and Korean on the pages", () => {
  const folder = temporaryFolder();

  it("the report carries fonts for its prompts, data set, classes, image names and errors", async () => {
    const { data, result } = evaluation(["猫", "b"]);
    const [prediction] = result.predictions;
    const parts = {
      data: changed(data, { name: "動物園" }),
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
