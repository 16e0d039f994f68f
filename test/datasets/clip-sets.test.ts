import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync, gzipSync } from "node:zlib";
import sharp from "sharp";
import yazl from "yazl";
import { CLIP_PROMPTS } from "../../lib/datasets/clip-sets/prompts.js";
import { loadDataset } from "../../lib/datasets/index.js";
import type { RawImage } from "../../lib/index.js";
import { unzip } from "../../lib/util/unzip.js";
import { tarOf as shard } from "../support/containers.js";
import { assertMissing, errorOf, rejectsWith, temporaryFolder, writeFiles } from "../support/index.js";

const write = (root: string, files: Record<string, Uint8Array | string>) => writeFiles(files, root);

const underscored = (names: readonly string[]) => names.map((n) => n.replaceAll(" ", "_"));
const lines = (names: readonly string[]) => `${names.join("\n")}\n`;

/** A MATLAB 5 file of real matrices of one row, as MATLAB and scipy write them. */
function mat(variables: Record<string, { values: number[]; bytes: 1 | 2 | 8 }>, compress: boolean): Buffer {
  const tag = (type: number, data: Buffer, pad = true): Buffer => {
    if (data.length <= 4 && type !== 14 && type !== 15) {
      const small = Buffer.alloc(8);
      small.writeUInt32LE((data.length << 16) | type);
      data.copy(small, 4);
      return small;
    }
    const head = Buffer.alloc(8);
    head.writeUInt32LE(type);
    head.writeUInt32LE(data.length, 4);
    return Buffer.concat([head, data, Buffer.alloc(pad ? (8 - (data.length % 8)) % 8 : 0)]);
  };
  const header = Buffer.alloc(128, " ");
  header.write("MATLAB 5.0 MAT-file");
  header.writeUInt16LE(0x0100, 124);
  header.write("IM", 126);
  const parts = Object.entries(variables).map(([name, { values, bytes }]) => {
    const flags = Buffer.alloc(8);
    flags.writeUInt32LE({ 1: 9, 2: 11, 8: 6 }[bytes]); // uint8, uint16, double
    const sizes = Buffer.alloc(8);
    sizes.writeInt32LE(1);
    sizes.writeInt32LE(values.length, 4);
    const data = Buffer.alloc(values.length * bytes);
    values.forEach((value, i) => {
      if (bytes === 8) data.writeDoubleLE(value, i * 8);
      else data.writeUIntLE(value, i * bytes, bytes);
    });
    const matrix = tag(
      14,
      Buffer.concat([
        tag(6, flags),
        tag(5, sizes),
        tag(1, Buffer.from(name)),
        tag({ 1: 2, 2: 4, 8: 9 }[bytes], data),
      ]),
    );
    return compress ? tag(15, deflateSync(matrix), false) : matrix;
  });
  return Buffer.concat([header, ...parts]);
}

/** Small files in each publisher's own format. */
describe("data sets of the CLIP papers", () => {
  let image: Buffer;
  before(async () => {
    image = await sharp({ create: { width: 3, height: 2, channels: 3, background: "#204060" } })
      .png()
      .toBuffer();
  });

  it("Flowers-102: labels and splits in MATLAB files, compressed or not", async () => {
    for (const compress of [true, false]) {
      const root = write(temporaryFolder(), {
        "jpg/image_00002.jpg": image,
        "jpg/image_00003.jpg": image,
        "imagelabels.mat": mat({ labels: { values: [77, 1, 102], bytes: 1 } }, compress),
        "setid.mat": mat(
          {
            trnid: { values: [1], bytes: 2 },
            valid: { values: [1], bytes: 8 },
            tstid: { values: [3, 2], bytes: 2 },
          },
          compress,
        ),
      });
      const test = await loadDataset("flowers102", { root });
      assert.deepEqual(
        [...test].map((s) => [s.name, test.classes[s.label]]),
        [
          ["jpg/image_00003.jpg", "blackberry lily"],
          ["jpg/image_00002.jpg", "pink primrose"],
        ],
      );
      assert.equal((await loadDataset("flowers102", { root, split: "valid" })).at(0).label, 76);
      write(root, { "imagelabels.mat": mat({ labels: { values: [103, 1, 1], bytes: 1 } }, compress) });
      assert.match(
        (await errorOf(() => loadDataset("flowers102", { root, split: "train" }))).message,
        /image 1 has class 103/,
      );
      for (const broken of [
        Buffer.from("no file"),
        mat({ other: { values: [1], bytes: 1 } }, compress),
        mat({ labels: { values: [1, 2, 3, 4, 5, 6], bytes: 8 } }, compress).subarray(0, 150),
      ]) {
        write(root, { "imagelabels.mat": broken });
        await rejectsWith("E_DATASET_FORMAT", () => loadDataset("flowers102", { root }));
      }
    }
  });

  it("a zip is unpacked as it is, and refused where a name leads out of the folder", async () => {
    const make = async (name: string): Promise<string> => {
      const zip = new yazl.ZipFile();
      zip.addBuffer(image, name);
      zip.end();
      const chunks: Buffer[] = [];
      for await (const c of zip.outputStream) chunks.push(c as Buffer);
      // yazl itself refuses such names: one of the same length is put in its place.
      const bytes = Buffer.from(Buffer.concat(chunks).toString("latin1").replaceAll("XX/", "../"), "latin1");
      const file = join(temporaryFolder(), "set.zip");
      writeFileSync(file, bytes);
      return file;
    };
    const folder = temporaryFolder();
    await unzip(await make("2750/Forest/Forest_1.png"), folder);
    assert.deepEqual(readFileSync(join(folder, "2750/Forest/Forest_1.png")), image);
    await assert.rejects(async () => unzip(await make("XX/out.png"), folder), /invalid relative path/);
    assertMissing(join(folder, "../out.png"));
  });

  it("CIFAR-10 and CIFAR-100: binary records, planes of red, green, blue", async () => {
    const record = (head: number[], shift: number) =>
      Buffer.from([...head, ...Array.from({ length: 3072 }, (_, i) => (i + shift) & 255)]);
    const root = write(temporaryFolder(), {
      "cifar-10-batches-bin/batches.meta.txt": lines(CLIP_PROMPTS.cifar10.classes),
      "cifar-10-batches-bin/test_batch.bin": Buffer.concat([record([3], 0), record([9], 7)]),
      "cifar-100-binary/fine_label_names.txt": lines(underscored(CLIP_PROMPTS.cifar100.classes)),
      "cifar-100-binary/test.bin": record([19, 11], 1),
    });
    const ten = await loadDataset("cifar10", { root });
    assert.deepEqual(
      [...ten].map((s) => [s.label, s.name]),
      [
        [3, "test_batch.bin#0"],
        [9, "test_batch.bin#1"],
      ],
    );
    const image = (await ten.at(1).read()) as RawImage;
    // Pixel (1, 2): byte 34 of each plane of 1,024.
    assert.deepEqual(
      [...image.data.subarray(34 * 3, 34 * 3 + 3)],
      [34 + 7, (1024 + 34 + 7) & 255, (2048 + 34 + 7) & 255],
    );
    assert.equal(ten.prompts[0].templates.length, 18);
    const hundred = await loadDataset("cifar100", { root, split: "test" });
    assert.equal(hundred.classes[hundred.at(0).label], CLIP_PROMPTS.cifar100.classes[11]);
    write(root, { "cifar-10-batches-bin/test_batch.bin": Buffer.alloc(3000) });
    await rejectsWith("E_DATASET_FORMAT", () => loadDataset("cifar10", { root }));
    write(root, {
      "cifar-10-batches-bin/batches.meta.txt": lines([...CLIP_PROMPTS.cifar10.classes].reverse()),
    });
    assert.match((await errorOf(() => loadDataset("cifar10", { root }))).message, /class 0 is "truck"/);
    await rejectsWith("E_DATASET_NOT_FOUND", () => loadDataset("cifar10", { root, split: "valid" }));
    await rejectsWith("E_DATASET_NOT_FOUND", () => loadDataset("cifar10", { root: temporaryFolder() }));
  });

  it("MNIST: IDX, packed or not; STL-10: columns first", async () => {
    const idx = (sizes: number[], data: number[]) => {
      const head = Buffer.alloc(4 + 4 * sizes.length);
      head.writeUInt32BE(0x0800 | sizes.length);
      sizes.forEach((s, i) => head.writeUInt32BE(s, 4 + 4 * i));
      return Buffer.concat([head, Buffer.from(data)]);
    };
    const root = write(temporaryFolder(), {
      "t10k-images-idx3-ubyte.gz": gzipSync(idx([2, 2, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])),
      "t10k-labels-idx1-ubyte": idx([2], [7, 0]),
    });
    const digits = await loadDataset("mnist", { root });
    const digit = (await digits.at(1).read()) as RawImage;
    assert.deepEqual(
      { ...digit, data: [...digit.data] },
      { data: [7, 8, 9, 10, 11, 12], width: 3, height: 2, channels: 1 },
    );
    assert.deepEqual(
      [...digits].map((s) => s.label),
      [7, 0],
    );
    write(root, { "t10k-labels-idx1-ubyte": idx([3], [1, 2, 3]) });
    assert.match((await errorOf(() => loadDataset("mnist", { root }))).message, /3 labels for 2 images/);

    const stl = write(temporaryFolder(), {
      "stl10_binary/class_names.txt": lines(CLIP_PROMPTS.stl10.classes),
      "stl10_binary/test_X.bin": Buffer.from(
        Array.from({ length: 3 * 96 * 96 }, (_, i) => Math.floor(i / 96) & 255),
      ),
      "stl10_binary/test_y.bin": Buffer.from([10]),
    });
    const set = await loadDataset("stl10", { root: stl });
    assert.equal(set.at(0).label, 9);
    // Byte / 96 is the column, so a row of the image counts up.
    const { data } = (await set.at(0).read()) as RawImage;
    assert.deepEqual([data[0], data[3], data[6]], [0, 1, 2]);
    assert.deepEqual([data[96 * 3], data[96 * 3 + 3]], [0, 1]);
  });

  it("CIFAR, STL-10, unpacked MNIST: an image is read from its file when used; no file stays in memory", async () => {
    const idx = (sizes: number[], data: Buffer) =>
      Buffer.concat([Buffer.from([0, 0, 8, sizes.length, ...sizes.flatMap((s) => [0, 0, 0, s])]), data]);
    const images: Record<string, { file: string; head: number; bytes: number }> = {
      cifar10: { file: "cifar-10-batches-bin/test_batch.bin", head: 1, bytes: 3072 },
      cifar100: { file: "cifar-100-binary/test.bin", head: 2, bytes: 3072 },
      stl10: { file: "stl10_binary/test_X.bin", head: 0, bytes: 3 * 96 * 96 },
      mnist: { file: "t10k-images-idx3-ubyte", head: 16, bytes: 4 },
    };
    const zeros = (name: string) => Buffer.alloc(images[name].bytes);
    const root = write(temporaryFolder(), {
      "cifar-10-batches-bin/batches.meta.txt": lines(CLIP_PROMPTS.cifar10.classes),
      "cifar-100-binary/fine_label_names.txt": lines(underscored(CLIP_PROMPTS.cifar100.classes)),
      "stl10_binary/class_names.txt": lines(CLIP_PROMPTS.stl10.classes),
      "stl10_binary/test_y.bin": Buffer.from([1]),
      "t10k-labels-idx1-ubyte": idx([1], Buffer.from([0])),
      [images.cifar10.file]: Buffer.concat([Buffer.alloc(1), zeros("cifar10")]),
      [images.cifar100.file]: Buffer.concat([Buffer.alloc(2), zeros("cifar100")]),
      [images.stl10.file]: zeros("stl10"),
      [images.mnist.file]: idx([1, 2, 2], zeros("mnist")),
    });
    for (const [name, { file, head, bytes }] of Object.entries(images)) {
      const sample = (await loadDataset(name, { root })).at(0);
      // The file changes after the set was opened: what is read now is what it holds now.
      const before = readFileSync(join(root, file)).subarray(0, head);
      write(root, { [file]: Buffer.concat([before, Buffer.alloc(bytes, 9)]) });
      const { data } = (await sample.read()) as RawImage;
      assert.ok(data.length === bytes && data.every((value) => value === 9), name);
      write(root, { [file]: before });
      const error = await rejectsWith("E_IMAGE_READ", () => sample.read(), name);
      assert.ok(error.message.includes(file), error.message);
    }
  });

  it("Food-101, DTD, Oxford Pets: lists beside folders", async () => {
    const food = underscored(CLIP_PROMPTS.food101.classes);
    const root = write(temporaryFolder(), {
      "food-101/meta/classes.txt": lines(food),
      "food-101/meta/test.txt": lines([`${food[2]}/11`, `${food[0]}/12`]),
      [`food-101/images/${food[2]}/11.jpg`]: image,
    });
    const dishes = await loadDataset("food101", { root });
    assert.deepEqual(
      [...dishes].map((s) => s.label),
      [2, 0],
    );
    const textures = temporaryFolder();
    for (const name of CLIP_PROMPTS.dtd.classes)
      write(textures, { [`dtd/images/${name.replaceAll(" ", "-")}/a.jpg`]: image });
    write(textures, { "dtd/labels/val1.txt": "banded/a.jpg\nzigzagged/a.jpg\n" });
    assert.deepEqual(
      [...(await loadDataset("dtd", { root: textures, split: "valid" }))].map((s) => s.label),
      [0, 46],
    );
    const breeds = underscored(CLIP_PROMPTS["oxford-pets"].classes);
    const list = breeds.map((b, i) => `${b}_${100 + i} ${i + 1} 1 1`);
    const pets = write(temporaryFolder(), { "annotations/test.txt": lines(list), "images/x.jpg": image });
    const set = await loadDataset("oxford-pets", { root: pets });
    assert.equal(set.length, 37);
    assert.equal(set.classes[set.at(36).label], CLIP_PROMPTS["oxford-pets"].classes[36]);
    write(pets, {
      "annotations/test.txt": lines([
        list[1].replace(" 2 ", " 1 "),
        list[0].replace(" 1 ", " 2 "),
        ...list.slice(2),
      ]),
    });
    await rejectsWith("E_DATASET_FORMAT", () => loadDataset("oxford-pets", { root: pets }));
  });

  it("EuroSAT, Country211, ImageNet: folders under other names than the prompts'", async () => {
    const land = temporaryFolder();
    for (const c of [
      "AnnualCrop",
      "Forest",
      "HerbaceousVegetation",
      "Highway",
      "Industrial",
      "Pasture",
      "PermanentCrop",
      "Residential",
      "River",
      "SeaLake",
    ])
      write(land, { [`2750/${c}/${c}_1.jpg`]: image });
    const set = await loadDataset("eurosat", { root: land });
    assert.equal(set.classes[9], "lake or sea");
    assert.deepEqual([...set.classes].sort(), [...CLIP_PROMPTS.eurosat.classes].sort());
    const world = temporaryFolder();
    for (let i = 0; i < 211; i++)
      write(world, {
        [`country211/test/${String.fromCharCode(65 + Math.floor(i / 26), 65 + (i % 26))}/1.jpg`]: image,
      });
    assert.equal((await loadDataset("country211", { root: world })).classes[0], "Andorra");
    const net = temporaryFolder();
    for (const id of CLIP_PROMPTS.imagenet.folders) write(net, { [`val/${id}/1.JPEG`]: image });
    const imagenet = await loadDataset("imagenet", { root: net });
    assert.deepEqual(
      [imagenet.length, imagenet.classes[0], imagenet.classes[999], imagenet.prompts[0].templates.length],
      [1000, "tench", "toilet paper", 80],
    );
    write(net, {
      [`val/${CLIP_PROMPTS.imagenet.folders[0]}/2.heic`]: image,
      "devkit/readme.txt": "",
      "val/.index": "",
    });
    const { notes, source } = await loadDataset("imagenet", { root: net });
    assert.match(
      notes.join("\n"),
      /devkit, which are no splits[^]*hidden files and folders: 1 \(\.index\)[^]*left out 1 \.heic/,
    );
    assert.deepEqual(source, { kind: "root", location: net, hashKnown: false });
    write(net, { "val/n00000001/1.JPEG": image });
    await rejectsWith("E_DATASET_FORMAT", () => loadDataset("imagenet", { root: net }));
    await rejectsWith("E_DATASET_NOT_FOUND", () => loadDataset("imagenet", {}));
  });

  it("WebDataset: shards counted first, names of classes beside them, images cut out when used", async () => {
    const root = temporaryFolder();
    write(root, {
      "classnames.txt": "cat\ndog\n",
      "test/0.tar": await shard([
        ["a.jpg", image],
        ["a.cls", "1"],
        ["b.cls", "0"],
        ["b.png", image],
      ]),
      "test/1.tar": await shard([
        ["sub/c.png", image],
        ["sub/c.json", "{}"],
        ["sub/c.cls", "1\n"],
      ]),
    });
    const set = await loadDataset(join(root, "test/{0..1}.tar"));
    assert.deepEqual(
      [...set].map((s) => [s.name, set.classes[s.label]]),
      [
        ["a", "dog"],
        ["b", "cat"],
        ["sub/c", "dog"],
      ],
    );
    assert.deepEqual(await set.at(2).read(), image);
    write(root, {
      "bad.tar": await shard([["a.png", image]]),
      "odd.tar": await shard([
        ["a.png", image],
        ["a.cls", "7"],
      ]),
      "empty.tar": await shard([
        ["sub/a.png", image],
        ["sub/a.cls", " \n"],
      ]),
      "cut.tar": (await shard([["a.png", Buffer.alloc(4000)]])).subarray(0, 900),
    });
    const empty = await rejectsWith("E_DATASET_FORMAT", () => loadDataset(join(root, "empty.tar")));
    assert.match(empty.message, /empty\.tar: the \.cls of the sample sub\/a is empty/);
    assert.equal(empty.subject, join(root, "empty.tar"));
    for (const [name, code] of [
      ["bad.tar", "E_DATASET_FORMAT"],
      ["odd.tar", "E_LABEL_UNKNOWN"],
      ["cut.tar", "E_DATASET_FORMAT"],
      ["none.tar", "E_DATASET_NOT_FOUND"],
    ])
      await rejectsWith(code, () => loadDataset(join(root, name)), name);
  });
});
