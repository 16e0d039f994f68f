import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ImageNode, TextNode } from "@llamaindex/core/schema";
import { load, type Clip } from "../../lib/index.js";
import { TorchclipEmbedding } from "../../lib/integrations/llamaindex.js";
import { colourImages } from "../support/colours.js";
import { root, temporaryFolder } from "../support/index.js";
import { printedBy, runScript } from "../support/process.js";
import { assertVectors, rowsOf } from "../support/vectors.js";

describe("torchclip/llamaindex", () => {
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

  it("embeds text nodes and image nodes of an ingestion, each by its tower", async () => {
    const embedding = new TorchclipEmbedding({ model: clip });
    const nodes = [
      new TextNode({ text: "a red circle" }),
      ...paths.map((path) => new ImageNode({ text: "", image: pathToFileURL(path) })),
      new TextNode({ text: "a blue square" }),
    ];
    await embedding(nodes);
    const texts = rowsOf(await clip.encodeTexts(["a red circle", "a blue square"]));
    assertVectors(
      nodes.map((node) => node.embedding!),
      [texts[0], ...images, texts[1]],
    );
  });

  it("queries are texts, and images as paths, URLs, data URLs and Blobs", async () => {
    const embedding = new TorchclipEmbedding({ model: clip });
    const [text] = rowsOf(await clip.encodeTexts(["a red circle"]));
    const query = await embedding.getQueryEmbedding({ type: "text", text: "a red circle" });
    assertVectors([query!, await embedding.getTextEmbedding("a red circle")], [text, text]);
    const bytes = readFileSync(paths[2]);
    const dataUrl = `data:image/png;base64,${bytes.toString("base64")}`;
    const blob = new Blob([new Uint8Array(bytes)], { type: "image/png" });
    const inputs = [paths[2], pathToFileURL(paths[2]), dataUrl, blob];
    const found = await embedding.getImageEmbeddings(inputs);
    assertVectors(
      found,
      inputs.map(() => images[2]),
    );
    const byUrl = await embedding.getQueryEmbedding({ type: "image_url", image_url: { url: dataUrl } });
    assertVectors([byUrl!], [images[2]]);
  });

  it("the class extends the MultiModalEmbedding that import gives", () => {
    const script = `
      import { MultiModalEmbedding } from "@llamaindex/core/embeddings";
      import { TorchclipEmbedding } from "torchclip/llamaindex";
      const embedding = new TorchclipEmbedding({ model: "tiny", truncate: "end" });
      const rows = await embedding.getTextEmbeddingsBatch(["a red circle", "word ".repeat(500)]);
      await embedding.close();
      console.log(embedding instanceof MultiModalEmbedding, rows.map((row) => row.length).join());`;
    assert.equal(printedBy(runScript(script, [], { cwd: root })).trim(), "true 192,192");
  });
});
