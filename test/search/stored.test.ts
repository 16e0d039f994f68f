import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parquetMetadata, type SchemaElement } from "hyparquet";
import { parquetWriteBuffer } from "hyparquet-writer";
import { embedImages } from "../../lib/embed/embed.js";
import { imageSource } from "../../lib/embed/sources.js";
import { load, type Clip } from "../../lib/index.js";
import { checkPages } from "../../lib/search/parquet-pages.js";
import { isImageQuery } from "../../lib/search/query.js";
import { openStored } from "../../lib/search/stored.js";
import { errorOf, fixture, rejectsWith, temporaryFolder, tinyModel, type Thrown } from "../support/index.js";

interface Options {
  record?: object;
  rowGroupSize?: number;
}

/** As other programs write them: anything may be null. */
const SCHEMA: Record<string, SchemaElement[]> = {
  name: [{ name: "name", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" }],
  embedding: [
    { name: "embedding", repetition_type: "OPTIONAL", num_children: 1, converted_type: "LIST" },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    { name: "element", type: "DOUBLE", repetition_type: "OPTIONAL" },
  ],
  other: [{ name: "other", type: "DOUBLE", repetition_type: "OPTIONAL" }],
};

const names = (count: number) => Array.from({ length: count }, (_, i) => `n${i}`);
/** The floats of row `row`, all of them numbers that float32 holds exactly. */
const vector = (row: number, dim = 3) => Array.from({ length: dim }, (_, i) => row + i / 4);

describe("what embed wrote, as search reads it", () => {
  const folder = temporaryFolder();
  const images = join(folder, "images");
  const npy = join(folder, "a.npy");
  const parquet = join(folder, "a.parquet");
  let clip: Clip;

  before(async () => {
    mkdirSync(images);
    for (const name of ["a.png", "b.png"]) copyFileSync(fixture("images/rgb.png"), join(images, name));
    writeFileSync(join(images, "c.png"), "not an image");
    clip = await load(tinyModel, { device: "cpu", threads: 1 });
    const options = { input: images, model: "tiny" };
    for (const out of [npy, parquet]) await embedImages(clip, await imageSource(images), out, options);
  });
  after(() => clip.close());

  /** A Parquet file of columns as `SCHEMA` has them, in row groups of `rowGroupSize` rows. */
  function write(
    name: string,
    columns: Record<string, unknown[]>,
    { record, rowGroupSize = 2 }: Options = {},
  ): string {
    const file = join(folder, name);
    const kvMetadata = record ? [{ key: "torchclip", value: JSON.stringify(record) }] : undefined;
    const given = Object.keys(columns);
    const columnData = given.map((column) => ({ name: column, data: columns[column] }));
    const schema = [
      { name: "root", num_children: given.length },
      ...given.flatMap((column) => SCHEMA[column]),
    ];
    writeFileSync(file, Buffer.from(parquetWriteBuffer({ columnData, schema, rowGroupSize, kvMetadata })));
    return file;
  }

  it(".npy and .parquet: the same rows, names and record", async () => {
    const [one, two] = [await openStored(npy), await openStored(parquet)];
    assert.deepEqual([one.index.rows, one.index.dim], [3, clip.info.embedDim]);
    for (const row of [0, 1, 2]) assert.deepEqual(two.index.vector(row), one.index.vector(row));
    assert.ok(two.index.vector(2).every(Number.isNaN), "the row of the failed image");
    assert.deepEqual(two.names, ["a.png", "b.png", "c.png"]);
    assert.deepEqual(two.names, one.names);
    const expected = {
      kind: "images",
      input: images,
      model: { name: "tiny", sha256: clip.info.config.source.sha256 },
    };
    const { settings, ...record } = one.record;
    assert.deepEqual(record, expected);
    assert.match(settings!, /^[0-9a-f]{32}$/);
    assert.deepEqual(two.record, one.record);
    assert.deepEqual(two.contents, one.contents);
    for (const content of one.contents) assert.match(content, /^[0-9a-f]{32}$/);
    assert.equal(one.contents.length, 3);
    assert.deepEqual([one.recordFile, two.recordFile], [`${npy}.json`, parquet]);
    const small = await openStored(parquet, { precision: "int8" });
    assert.equal(small.index.precision, "int8");
    for (const { index } of [one, two, small]) index.close();
  });

  it("a .parquet of several row groups, with nulls and without a record", async () => {
    const rows = [null, vector(1), vector(2), null, vector(4)];
    const file = write("groups.parquet", { name: names(5), embedding: rows });
    const { index, names: found, record } = await openStored(file);
    assert.deepEqual([index.rows, index.dim, record.model], [5, 3, undefined]);
    assert.deepEqual(found, ["n0", "n1", "n2", "n3", "n4"]);
    for (const [i, row] of rows.entries())
      assert.deepEqual(Array.from(index.vector(i)), row ?? [NaN, NaN, NaN]);
    const { indices } = await index.search({ data: Float32Array.from([1, 1, 1]), rows: 1, dim: 3 }, 5);
    assert.deepEqual(Array.from(indices), [4, 2, 1, -1, -1], "rows without an embedding are never hits");
    index.close();
  });

  it("a record of an earlier version: the model's own name; without a hash nothing says the model", async () => {
    const columns = { name: names(1), embedding: [vector(0)] };
    const file = (name: string, record: object) => write(name, columns, { record });
    const old = await openStored(
      file("old.parquet", { model: { name: "ViT-B/32", weights: { sha256: "ab" } } }),
    );
    assert.deepEqual(old.record.model, { name: "ViT-B/32", sha256: "ab" });
    const bare = await openStored(file("bare.parquet", { model: { name: "ViT-B/32" } }));
    assert.equal(bare.record.model, undefined);
    for (const { index } of [old, bare]) index.close();
  });

  it("a .parquet that is not an index: E_INDEX_CORRUPT says what is wrong", async () => {
    const name = names(2);
    const good = [vector(0), vector(1)];
    const cases: [RegExp, Record<string, unknown[]>, object?][] = [
      [/no column "embedding"/, { name, other: [1, 2] }],
      [/no column "name"/, { embedding: good }],
      [/embedding of row 2 has 2 values, not 3/, { name: names(3), embedding: [...good, vector(2, 2)] }],
      [/embedding of row 0 has 3 values, not 4/, { name, embedding: good }, { dim: 4 }],
      [/its dim must be a whole number/, { name, embedding: good }, { dim: -1 }],
      [/embedding of row 1 holds what is no number/, { name, embedding: [vector(0), [1, null, 2]] }],
      [/name of row 1 must be a string/, { name: ["a", null], embedding: good }],
      [/length of its first embedding/, { name, embedding: [null, null] }],
      [/kind must be a string/, { name, embedding: good }, { kind: 3 }],
    ];
    for (const [i, [why, columns, record]] of cases.entries()) {
      const file = write(`bad-${i}.parquet`, columns, { record });
      const error = await rejectsWith("E_INDEX_CORRUPT", () => openStored(file), why.source);
      assert.ok(error.message.startsWith(`${file}: `) && why.test(error.message), `${why}: ${error.message}`);
    }
  });

  it("no file, no Parquet, a folder, an empty file, a file that is cut off", async () => {
    const bytes = readFileSync(parquet);
    const made = (name: string, content: Uint8Array | string) => {
      writeFileSync(join(folder, name), content);
      return join(folder, name);
    };
    mkdirSync(join(folder, "folder.parquet"));
    for (const [file, code] of [
      [join(folder, "none.parquet"), "E_INDEX_NOT_FOUND"],
      [join(folder, "folder.parquet"), "E_INDEX_CORRUPT"],
      [made("empty.parquet", ""), "E_INDEX_CORRUPT"],
      [made("text.parquet", "a text that is longer than a footer"), "E_INDEX_CORRUPT"],
      [made("cut.parquet", bytes.subarray(0, bytes.length - 9)), "E_INDEX_CORRUPT"],
      [made("begin.parquet", bytes.subarray(100)), "E_INDEX_CORRUPT"],
    ]) {
      const error = await rejectsWith(code, () => openStored(file), file);
      assert.ok(error.message.includes(file), error.message);
    }
  });

  it("a byte of a .parquet is changed: the rows or E_INDEX_CORRUPT, and never an endless loop", async () => {
    const bytes = readFileSync(parquet);
    const file = join(folder, "damaged.parquet");
    const footer = bytes.length - 8 - bytes.readUInt32LE(bytes.length - 8);
    const record = bytes.indexOf('{"torchclip"');
    // The headers of pages are at the beginning of the columns; values lie between them and the footer.
    const places = Array.from({ length: record }, (_, i) => i).filter((i) => i < 120 || i >= footer);
    for (const at of places) {
      for (const value of [bytes[at] ^ 128, 3, 26]) {
        writeFileSync(file, Buffer.concat([bytes.subarray(0, at), Buffer.of(value), bytes.subarray(at + 1)]));
        const opened = await openStored(file).catch((error: unknown) => error as Thrown);
        const what = `byte ${at} is ${value}`;
        if (opened instanceof Error) {
          assert.equal(opened.code, "E_INDEX_CORRUPT", `${what}: ${opened.stack}`);
          continue;
        }
        assert.equal(opened.index.rows, 3, what);
        assert.ok(!opened.index.vector(0).every(Number.isNaN), `${what}: no row is lost`);
        opened.index.close();
      }
    }
  });

  it("a column whose pages hold fewer values than its metadata says is refused", async () => {
    const bytes = Uint8Array.from(readFileSync(parquet)).buffer;
    const file = {
      byteLength: bytes.byteLength,
      slice: (start: number, end?: number) => bytes.slice(start, end),
    };
    const [{ columns }] = parquetMetadata(bytes).row_groups;
    await checkPages(file, columns, 1 << 20);
    columns[1].meta_data!.num_values += 3n;
    const { message } = await errorOf(() => checkPages(file, columns, 1 << 20));
    assert.match(message, /pages of a column hold 576 values, not 579/);
  });

  it("a row group that is too large to be decoded as a whole is refused", async () => {
    const count = (1 << 17) + 1;
    const embedding = Array.from({ length: count }, () => null);
    const file = write("large.parquet", { name: names(count), embedding }, { rowGroupSize: count });
    const { code, message } = await errorOf(() => openStored(file));
    assert.equal(code, "E_INDEX_CORRUPT", message);
    assert.match(message, /row group 0 is too large to read: 131073 rows/);
  });

  it("the JSON beside a .npy: a damaged one is E_INDEX_CORRUPT, without one there are no names", async () => {
    const bare = join(folder, "bare.npy");
    copyFileSync(npy, bare);
    const { names: none, record, recordFile, index } = await openStored(bare);
    assert.deepEqual([none, record, recordFile], [[], {}, undefined]);
    index.close();
    for (const [text, why] of [
      ["{", /is not JSON/],
      ["[]", /must be an object/],
      ["{}", /names must be a list, not missing/],
      [`{"names":["a","b"]}`, /names 2 rows, .*bare\.npy has 3/],
      [`{"names":["a",2,"c"]}`, /names\[1\] must be a string/],
    ] as const) {
      writeFileSync(`${bare}.json`, text);
      const error = await rejectsWith("E_INDEX_CORRUPT", () => openStored(bare));
      assert.ok(error.message.startsWith(`${bare}.json: `) && why.test(error.message), error.message);
    }
  });

  it("queries: what is written as a path is an image, and has to be there", async () => {
    const there = join(images, "a.png");
    const remote = ["https://example.com/a.png", "HTTP://example.com/?a"];
    for (const query of [there, pathToFileURL(there).href, images, ...remote])
      assert.equal(await isImageQuery(query), true, query);
    for (const query of ["a red circle", "photo", "http: the protocol", "a photo of a dog.", "3.14", "jpg"])
      assert.equal(await isImageQuery(query), false, query);
    const files = ["none.jpg", "none.PNG", "none.heic", ".none", "file:///none.jpg", "file:none"];
    for (const query of [...files, "./none", "../none", "~/none", "none/none"]) {
      const error = await rejectsWith("E_IMAGE_READ", () => isImageQuery(query), query);
      assert.ok(error.message.includes("none") && error.message.includes("--text"), error.message);
    }
  });
});
