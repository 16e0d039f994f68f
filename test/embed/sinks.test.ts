import assert from "node:assert/strict";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import * as lancedb from "@lancedb/lancedb";
import { embedImagesTo, embedTextsTo, type EmbedToOptions } from "../../lib/embed/embed-to.js";
import { parseTarget, type DatabaseTarget } from "../../lib/embed/sinks/target.js";
import { imageSource } from "../../lib/embed/sources.js";
import { load, type Clip } from "../../lib/index.js";
import { colourImages, COLOURS } from "../support/colours.js";
import { rejectsWith, temporaryFolder } from "../support/index.js";
import { QdrantModel } from "../support/qdrant.js";
import { assertVectors, rowsOf } from "../support/vectors.js";

interface Stored {
  id: string;
  name: string;
  source: string;
  kind: string;
  model: string;
  embedding: Iterable<number>;
}

/** A database that the same cases run against. */
interface Database {
  /** A target of this table. */
  target(table: string): string;
  /** All rows of a table, by their names. */
  rows(table: string): Promise<Stored[]>;
  /** Changes the model that all rows of a table name. */
  setModel(table: string, model: string): Promise<unknown>;
}

/** PostgreSQL itself, compiled to WebAssembly, with the extension pgvector, behind its own protocol. */
function postgres(): Database {
  const port = 20_000 + (process.pid % 20_000);
  let db: PGlite;
  let server: PGLiteSocketServer;
  before(async () => {
    db = await PGlite.create({ extensions: { vector } });
    server = new PGLiteSocketServer({ db, port, host: "127.0.0.1" });
    await server.start();
  });
  after(async () => {
    await server.stop();
    await db.close();
  });
  return {
    target: (table) => `pgvector://postgres@127.0.0.1:${port}/postgres?sslmode=disable&table=${table}`,
    async rows(table) {
      const { rows } = await db.query<Stored & { embedding: string }>(
        `SELECT *, embedding::text AS embedding FROM "${table}" ORDER BY name`,
      );
      return rows.map((row) => ({ ...row, embedding: JSON.parse(row.embedding) as number[] }));
    },
    setModel: (table, model) => db.query(`UPDATE "${table}" SET model = $1`, [model]),
  };
}

/** LanceDB in a folder. */
function lance(): Database {
  const folder = join(temporaryFolder(), "lance");
  const open = async (table: string) => (await lancedb.connect(folder)).openTable(table);
  return {
    target: (table) => `lancedb:${folder}?table=${table}`,
    async rows(table) {
      const rows = (await (await open(table)).query().toArray()) as (Stored & { vector: Iterable<number> })[];
      const plain = rows.map(({ id, name, source, kind, model, vector: embedding }) => {
        return { id, name, source, kind, model, embedding: Array.from(embedding) };
      });
      return plain.sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    setModel: async (table, model) => (await open(table)).update({ values: { model } }),
  };
}

/** A model of the server's REST interface: Qdrant itself could not be had for tests. */
function qdrant(): Database {
  const server = new QdrantModel();
  before(() => server.start());
  after(() => server.stop());
  return {
    target: (table) => `qdrant://127.0.0.1:${server.port}/${table}`,
    rows: (table) => {
      const rows = server.points(table).map(({ id, payload, vector: embedding }) => ({
        ...(payload as unknown as Stored),
        id: id.replaceAll("-", ""),
        embedding,
      }));
      return Promise.resolve(rows.sort((a, b) => (a.name < b.name ? -1 : 1)));
    },
    setModel: (table, model) => {
      for (const { payload } of server.points(table)) payload.model = model;
      return Promise.resolve();
    },
  };
}

const DATABASES = { pgvector: postgres, lancedb: lance, qdrant };
const NAMES = COLOURS.map((colour) => `${colour}.png`);

for (const [kind, make] of Object.entries(DATABASES)) {
  describe(`embed --to ${kind}`, function () {
    this.timeout(120_000);
    const folder = temporaryFolder();
    const database = make();
    let clip: Clip;
    let images: number[][];

    before(async () => {
      clip = await load("tiny");
      images = rowsOf(await clip.encodeImages(await colourImages(join(folder, "first"))));
    });
    after(() => clip.close());

    async function embed(source: string, table: string, options: Partial<EmbedToOptions> = {}) {
      const target = parseTarget(database.target(table)) as DatabaseTarget;
      const given = { input: source, source, model: "tiny", ...options };
      return embedImagesTo(clip, await imageSource(source), target, given);
    }

    it("writes rows with their embeddings; a second run embeds nothing", async () => {
      const source = join(folder, "first");
      const first = await embed(source, "first", { create: true });
      assert.deepEqual([first.items, first.embedded, first.existing], [3, 3, 0]);
      const rows = await database.rows("first");
      assert.deepEqual(
        rows.map(({ name, source: from, kind: what }) => [name, from, what]),
        NAMES.map((name) => [name, source, "images"]),
      );
      assertVectors(
        rows.map(({ embedding }) => embedding),
        images,
      );
      assert.match(rows[0].id, /^[0-9a-f]{32}$/);
      assert.match(rows[0].model, /^tiny@[0-9a-f]{16}$/);
      const second = await embed(source, "first");
      assert.deepEqual([second.items, second.embedded, second.existing], [3, 0, 3]);
      assert.deepEqual(await database.rows("first"), rows);
    });

    it("new, renamed, equal, broken and removed files; prune removes what is gone", async () => {
      const source = join(folder, "second");
      await colourImages(source);
      await embed(source, "second", { create: true });
      const other = join(folder, "other");
      await colourImages(other, ["white"]);
      await embed(other, "second");
      await colourImages(source, ["black"]);
      renameSync(join(source, "red.png"), join(source, "rouge.png"));
      await colourImages(join(source, "copy"), ["lime"]);
      rmSync(join(source, "blue.png"));
      writeFileSync(join(source, "broken.png"), "no image");
      const result = await embed(source, "second", { prune: true });
      const { items, embedded, existing, renamed, duplicates, removed } = result;
      assert.deepEqual(
        { items, embedded, existing, renamed, duplicates, removed },
        { items: 5, embedded: 1, existing: 2, renamed: 2, duplicates: 1, removed: 1 },
      );
      assert.deepEqual(
        result.errors.map(({ code, name }) => [code, name]),
        [["E_IMAGE_DECODE", "broken.png"]],
      );
      const names = (await database.rows("second")).map(({ name }) => name);
      assert.deepEqual(names, ["black.png", join("copy", "lime.png"), "rouge.png", "white.png"]);
    });

    it("a run that is stopped goes on; prune sees all rows", async () => {
      const source = join(folder, "third");
      await colourImages(source, ["black", "blue", "gray", "lime", "red", "white"]);
      const controller = new AbortController();
      const onProgress = (done: number) => done >= 4 && controller.abort();
      const stopping = { create: true, batchSize: 2, signal: controller.signal, onProgress };
      await rejectsWith("E_ABORTED", () => embed(source, "third", stopping));
      const before = (await database.rows("third")).length;
      assert.ok(before >= 2 && before < 6, `${before} rows of the stopped run`);
      const { embedded, existing } = await embed(source, "third");
      assert.deepEqual([embedded, existing], [6 - before, before]);
      assert.equal((await database.rows("third")).length, 6);
      for (const colour of ["black", "gray", "white"]) rmSync(join(source, `${colour}.png`));
      assert.equal((await embed(source, "third", { prune: true })).removed, 3);
      assert.deepEqual(
        (await database.rows("third")).map(({ name }) => name),
        NAMES,
      );
    });

    it("texts are rows, too, and auto-rotated images are other rows than those that are not", async () => {
      const target = parseTarget(database.target("texts")) as DatabaseTarget;
      const texts = ["a red circle", "it's \"quoted\"; -- 'x'", "a red circle"];
      const options = { input: "texts", source: "/it's/texts.txt", create: true };
      const result = await embedTextsTo(clip, texts, target, options);
      assert.deepEqual([result.embedded, result.duplicates], [2, 1]);
      const rows = await database.rows("texts");
      assert.deepEqual(
        rows.map(({ name, source }) => [name, source]),
        texts.slice(0, 2).map((name) => [name, "/it's/texts.txt"]),
      );
      assertVectors(
        rows.map(({ embedding }) => embedding),
        rowsOf(await clip.encodeTexts(texts.slice(0, 2))),
      );
      const pruned = await embedTextsTo(clip, texts.slice(1, 2), target, { ...options, prune: true });
      assert.equal(pruned.removed, 1);
      const rotated = await embed(join(folder, "first"), "first", { autoRotate: true });
      assert.equal(rotated.embedded, 3);
    });

    it("a table that is not there, and one of another model, are E_ARGUMENT", async () => {
      const source = join(folder, "first");
      const absent = await rejectsWith("E_ARGUMENT", () => embed(source, "absent"));
      assert.match(absent.message, /absent.* does not exist; --create makes it/);
      await embed(source, "models", { create: true });
      await database.setModel("models", "ViT-X@0123456789abcdef");
      const other = await rejectsWith("E_ARGUMENT", () => embed(source, "models"));
      assert.match(other.message, /holds embeddings of ViT-X@0123456789abcdef, and not of tiny@[0-9a-f]{16}/);
    });
  });
}

describe("embed --to: targets and servers that fail", () => {
  it("reads each form, and refuses others", () => {
    assert.deepEqual(parseTarget("pgvector://me:secret@host:1/db?table=a.b&sslmode=require"), {
      kind: "pgvector",
      url: "postgresql://me:secret@host:1/db?sslmode=require",
      table: "a.b",
    });
    assert.deepEqual(parseTarget("lancedb:some folder/x?table=t"), {
      kind: "lancedb",
      folder: "some folder/x",
      table: "t",
    });
    assert.deepEqual(parseTarget("lancedb:///abs"), { kind: "lancedb", folder: "/abs", table: "torchclip" });
    const collection = "photos";
    assert.deepEqual(parseTarget("qdrant://host/photos"), {
      kind: "qdrant",
      url: "http://host:6333",
      collection,
    });
    const tls = parseTarget("qdrant://host:443/photos?tls=true");
    assert.deepEqual(tls, { kind: "qdrant", url: "https://host:443", collection });
    assert.deepEqual(parseTarget("a.NPY"), { kind: "file", path: "a.NPY" });
    for (const wrong of ["qdrant://host", "lancedb:", "redis://host", "a.txt", "pgvector://host/db?table="])
      assert.throws(() => parseTarget(wrong), { code: "E_ARGUMENT" }, wrong);
  });

  it("batches are cut by their bytes; the key of a Qdrant server comes from QDRANT_API_KEY", async () => {
    const server = new QdrantModel("the key");
    await server.start();
    const clip = await load("tiny");
    const target = parseTarget(`qdrant://127.0.0.1:${server.port}/photos`) as DatabaseTarget;
    const options = { input: "a", source: "a", create: true };
    const before = process.env.QDRANT_API_KEY;
    try {
      delete process.env.QDRANT_API_KEY;
      const refused = await rejectsWith("E_DATABASE", () => embedTextsTo(clip, ["a"], target, options));
      assert.match(refused.message, /answers 401 \(QDRANT_API_KEY holds the key\): Must provide an API key/);
      process.env.QDRANT_API_KEY = "the key";
      const texts = ["a", "b", "c", "d", "e"];
      assert.equal((await embedTextsTo(clip, texts, target, options)).embedded, 5);
      // A row of 192 values takes 192 × 15 bytes and its name.
      const batchBytes = 2 * (192 * 15 + 1);
      const others = texts.map((text) => text.toUpperCase());
      await embedTextsTo(clip, others, target, { ...options, batchBytes });
      assert.deepEqual(server.upserts, [5, 2, 2, 1]);
    } finally {
      if (before === undefined) delete process.env.QDRANT_API_KEY;
      else process.env.QDRANT_API_KEY = before;
      server.stop();
      await clip.close();
    }
  });

  it("a server that is not there is E_DATABASE, without the password", async () => {
    const clip = await load("tiny");
    const text = (target: string) =>
      embedTextsTo(clip, ["a"], parseTarget(target) as DatabaseTarget, { input: "a", source: "a" });
    for (const target of ["pgvector://me:secret@127.0.0.1:1/db", "qdrant://127.0.0.1:1/photos"]) {
      const { message } = await rejectsWith("E_DATABASE", () => text(target));
      assert.match(message, /127\.0\.0\.1:1/);
      assert.doesNotMatch(message, /secret/);
    }
    await clip.close();
  });
});
