import assert from "node:assert/strict";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { loadDataset, type Dataset } from "../../lib/datasets/index.js";
import { imageSource, type ImageSource } from "../../lib/embed/sources.js";
import { decodeImage } from "../../lib/images/decode.js";
import { fixture, rejectsWith, root, temporaryFolder } from "../support/index.js";
import { runScript } from "../support/process.js";

/** A folder with an image at each of the paths; a path that ends with "/" is an empty folder. */
function tree(...paths: string[]): string {
  const folder = temporaryFolder();
  for (const path of paths) {
    mkdirSync(path.endsWith("/") ? join(folder, path) : dirname(join(folder, path)), { recursive: true });
    if (!path.endsWith("/")) copyFileSync(fixture("images/rgb.png"), join(folder, path));
  }
  return folder;
}

const names = (data: Dataset) => [...data].map((sample) => sample.name);

async function sourceNames(source: ImageSource): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of source.images(0)) found.push(name);
  return found;
}

describe("folders of images", () => {
  it("hidden files and folders, and those that archivers leave, are no classes and no images", async () => {
    const folder = tree(
      "cat/1.png",
      "dog/1.png",
      ".ipynb_checkpoints/1.png",
      "__MACOSX/cat/1.png",
      "@eaDir/",
      "dog/._1.png",
      "dog/.thumbs/2.png",
    );
    const data = await loadDataset(folder);
    assert.deepEqual(
      [data.classes, names(data)],
      [
        ["cat", "dog"],
        ["cat/1.png", "dog/1.png"],
      ],
    );
    assert.deepEqual(await sourceNames(await imageSource(folder)), ["cat/1.png", "dog/1.png"]);
  });

  it("links to folders and images are followed, a link back is not", async () => {
    const elsewhere = tree("a.png", "sub/b.png");
    const folder = tree("cat/1.png");
    symlinkSync(elsewhere, join(folder, "dog"));
    symlinkSync(join(elsewhere, "a.png"), join(folder, "cat", "2.png"));
    symlinkSync("..", join(folder, "cat", "back"));
    symlinkSync(elsewhere, join(elsewhere, "self"));
    const data = await loadDataset(folder);
    assert.deepEqual(data.classes, ["cat", "dog"]);
    assert.deepEqual(names(data), ["cat/1.png", "cat/2.png", "dog/a.png", "dog/sub/b.png"]);
    assert.deepEqual(await sourceNames(await imageSource(elsewhere)), ["a.png", "sub/b.png"]);
  });

  it("a link that leads nowhere is an image that cannot be read", async () => {
    const folder = tree("a.png");
    symlinkSync("nowhere.png", join(folder, "b.png"));
    const images = (await imageSource(folder)).images(1);
    const { value } = (await images.next()) as { value: { name: string; image: string } };
    assert.equal(value.name, "b.png");
    await rejectsWith("E_IMAGE_READ", () => decodeImage(value.image));
  });

  it("a folder whose name ends like an image's is a folder", async () => {
    const data = await loadDataset(tree("cat/more.png/1.png", "cat/2.png"));
    assert.deepEqual(names(data), ["cat/2.png", "cat/more.png/1.png"]);
  });

  it("a class folder without an image: E_DATASET_FORMAT with its name", async () => {
    const error = await rejectsWith("E_DATASET_FORMAT", () =>
      loadDataset(tree("cat/1.png", "annotations/", "notes/")),
    );
    assert.match(error.message, /annotations, notes/);
  });

  it("images without class folders: E_DATASET_FORMAT that explains the layout", async () => {
    for (const folder of [tree("1.png", "2.png"), join(tree("x/train/1.png", "x/test/1.png"), "x")]) {
      const error = await rejectsWith("E_DATASET_FORMAT", () => loadDataset(folder));
      assert.match(error.message, /a folder for each class/);
    }
  });

  it("formats that are not decoded are counted and named", async () => {
    const folder = tree("cat/1.png", "cat/2.HEIC", "cat/3.heic", "cat/sub/4.psd", "cat/readme.md");
    assert.match(
      (await loadDataset(folder)).notes.join("\n"),
      /class folders: left out 2 \.heic, 1 \.psd[^]*no images: 1 \.md/,
    );
    assert.match(
      (await imageSource(folder)).notes().join("\n"),
      /left out 2 \.heic, 1 \.psd[^]*no images: 1 \.md/,
    );
    const error = await rejectsWith("E_DATASET_EMPTY", () => imageSource(tree("1.heic")));
    assert.match(error.message, /1 \.heic/);
  });

  it("all that is left out is counted and named: other files, hidden ones, images in no class folder", async () => {
    const folder = tree(
      "cat/1.png",
      "cat/.thumbs/1.png",
      "cat/._1.png",
      "dog/1.png",
      "dog/Thumbs.db",
      "dog/LICENSE",
      "cover.png",
      ".git/",
      "labels.csv",
    );
    const { notes, length } = await loadDataset(folder);
    assert.equal(length, 2);
    assert.deepEqual(notes, [
      `${folder}: left out files that are no images: 1 .csv.`,
      `${folder}: left out images that lie in no class folder: 1 (cover.png).`,
      `${folder}: left out hidden files and folders: 1 (.git).`,
      `${folder}, in its class folders: left out files that are no images: 1 without an ending, 1 .db.`,
      `${folder}, in its class folders: left out hidden files and folders: 2 (._1.png, .thumbs).`,
    ]);
    const many = (
      await loadDataset(tree("cat/1.png", ..."abcdefg".split("").map((letter) => `cat/.${letter}`)))
    ).notes;
    assert.match(many.join(), /hidden files and folders: 7 \(\.a, \.b, \.c, \.d, \.e, …\)/);
    assert.deepEqual((await loadDataset(tree("cat/1.png"))).notes, []);
    const smaller = (await loadDataset(folder)).limit(1).sample(1);
    assert.deepEqual(smaller.notes, notes);
  });

  it("every ending of an image that is decoded is taken", async () => {
    const endings = "jpg JPEG jfif png webp gif avif tif tiff bmp ico ppm pgm pbm pnm qoi".split(" ");
    const files = endings.map((ending, i) => `${String.fromCharCode(97 + i)}.${ending}`);
    assert.deepEqual(await sourceNames(await imageSource(tree(...files))), files);
  });

  it("a name that is no UTF-8 is read, and shown as Latin-1", async function () {
    const folder = tree("cat/1.png");
    const file = Buffer.concat([
      Buffer.from(join(folder, "cat", "caf")),
      Buffer.from([0xe9]),
      Buffer.from(".png"),
    ]);
    try {
      writeFileSync(file, readFileSync(fixture("images/rgb.png")));
    } catch {
      return this.skip(); // a file system of UTF-8 names alone
    }
    const data = await loadDataset(folder);
    assert.deepEqual(names(data), ["cat/1.png", "cat/café.png"]);
    assert.equal((await decodeImage(await data.at(1).read())).width, 61);
    assert.deepEqual(await sourceNames(await imageSource(folder)), ["cat/1.png", "cat/café.png"]);
  });

  it("a class folder that may not be read: E_DATASET_NOT_FOUND with its name", function () {
    this.timeout(120_000);
    const folder = tree("cat/1.png", "dog/1.png");
    chmodSync(folder, 0o755);
    chmodSync(join(folder, "dog"), 0o000);
    const code = `
      import { loadDataset } from ${JSON.stringify(join(root, "dist/datasets/index.js"))};
      await loadDataset(${JSON.stringify(folder)}).then(
        () => console.log("read"),
        (e) => console.log(e.code, e.message),
      );`;
    const other = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
    const { stdout } = runScript(code, [], other);
    chmodSync(join(folder, "dog"), 0o755);
    assert.match(stdout, /^E_DATASET_NOT_FOUND .*dog/);
  });
});

describe("splits of a folder", () => {
  for (const stray of [".git/", "annotations/", "__MACOSX/train/cat/1.png", "extra/1.png"]) {
    it(`${stray} beside train and test`, async () => {
      const data = await loadDataset(
        tree("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/2.png", stray),
      );
      assert.deepEqual(
        [data.split, data.classes, names(data)],
        ["test", ["cat", "dog"], ["cat/1.png", "dog/2.png"]],
      );
      assert.equal(data.notes.length, 1);
      assert.ok(data.notes[0].includes(stray.split("/")[0]));
    });
  }

  it("classes may be called train and test", async () => {
    for (const folder of [
      tree("train/1.png", "bus/1.png"),
      tree("train/1.png", "test/1.png", "bus/1.png"),
      tree("train/red/1.png", "bus/red/1.png"),
    ]) {
      const data = await loadDataset(folder);
      assert.equal(data.split, "all");
      assert.ok(data.classes.includes("train") && data.classes.includes("bus"));
    }
  });

  it("val, valid and validation mean the same", async () => {
    for (const there of ["val", "valid", "validation"]) {
      const folder = tree(`${there}/cat/1.png`, "test/cat/2.png");
      const list = join(folder, "list.csv");
      writeFileSync(list, `path,label,split\n1.png,cat,${there}\n2.png,cat,test\n`);
      for (const asked of ["val", "valid", "validation"]) {
        assert.deepEqual(names(await loadDataset(folder, { split: asked })), ["cat/1.png"]);
        assert.deepEqual(names(await loadDataset(list, { split: asked })), ["1.png"]);
      }
      await rejectsWith("E_DATASET_NOT_FOUND", () => loadDataset(list, { split: "train" }));
    }
  });
});
