import assert from "node:assert/strict";
import { join } from "node:path";
import { Document } from "@langchain/core/documents";
import { Embeddings } from "@langchain/core/embeddings";
import { FakeVectorStore } from "@langchain/core/utils/testing";
import { load, type Clip } from "../../lib/index.js";
import { TorchclipEmbeddings } from "../../lib/integrations/langchain.js";
import { colourImages } from "../support/colours.js";
import { rejectsWith, root, temporaryFolder } from "../support/index.js";
import { printedBy, runScript } from "../support/process.js";
import { assertVectors, rowsOf } from "../support/vectors.js";

describe("torchclip/langchain", () => {
  const folder = temporaryFolder();
  let clip: Clip;
  let paths: string[];

  before(async () => {
    clip = await load("tiny");
    paths = await colourImages(join(folder, "images"));
  });
  after(() => clip.close());

  it("texts and images have the embeddings of the model", async () => {
    const embeddings = new TorchclipEmbeddings({ model: clip });
    const texts = ["a red circle", "a blue square"];
    assertVectors(await embeddings.embedDocuments(texts), rowsOf(await clip.encodeTexts(texts)));
    assertVectors([await embeddings.embedQuery(texts[1])], rowsOf(await clip.encodeTexts([texts[1]])));
    const images = rowsOf(await clip.encodeImages(paths));
    assertVectors(await embeddings.embedImages(paths), images);
    assertVectors([await embeddings.embedImageQuery(paths[2])], [images[2]]);
    assert.deepEqual(await embeddings.embedDocuments([]), []);
    const error = await rejectsWith("E_IMAGE_READ", () => embeddings.embedImages([paths[0], "none.png"]));
    assert.equal(error.index, 1);
  });

  it("a vector store of images is searched by an image and by a text", async () => {
    const embeddings = new TorchclipEmbeddings({ model: clip, maxConcurrency: 2 });
    const store = new FakeVectorStore(embeddings);
    const documents = paths.map((path) => new Document({ pageContent: path, metadata: { path } }));
    await store.addVectors(await embeddings.embedImages(paths), documents);
    const query = await embeddings.embedImageQuery(paths[1]);
    const [[best, score]] = (await store.similaritySearchVectorWithScore(query, 1)) as [[Document, number]];
    assert.equal(best.metadata.path, paths[1]);
    assert.ok(score > 0.9999, `the score: ${score}`);
    const found = await store.asRetriever(2).invoke("a red circle");
    assert.equal(found.length, 2);
  });

  it("the class extends the Embeddings that import gives, from an ES module and by require", () => {
    const script = `
      import { createRequire } from "node:module";
      import { Embeddings } from "@langchain/core/embeddings";
      import { TorchclipEmbeddings } from "torchclip/langchain";
      const required = createRequire(import.meta.url)("torchclip/langchain");
      const embeddings = new TorchclipEmbeddings({ model: "tiny" });
      const query = await embeddings.embedQuery("a red circle");
      await embeddings.close();
      const isSame = required.TorchclipEmbeddings === TorchclipEmbeddings;
      console.log(embeddings instanceof Embeddings, isSame, query.length);`;
    assert.equal(printedBy(runScript(script, [], { cwd: root })).trim(), "true true 192");
    assert.equal(typeof Embeddings, "function");
  });
});
