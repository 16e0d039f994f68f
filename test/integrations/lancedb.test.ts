import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as lancedb from "@lancedb/lancedb";
import { getRegistry, LanceSchema } from "@lancedb/lancedb/embedding";
import { Binary, Utf8 } from "apache-arrow";
import { load, type Clip } from "../../lib/index.js";
import { TorchclipEmbeddingFunction } from "../../lib/integrations/lancedb.js";
import { colourImages } from "../support/colours.js";
import { rejectsWith, temporaryFolder } from "../support/index.js";
import { assertVectors, rowsOf } from "../support/vectors.js";

interface Row {
  path: string;
  vector: Iterable<number>;
}

describe("torchclip/lancedb", function () {
  this.timeout(120_000);
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

  const create = () => getRegistry().get<TorchclipEmbeddingFunction>("torchclip")!.create({ model: "tiny" });

  it("a table embeds paths of images, and is searched by a text, also when it is opened again", async () => {
    const func = await create();
    assert.equal(func.ndims(), 192);
    const schema = LanceSchema({ path: func.sourceField(new Utf8()), vector: func.vectorField() });
    const uri = join(folder, "photos.lancedb");
    const rows = paths.map((path) => ({ path }));
    const table = await (await lancedb.connect(uri)).createTable("photos", rows, { schema });
    const stored = (await table.query().toArray()) as Row[];
    assertVectors(
      paths.map((path) => stored.find((row) => row.path === path)!.vector),
      images,
    );
    const reopened = await (await lancedb.connect(uri)).openTable("photos");
    const nearest = (await reopened.search("a red circle").limit(3).toArray()) as Row[];
    const text = (await clip.encodeTexts(["a red circle"])).data;
    const cosine = (image: number[]) => image.reduce((sum, value, i) => sum + value * text[i], 0);
    const byCosine = [...paths.keys()].sort((a, b) => cosine(images[b]) - cosine(images[a]));
    assert.deepEqual(
      nearest.map(({ path }) => path),
      byCosine.map((i) => paths[i]),
    );
    const query = await func.computeQueryEmbeddings(readFileSync(paths[1]));
    const [best] = (await reopened.vectorSearch(query).limit(1).toArray()) as Row[];
    assert.equal(best.path, paths[1]);
    await func.close();
  });

  it("a column of bytes, and one of texts", async () => {
    const func = await create();
    const schema = LanceSchema({ file: func.sourceField(new Binary()), vector: func.vectorField() });
    const db = await lancedb.connect(join(folder, "bytes.lancedb"));
    const table = await db.createTable("files", [{ file: readFileSync(paths[0]) }], { schema });
    const [row] = (await table.query().toArray()) as Row[];
    assertVectors([row.vector], [images[0]]);
    const texts = new TorchclipEmbeddingFunction({ model: "tiny", source: "texts" });
    const vectors = await texts.computeSourceEmbeddings(["a red circle"]);
    assertVectors(vectors, rowsOf(await clip.encodeTexts(["a red circle"])));
    const error = await rejectsWith("E_ARGUMENT", () => func.computeSourceEmbeddings(["a", null as never]));
    assert.equal(error.index, 1);
    assert.throws(() => new TorchclipEmbeddingFunction({ source: "sounds" as never }), /images or texts/);
    await Promise.all([func.close(), texts.close()]);
  });
});
