import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadDataset, readSentences } from "../../lib/datasets/index.js";
import { imageSource } from "../../lib/embed/sources.js";
import { readLines } from "../../lib/util/text-file.js";
import { errorOf, temporaryFolder } from "../support/index.js";

const MARK = "\ufeff";
const ROWS = [
  ["a.png", "cat"],
  ["b.png", "dog"],
];

describe("lists of images", () => {
  const folder = temporaryFolder();
  const file = (name: string, content: string | Buffer) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const separated = (by: string) => [["path", "label"], ...ROWS].map((row) => row.join(by)).join("\n");
  const json = ROWS.map(([path, label]) => JSON.stringify({ path, label })).join("\r\n");

  const lists: [string, string | Buffer][] = [
    ["a.csv", separated(",")],
    ["a.CSV", MARK + separated(",")],
    ["a.TSV", separated("\t")],
    ["b.tsv", MARK + separated("\t")],
    ["a.JSONL", json],
    ["b.jsonl", `${MARK}${json}\n\n`],
    ["utf16.csv", Buffer.from(MARK + separated(","), "utf16le")],
  ];
  for (const [name, content] of lists) {
    it(`${name}: data set and source of images`, async () => {
      const path = file(name, content);
      const data = await loadDataset(path);
      assert.deepEqual(
        [...data].map((sample) => [sample.name, data.classes[sample.label]]),
        ROWS,
      );
      assert.equal(await data.at(0).read(), join(folder, "a.png"));
      const source = await imageSource(path);
      assert.equal(source.count, 2);
      assert.deepEqual((await source.images(1).next()).value, {
        name: "b.png",
        image: join(folder, "b.png"),
      });
    });
  }

  it("text files: without the byte order mark, of every kind", async () => {
    assert.deepEqual(await readLines(file("lines.txt", `${MARK}one\r\n\r\ntwo\n`)), ["one", "two"]);
    const source = await imageSource(file("list.txt", `${MARK}a.png\nb.png`));
    assert.deepEqual((await source.images(0).next()).value, { name: "a.png", image: join(folder, "a.png") });
    assert.deepEqual(await readSentences(file("s.tsv", `${MARK}sentence\tlabel\ngood\t1\n`)), [
      { text: "good", label: "1" },
    ]);
  });

  it("bytes that are no UTF-8: E_DATASET_FORMAT with the file", async () => {
    const path = file("latin1.csv", Buffer.from("path,label\ncaf\xe9.png,cat\n", "latin1"));
    for (const read of [loadDataset, imageSource]) {
      const error = await errorOf(() => read(path));
      assert.deepEqual([error.code, error.subject], ["E_DATASET_FORMAT", path]);
    }
  });

  const bad: [string, string, number, RegExp][] = [
    ["empty.csv", "path,label\na.png,cat\nb.png,\n", 3, /label is empty/],
    ["spaces.csv", "path,label\na.png, \n", 2, /label is empty/],
    ["empty.jsonl", '{"path":"a.png","label":"cat"}\n\n{"path":"b.png","label":""}\n', 3, /label is empty/],
    ["none.csv", "path,class\na.png,cat\n", 2, /no column label.*path, class/],
    ["path.csv", "path,label\n,cat\n", 2, /no path/],
    ["array.jsonl", '{"path":"a.png","label":"cat"}\n[1]\n', 2, /no JSON object/],
    ["number.jsonl", '\n{"path":"a.png","label":"cat"}\n{oops\n', 3, /JSON/],
  ];
  for (const [name, content, line, message] of bad) {
    it(`${name}: E_DATASET_FORMAT with line ${line}`, async () => {
      const error = await errorOf(() => loadDataset(file(name, content)));
      assert.deepEqual([error.code, error.index], ["E_DATASET_FORMAT", line]);
      assert.match(error.message, message);
      assert.ok(error.message.includes(`${name}:${line}`), error.message);
    });
  }

  it("labels that are numbers are classes in order of their value", async () => {
    const data = await loadDataset(file("ids.csv", "path,label\na.png,10\nb.png,2\nc.png,1\n"));
    assert.deepEqual(data.classes, ["1", "2", "10"]);
    const named = await loadDataset(file("named.csv", "path,label\na.png,dog\nb.png,cat\n"), {
      classes: ["dog", "cat"],
    });
    assert.deepEqual(
      [...named].map((sample) => sample.label),
      [0, 1],
    );
  });

  it("classnames.txt beside shards may begin with a byte order mark and end its lines with CR LF", async () => {
    const { pack } = (await import("tar-stream")).default;
    const shard = pack();
    shard.entry({ name: "x.qoi" }, "image");
    shard.entry({ name: "x.cls" }, "0");
    shard.entry({ name: "y.heic" }, "image");
    shard.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of shard) chunks.push(chunk as Buffer);
    mkdirSync(join(folder, "shards"));
    file("shards/classnames.txt", `${MARK}cat\r\ndog\r\n`);
    const data = await loadDataset(file("shards/0.tar", Buffer.concat(chunks)));
    assert.deepEqual([data.classes, data.length], [["cat", "dog"], 1]);
    assert.match(data.notes.join(), /1 \.heic/);
    const source = await imageSource(join(folder, "shards", "0.tar"));
    const found = [];
    for await (const image of source.images(0)) found.push(image);
    assert.deepEqual(found, [{ name: "x.qoi", image: Buffer.from("image") }]);
    assert.match(source.notes().join(), /1 \.heic/);
    assert.equal((await source.images(1).next()).done, true);
  });
});
