// A dependent's test in vitest, with its globals (afterAll, beforeAll, expect, test).
import { load } from "torchclip";

let clip;
beforeAll(async () => {
  clip = await load("tiny");
}, 60_000);
afterAll(() => clip.close());

test("the model loads and classifies", async () => {
  const [best] = await clip.classify(process.env.SMOKE_IMAGE, ["a red circle", "a blue star"]);
  expect(best.label).toBe("a red circle");
  expect(best.probability).toBeGreaterThan(0.9);
});

test("bytes and pixels of the test's own realm are taken, errors have their code", async () => {
  const pixels = { data: new Uint8Array(8 * 8 * 3).fill(90), width: 8, height: 8, channels: 3 };
  const { rows, data } = await clip.encodeImages([pixels]);
  expect([rows, data.length]).toEqual([1, clip.info.embedDim]);
  await expect(clip.encodeImages(["no such file.png"])).rejects.toMatchObject({ code: "E_IMAGE_READ" });
});
