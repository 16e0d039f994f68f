// Run by Jest in its default mode, in a project that depends on the package: scripts/dependents.mjs.
/* global test, expect */
const { readFileSync } = require("node:fs");

const IMAGE = process.env.SMOKE_IMAGE;

test("require: images, texts, search, errors", async () => {
  const { load, similarity, TorchclipError } = require("torchclip");
  const clip = await load("tiny");
  const images = await clip.encodeImages([IMAGE, readFileSync(IMAGE), new Uint8Array(readFileSync(IMAGE))]);
  const texts = await clip.encodeTexts(["a red circle"]);
  expect(similarity(images, texts).length).toBe(3);
  expect(
    similarity(
      { data: Float32Array.of(1, 0), rows: 1, dim: 2 },
      { data: Float32Array.of(1, 0), rows: 1, dim: 2 },
    )[0],
  ).toBe(1);
  const index = await clip.index(images);
  expect((await index.search(texts, 1)).indices.length).toBe(1);
  await expect(clip.encodeImages(["no such file.png"])).rejects.toBeInstanceOf(TorchclipError);
  await expect(clip.encodeImages(["no such file.png"])).rejects.toMatchObject({ code: "E_IMAGE_READ" });
  await clip.close();
}, 60_000);

test("require: the other entry points", () => {
  expect(typeof require("torchclip/eval").zeroShot).toBe("function");
  expect(typeof require("torchclip/datasets").loadDataset).toBe("function");
  expect(typeof require("torchclip/learn").fitLinearProbe).toBe("function");
});
