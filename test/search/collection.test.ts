import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EmbeddingCollection, load, normalizeRows, type Clip, type Embeddings } from "../../lib/index.js";
import { rejectsWith, temporaryFolder } from "../support/index.js";
import { commandLine } from "../support/process.js";

describe("embedding collection", () => {
  const folder = temporaryFolder();
  let clip: Clip;

  before(async () => {
    clip = await load("tiny");
  });
  after(() => clip.close());

  /** The unit vector of an axis, turned a little towards the next. */
  function axis(...numbers: number[]): Embeddings {
    const dim = clip.info.embedDim;
    const data = new Float32Array(numbers.length * dim);
    numbers.forEach((number, row) => {
      data[row * dim + number] = 1;
      data[row * dim + number + 1] = 0.1;
    });
    return normalizeRows({ data, rows: numbers.length, dim });
  }

  const idsOf = (hits: readonly { id: string }[]) => hits.map(({ id }) => id);

  async function photos(): Promise<EmbeddingCollection> {
    const collection = EmbeddingCollection.create(clip);
    const entries = [
      { id: "a", metadata: { album: "x" } },
      { id: "b" },
      { id: "c", metadata: { album: "y" } },
    ];
    await collection.upsert(entries, axis(0, 10, 20), clip);
    return collection;
  }

  it("finds entries with their metadata, and only those that the filter allows", async () => {
    using collection = await photos();
    const [hits] = await collection.search(axis(0), 3, clip);
    assert.equal(hits[0].id, "a");
    assert.deepEqual(hits[0].metadata, { album: "x" });
    assert.ok(hits[0].score > 0.9999);
    const filter = ({ metadata }: { metadata?: object }) => metadata !== undefined;
    const [filtered] = await collection.search(axis(10), 3, clip, { filter });
    assert.deepEqual(idsOf(filtered).sort(), ["a", "c"]);
  });

  it("update, delete and compact: what is gone is never found, and compact frees it", async () => {
    using collection = await photos();
    await collection.upsert([{ id: "b", metadata: { version: 2 } }, { id: "d" }], axis(40, 50), clip);
    assert.equal(await collection.delete(["a", "none"]), 1);
    assert.equal(await collection.setMetadata("c", { album: "z" }), true);
    assert.equal(await collection.setMetadata("a", {}), false);
    const check = async (unused: number) => {
      assert.deepEqual([collection.size, collection.unused], [3, unused]);
      const [old] = await collection.search(axis(10), 5, clip);
      assert.ok(
        old.every(({ score }) => score < 0.5),
        "the replaced row is not found",
      );
      assert.deepEqual(idsOf(old).sort(), ["b", "c", "d"]);
      const [found] = await collection.search(axis(40), 1, clip);
      assert.deepEqual(found[0].metadata, { version: 2 });
      assert.deepEqual(collection.get("c"), { id: "c", metadata: { album: "z" } });
      assert.equal(collection.get("a"), undefined);
    };
    await check(2);
    await collection.compact();
    await check(0);
    assert.deepEqual(idsOf([...collection.entries()]), ["c", "b", "d"]);
  });

  it("embeddings of another model are refused, with both names", async () => {
    using collection = await photos();
    const { config, embedDim } = clip.info;
    const sha256 = "0123456789ab".padEnd(64, "0");
    const other = { info: { embedDim, config: { ...config, name: "ViT-X", source: { sha256 } } } };
    const both = new RegExp(`embeddings of ${config.name} \\(.*and not of ViT-X \\(.*0123456789ab`);
    const search = await rejectsWith("E_ARGUMENT", () => collection.search(axis(0), 1, other));
    assert.match(search.message, both);
    const upsert = await rejectsWith("E_ARGUMENT", () => collection.upsert([{ id: "e" }], axis(1), other));
    assert.match(upsert.message, both);
    assert.equal(collection.size, 3);
  });

  it("a file has ids, metadata and the model; `torchclip search` reads it", async () => {
    using collection = await photos();
    await collection.delete(["b"]);
    const file = join(folder, "photos.npy");
    await collection.save(file);
    using opened = await EmbeddingCollection.open(file);
    assert.deepEqual([...opened.entries()], [...collection.entries()]);
    assert.deepEqual(opened.model, collection.model);
    await opened.upsert([{ id: "n" }], axis(30), clip);
    assert.deepEqual(idsOf((await opened.search(axis(30), 1, clip))[0]), ["n"]);
    const { status, stdout, stderr } = commandLine(join(folder, "cache"))(
      "search",
      file,
      "a red circle",
      "-m",
      "tiny",
      "--json",
    );
    assert.equal(status, 0, stderr);
    const [{ hits }] = JSON.parse(stdout) as [{ hits: { name: string }[] }];
    assert.deepEqual(hits.map(({ name }) => name).sort(), ["a", "c"]);
    const about = JSON.parse(readFileSync(`${file}.json`, "utf8")) as { names: string[] };
    writeFileSync(`${file}.json`, JSON.stringify({ ...about, names: ["a", "a"] }));
    await rejectsWith("E_INDEX_CORRUPT", () => EmbeddingCollection.open(file));
    writeFileSync(`${file}.json`, JSON.stringify({ names: ["a", "c"] }));
    await rejectsWith("E_INDEX_CORRUPT", () => EmbeddingCollection.open(file));
  });

  it("wrong entries are E_ARGUMENT with their index, and nothing is added", async () => {
    using collection = await photos();
    const wrong = async (entries: { id: string }[], embeddings: Embeddings, index?: number) => {
      const error = await rejectsWith("E_ARGUMENT", () => collection.upsert(entries, embeddings, clip));
      assert.equal(error.index, index);
    };
    await wrong([{ id: "e" }], axis(1, 2));
    await wrong([{ id: "e" }, { id: "e" }], axis(1, 2), 1);
    await wrong([{ id: "" }], axis(1), 0);
    const nan = axis(1, 2);
    nan.data.fill(NaN, nan.dim);
    await wrong([{ id: "e" }, { id: "f" }], nan, 1);
    await wrong([{ id: "e" }], { data: new Float32Array(5), rows: 1, dim: 5 });
    assert.deepEqual([collection.size, collection.unused], [3, 0]);
    collection.close();
    await rejectsWith("E_CLOSED", () => collection.search(axis(0), 1, clip));
  });
});
