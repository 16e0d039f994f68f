import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { limitCaptions } from "../../lib/datasets/captions/caption-set.js";
import { loadCaptions, type CaptionOptions } from "../../lib/datasets/index.js";
import { fixture, rejectsWith, temporaryFolder } from "../support/index.js";

/** A folder with these files: images by their name, all others with their content. */
function files(content: Record<string, string | object>): string {
  const root = temporaryFolder();
  for (const [name, text] of Object.entries(content)) {
    const file = join(root, name);
    mkdirSync(dirname(file), { recursive: true });
    if (/\.(jpg|png)$/.test(name)) copyFileSync(fixture("images/rgb.png"), file);
    else writeFileSync(file, typeof text === "string" ? text : JSON.stringify(text));
  }
  return root;
}

/** Names and captions of a file of captions. */
async function read(file: string, options?: CaptionOptions): Promise<[string, readonly string[]][]> {
  const { images } = await loadCaptions(file, options);
  return images.map(({ name, captions }) => [name, captions]);
}

/** An image of Karpathy's files, with all fields of the genuine ones. */
function karpathy(id: number, split: string, captions: string[], folder?: string) {
  return {
    ...(folder === undefined ? {} : { filepath: folder, cocoid: 1000 + id }),
    filename: `${id}.jpg`,
    imgid: id,
    split,
    sentids: captions.map((_, i) => 10 * id + i),
    sentences: captions.map((raw, i) => ({ tokens: raw.split(" "), raw, imgid: id, sentid: 10 * id + i })),
  };
}

const SIX = ["one", "two", "three", "four", "five", "six"];

describe("Karpathy's dataset_coco.json and dataset_flickr30k.json", () => {
  const coco = {
    dataset: "coco",
    images: [
      karpathy(1, "test", SIX, "val2014"),
      karpathy(2, "restval", ["rest"], "val2014"),
      karpathy(3, "train", ["train"], "train2014"),
      karpathy(4, "test", ["last"], "val2014"),
      karpathy(5, "val", ["val"], "val2014"),
    ],
  };
  const images = ["val2014/1.jpg", "val2014/2.jpg", "train2014/3.jpg", "val2014/4.jpg", "val2014/5.jpg"];
  const root = () =>
    files({ "dataset_coco.json": coco, ...Object.fromEntries(images.map((name) => [name, ""])) });

  it("the test split with the first five captions, images below their filepath", async () => {
    const folder = root();
    const set = await loadCaptions(join(folder, "dataset_coco.json"));
    assert.deepEqual(
      set.images.map(({ name, image }) => [name, image]),
      [
        [join("val2014", "1.jpg"), join(folder, "val2014", "1.jpg")],
        [join("val2014", "4.jpg"), join(folder, "val2014", "4.jpg")],
      ],
    );
    assert.deepEqual(set.images[0].captions, SIX.slice(0, 5));
    assert.deepEqual([set.split, set.notes], ["test", []]);
    assert.equal(limitCaptions(set, 1).images.length, 1);
  });

  it("train holds restval as well; val and restval alone; --max-captions", async () => {
    const file = join(root(), "dataset_coco.json");
    const captions = async (options: CaptionOptions) => (await read(file, options)).map(([, own]) => own);
    assert.deepEqual(await captions({ split: "train" }), [["rest"], ["train"]]);
    assert.deepEqual(await captions({ split: "restval" }), [["rest"]]);
    assert.deepEqual(await captions({ split: "valid" }), [["val"]]);
    assert.deepEqual(await captions({ maxCaptions: 6 }), [SIX, ["last"]]);
    const error = await rejectsWith("E_DATASET_NOT_FOUND", () => read(file, { split: "other" }));
    assert.match(error.message, /no split "other"; it has test, restval, train, val/);
  });

  it("Flickr30k has no filepath; a root may hold COCO's images without their folder", async () => {
    const flickr = files({
      "dataset_flickr30k.json": { dataset: "flickr30k", images: [karpathy(1, "test", ["a"])] },
      "flickr30k-images/1.jpg": "",
    });
    const file = join(flickr, "dataset_flickr30k.json");
    assert.deepEqual(await read(file, { root: join(flickr, "flickr30k-images") }), [["1.jpg", ["a"]]]);
    const flat = files({ "1.jpg": "", "4.jpg": "", "c.json": coco });
    assert.equal((await read(join(flat, "c.json"))).length, 2);
  });

  it("damaged entries are named by their index", async () => {
    const broken = async (change: object) => {
      const image = { ...karpathy(1, "test", ["a"]), ...change };
      const root = files({
        "c.json": { images: [karpathy(0, "test", ["x"]), image] },
        "0.jpg": "",
        "1.jpg": "",
      });
      return (await rejectsWith("E_DATASET_FORMAT", () => read(join(root, "c.json")))).message;
    };
    assert.match(await broken({ filename: 3 }), /c\.json: images\[1\]\.filename must be a string/);
    assert.match(await broken({ split: null }), /images\[1\]\.split must be a string, not null/);
    assert.match(await broken({ sentences: "a" }), /images\[1\]\.sentences must be a list/);
    assert.match(await broken({ sentences: [{ raw: 1 }] }), /images\[1\]\.sentences\[0\]\.raw/);
    assert.match(await broken({ sentences: undefined }), /neither in Karpathy's form/);
  });
});

describe("COCO's captions, and CLIP_benchmark's coco_test_karpathy.json", () => {
  const coco = {
    info: {},
    licenses: [],
    images: [
      { id: 9, file_name: "COCO_val2014_000000000009.jpg", width: 640, height: 480 },
      { id: 25, file_name: "COCO_val2014_000000000025.jpg" },
    ],
    annotations: [
      { id: 1, image_id: 25, caption: "a giraffe" },
      { id: 2, image_id: 9, caption: "a meal\n" },
      { id: 3, image_id: 25, caption: "another giraffe" },
    ],
  };
  const names = coco.images.map((image) => image.file_name);
  const made = (change: object, ...images: string[]) =>
    files({
      "captions.json": { ...coco, ...change },
      ...Object.fromEntries(images.map((name) => [name, ""])),
    });

  it("all captions of each image, in the order of the images", async () => {
    const file = join(made({}, ...names), "captions.json");
    assert.deepEqual(await read(file), [
      [names[0], ["a meal\n"]],
      [names[1], ["a giraffe", "another giraffe"]],
    ]);
    assert.deepEqual((await read(file, { maxCaptions: 1 }))[1][1], ["a giraffe"]);
    await rejectsWith("E_DATASET_NOT_FOUND", () => read(file, { split: "test" }));
  });

  it("images without a caption, captions without an image and missing files are named; --strict fails", async () => {
    const images = [...coco.images, { id: 30, file_name: "30.jpg" }, { id: 31, file_name: "31.jpg" }];
    const annotations = [
      ...coco.annotations,
      { id: 4, image_id: 77, caption: "nothing" },
      { id: 5, image_id: 31, caption: "gone" },
      { id: 6, image_id: 9, caption: "  " },
    ];
    const file = join(made({ images, annotations }, ...names, "30.jpg"), "captions.json");
    const { notes, images: found } = await loadCaptions(file);
    assert.equal(found.length, 2);
    const expected = [
      /1 image has no caption and is left out: 30\.jpg\./,
      /1 caption has no image and is left out: annotations\[3\] of image 77\./,
      /1 image of a caption is not there and is left out: 31\.jpg\./,
      /1 caption is empty and is left out: annotations\[5\]\./,
    ];
    assert.equal(notes?.length, expected.length);
    for (const [i, part] of expected.entries()) assert.match(notes[i], part);
    const error = await rejectsWith("E_DATASET_FORMAT", () => loadCaptions(file, { strict: true }));
    for (const { source } of expected)
      assert.match(error.message, new RegExp(source.replace(" and is left out", "")));
  });

  it("damaged entries are named by their index", async () => {
    const broken = async (change: object) => {
      const file = join(made(change, ...names), "captions.json");
      return (await rejectsWith("E_DATASET_FORMAT", () => read(file))).message;
    };
    assert.match(
      await broken({ annotations: [{ image_id: 9 }] }),
      /annotations\[0\]\.caption must be a string/,
    );
    assert.match(await broken({ annotations: [{ caption: "a" }] }), /annotations\[0\]\.image_id/);
    assert.match(await broken({ annotations: ["a"] }), /annotations\[0\] must be an object/);
    assert.match(await broken({ images: [{ id: 1 }] }), /images\[0\]\.file_name/);
    const twice = [coco.images[0], coco.images[0]];
    assert.match(await broken({ images: twice }), /images\[1\]\.id is 9, as an image before it has/);
    assert.match(await broken({ images: {} }), /images must be a list/);
    const text = join(files({ "c.json": '{ "images": [' }), "c.json");
    assert.match(
      (await rejectsWith("E_DATASET_FORMAT", () => read(text))).message,
      /c\.json: it is not JSON/,
    );
  });

  it("where all images are missing, the folder and the option are named", async () => {
    const error = await rejectsWith("E_DATASET_NOT_FOUND", () => read(join(made({}), "captions.json")));
    assert.match(error.message, /none of the 2 images is in .*COCO_val2014_000000000009\.jpg.*--root/);
  });
});

describe("CLIP_benchmark's flickr30k_test_karpathy.txt", () => {
  const lines = ["image,caption", "1.jpg,A man, a plan .", "1.jpg,Another one .", '2.jpg,"A quote" here', ""];

  it("the name ends at its ending; captions hold commas and quotes", async () => {
    const root = files({ "f.txt": lines.join("\n"), "1.jpg": "", "2.jpg": "" });
    assert.deepEqual(await read(join(root, "f.txt")), [
      ["1.jpg", ["A man, a plan .", "Another one ."]],
      ["2.jpg", ['"A quote" here']],
    ]);
  });

  it("a line without an image is named", async () => {
    const root = files({ "f.txt": [...lines.slice(0, 3), "no image here"].join("\n"), "1.jpg": "" });
    const error = await rejectsWith("E_DATASET_FORMAT", () => read(join(root, "f.txt")));
    assert.match(error.message, /f\.txt:4: no "image\.jpg,caption"/);
    assert.equal(error.index, 4);
  });
});

describe("lists of image and caption", () => {
  it("open_clip's columns, several captions an image, and columns of other names", async () => {
    const root = files({
      "a.csv": 'filepath,title\n1.png,"one, two"\n2.png,three\n1.png,four\n',
      "b.tsv": 'picture\ttext in it\n1.png\tone "quoted"\n',
      "tabs.csv": 'filepath\ttitle\n1.png\t"one\ttwo"\n',
      "c.jsonl": '{"image":"1.png","caption":"a"}\n\n{"image":"2.png","captions":["b","c"]}\n',
      "1.png": "",
      "2.png": "",
    });
    assert.deepEqual(await read(join(root, "a.csv")), [
      ["1.png", ["one, two", "four"]],
      ["2.png", ["three"]],
    ]);
    const keys = { imageKey: "picture", captionKey: "text in it" };
    assert.deepEqual(await read(join(root, "b.tsv"), keys), [["1.png", ['one "quoted"']]]);
    assert.deepEqual(await read(join(root, "tabs.csv"), { separator: "\t" }), [["1.png", ["one\ttwo"]]]);
    assert.deepEqual(await read(join(root, "c.jsonl")), [
      ["1.png", ["a"]],
      ["2.png", ["b", "c"]],
    ]);
  });

  it("a column split chooses rows; test where it is there, else the first", async () => {
    const rows = ["path,caption,split", "1.png,a,train", "2.png,b,test", "1.png,c,validation"];
    const root = files({ "a.csv": rows.join("\n"), "1.png": "", "2.png": "" });
    const file = join(root, "a.csv");
    assert.deepEqual(await read(file), [["2.png", ["b"]]]);
    assert.deepEqual(await read(file, { split: "val" }), [["1.png", ["c"]]]);
    await rejectsWith("E_DATASET_NOT_FOUND", () => read(file, { split: "other" }));
  });

  it("what is missing is named by file, line and column", async () => {
    const broken = async (name: string, text: string, options?: CaptionOptions) => {
      const root = files({ [name]: text, "1.png": "" });
      return rejectsWith("E_DATASET_FORMAT", () => read(join(root, name), options));
    };
    const none = await broken("a.csv", "path,label\n1.png,cat\n");
    assert.match(
      none.message,
      /a\.csv:2: no caption in the column title \(or caption, captions, text\); the row has/,
    );
    assert.equal(none.index, 2);
    const image = await broken("a.csv", "path,caption\n1.png,a\n,b\n");
    assert.match(image.message, /a\.csv:3: no image in the column filepath/);
    const key = await broken("a.csv", "path,caption\n1.png,a\n", { captionKey: "title" });
    assert.match(key.message, /no caption in the column title; the row has path, caption/);
    assert.match(
      (await broken("a.jsonl", '{"path":"1.png","captions":[1]}')).message,
      /a\.jsonl:1: no caption/,
    );
    assert.match((await broken("a.jsonl", "{")).message, /a\.jsonl:1/);
    const lines = '{"image":"1.png","captions":["a"]}\n{"image":"2.png","captions":[]}\n';
    const some = files({ "b.jsonl": lines, "1.png": "", "2.png": "" });
    const { notes } = await loadCaptions(join(some, "b.jsonl"));
    assert.match(notes?.join(" ") ?? "", /1 image has no caption and is left out: 2\.png\./);
    await broken("a.parquet", "");
  });

  it("URLs are not looked for; a file that is missing is", async () => {
    const root = files({ "a.csv": "path,caption\nhttp://host/1.png,a\nmissing.png,b\n" });
    const { images, notes } = await loadCaptions(join(root, "a.csv"));
    assert.deepEqual(
      images.map(({ image }) => image),
      ["http://host/1.png"],
    );
    assert.match(String(notes), /missing\.png/);
    await rejectsWith("E_DATASET_NOT_FOUND", () => loadCaptions(join(root, "none.csv")));
  });
});
