import assert from "node:assert/strict";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { embed, embedMany } from "ai";
import { load, type Clip } from "../../lib/index.js";
import { torchclip } from "../../lib/integrations/ai-sdk.js";
import { colourImages } from "../support/colours.js";
import { rejectsWith, temporaryFolder, tinyModel } from "../support/index.js";
import { assertVectors, rowsOf } from "../support/vectors.js";

describe("torchclip/ai-sdk", () => {
  const folder = temporaryFolder();
  let clip: Clip;
  let paths: string[];
  let images: number[][];

  before(async () => {
    clip = await load("tiny");
    paths = await colourImages(join(folder, "images"));
    images = rowsOf(await clip.encodeImages(paths));
  });
  after(() => clip.close());

  it("embed and embedMany of the AI SDK give the embeddings of texts", async () => {
    const texts = Array.from({ length: 50 }, (_, i) => `${i} red circles`);
    const expected = rowsOf(await clip.encodeTexts(texts));
    const { embeddings, values } = await embedMany({ model: torchclip(clip), values: texts });
    assert.deepEqual(values, texts);
    assertVectors(embeddings, expected);
    const { embedding } = await embed({ model: torchclip(clip), value: texts[7] });
    assertVectors([embedding], [expected[7]]);
  });

  it("images and texts of providerOptions.torchclip.content come in the order of the values", async () => {
    const bytes = readFileSync(paths[1]);
    const dataUrl = `data:image/png;base64,${readFileSync(paths[2]).toString("base64")}`;
    const content = [
      null,
      [{ type: "image", image: paths[0] }],
      [{ type: "text", text: "a blue square" }],
      [{ type: "image", image: new Uint8Array(bytes), mediaType: "image/png" }],
      [{ type: "image", image: dataUrl }],
    ];
    const { embeddings } = await embedMany({
      model: torchclip(clip),
      values: ["a red circle", "", "", "", ""],
      providerOptions: { torchclip: { content: content as never } },
    });
    const texts = rowsOf(await clip.encodeTexts(["a red circle", "a blue square"]));
    assertVectors(embeddings, [texts[0], images[0], texts[1], images[1], images[2]]);
  });

  it("content that is not one part for each value is E_ARGUMENT with its index", async () => {
    const model = torchclip(clip);
    const image = { type: "image", image: paths[0] };
    const wrong = async (values: string[], content: unknown, message: RegExp, index?: number) => {
      const providerOptions = { torchclip: { content: content as never } };
      const error = await rejectsWith("E_ARGUMENT", () => model.doEmbed({ values, providerOptions }));
      assert.match(error.message, message);
      assert.equal(error.index, index);
    };
    await wrong(["", ""], [[image]], /an entry for each of 2 values, not 1 entries/);
    await wrong([""], "no list", /not no list/);
    await wrong(["", "a text"], [[image], [image]], /content\[1\].*no embedding of both/, 1);
    await wrong([""], [[image, image]], /content\[0\] must be one part/, 0);
    await wrong([""], [[{ type: "audio" }]], /content\[0\] must be \{ type: "text"/, 0);
    const url = "data:image/png,no-base64";
    await wrong([""], [[{ type: "image", image: url }]], /is no data URL of an image/, 0);
  });

  it("the model's dimension is given, another one is E_ARGUMENT, and the signal stops", async () => {
    const model = torchclip(clip);
    const { embeddings } = await model.doEmbed({ values: ["a"], dimensions: 192 });
    assert.equal(embeddings[0].length, 192);
    const error = await rejectsWith("E_ARGUMENT", () => model.doEmbed({ values: ["a"], dimensions: 64 }));
    assert.match(error.message, /gives 192 dimensions and cannot give 64/);
    const abortSignal = AbortSignal.abort();
    await rejectsWith("E_ABORTED", () => model.doEmbed({ values: ["a"], abortSignal }));
  });

  it("loads a model by its name once, tries a failed load again, and closes what it loaded", async () => {
    const model = torchclip("tiny", { truncate: "end" });
    assert.deepEqual(
      [model.modelId, model.provider, model.specificationVersion],
      ["tiny", "torchclip", "v4"],
    );
    const long = "a red circle ".repeat(60);
    const [one, two] = await Promise.all([
      model.doEmbed({ values: [long] }),
      model.doEmbed({ values: [long] }),
    ]);
    assert.deepEqual(one.embeddings, two.embeddings);
    await model.close();
    await rejectsWith("E_CLOSED", () => model.doEmbed({ values: ["a"] }));
    const path = join(folder, "later.pt");
    const later = torchclip(path);
    await rejectsWith("E_MODEL_NOT_FOUND", () => later.doEmbed({ values: ["a"] }));
    copyFileSync(tinyModel, path);
    assert.equal((await later.doEmbed({ values: ["a"] })).embeddings.length, 1);
    await later.close();
    assert.throws(() => torchclip(undefined as never), /model must be the name of a model or a loaded Clip/);
    const own = torchclip(clip);
    await own.close();
    assert.equal((await clip.encodeTexts(["a"])).rows, 1, "a Clip that was given stays open");
  });
});
