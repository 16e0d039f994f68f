import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { CLIP_PROMPTS, IMAGENET_SUBSETS } from "../../lib/datasets/clip-sets/prompts.js";
import { DATASETS, loadDataset, type Dataset, type DatasetOptions } from "../../lib/datasets/index.js";
import type { RawImage } from "../../lib/index.js";
import { tarOf } from "../support/containers.js";
import { golden, rejectsWith, writeFiles as write } from "../support/index.js";

type Files = Record<string, Uint8Array | string>;

const open = (name: string, root: string, options: DatasetOptions = {}) =>
  loadDataset(name, { root, ...options });

/** The class of each image by the image's name. */
function labels(data: Dataset): Record<string, string> {
  return Object.fromEntries(
    [...data].map(({ name, label }) => [name.replaceAll("\\", "/"), data.classes[label]]),
  );
}

async function refused(name: string, root: string, options: DatasetOptions = {}): Promise<string> {
  return (await rejectsWith("E_DATASET_FORMAT", () => open(name, root, options))).message;
}

/** Small files in each publisher's own format. */
describe("data sets of DataComp's evaluation", () => {
  let image: Buffer;
  before(async () => {
    const create = { width: 3, height: 2, channels: 3, background: "#204060" } as const;
    image = await sharp({ create }).png().toBuffer();
  });

  const folders = (names: readonly string[], ending = "png"): Files =>
    Object.fromEntries(names.map((name) => [`${name}/1.${ending}`, image]));

  it("every set has a name, and says that it needs a root where it has no download", async () => {
    const downloaded = ["sun397", "svhn"];
    const names =
      "imagenet-v2 imagenet-a imagenet-r imagenet-o imagenet-sketch objectnet caltech101 sun397 stanford-cars " +
      "fgvc-aircraft voc2007 voc2007-multilabel gtsrb svhn pcam resisc45 clevr-counts clevr-distance kitti-distance";
    for (const name of names.split(" ")) {
      const entry = DATASETS.find((one) => one.name === name);
      assert.ok(entry && entry.splits !== "", name);
      if (downloaded.includes(name)) continue;
      const error = await rejectsWith("E_DATASET_NOT_FOUND", () => loadDataset(name), name);
      assert.match(error.message, /--root/, name);
    }
  });

  it("ImageNet-A, -R and -O: 200 folders of WordNet ids, named as ImageNet's prompts", async () => {
    const { classes, folders: ids, templates } = CLIP_PROMPTS.imagenet;
    for (const name of ["imagenet-a", "imagenet-r", "imagenet-o"] as const) {
      const own = IMAGENET_SUBSETS[name];
      assert.ok(own.length === 200 && own.every((id) => ids.includes(id)), name);
      const root = write(folders(own.map((id) => `${name}/${id}`)));
      const data = await open(name, root);
      assert.deepEqual([data.length, data.classes.length, data.split], [200, 200, "test"]);
      assert.equal(labels(data)[`${own[5]}/1.png`], classes[ids.indexOf(own[5])]);
      assert.deepEqual(data.prompts[0].templates, templates);
      assert.equal((await open(name, join(root, name))).length, 200, "the root may be the folder itself");
    }
    const other = write(folders([...IMAGENET_SUBSETS["imagenet-a"].slice(1), "n00000001"]));
    assert.match(await refused("imagenet-a", other), /the folder n00000001 is none of the 200/);
    const fewer = write(folders(IMAGENET_SUBSETS["imagenet-a"].slice(1)));
    assert.match(
      await refused("imagenet-a", fewer),
      new RegExp(`without ${IMAGENET_SUBSETS["imagenet-a"][0]}`),
    );
  });

  it("ImageNet-Sketch: 1000 folders of WordNet ids; ImageNet-V2: folders of numbers in their own order", async () => {
    const { classes, folders: ids } = CLIP_PROMPTS.imagenet;
    const sketch = await open(
      "imagenet-sketch",
      write(
        folders(
          ids.map((id) => `sketch/${id}`),
          "jpeg",
        ),
      ),
    );
    assert.equal(labels(sketch)[`${ids[999]}/1.jpeg`], classes[999]);
    const numbers = Array.from({ length: 1000 }, (_, i) => `imagenetv2-matched-frequency-format-val/${i}`);
    const v2 = await open("imagenet-v2", write(folders(numbers, "jpeg")));
    const found = labels(v2);
    for (const i of [0, 2, 10, 100, 999]) assert.equal(found[`${i}/1.jpeg`], classes[i], `${i}`);
    assert.deepEqual(v2.classes, classes);
    await rejectsWith("E_DATASET_NOT_FOUND", () => open("imagenet-v2", "/tmp", { split: "train" }));
  });

  it("ObjectNet: the classes that are ImageNet's, by its own mappings", async () => {
    const root = write({
      "objectnet-1.0/mappings/folder_to_objectnet_label.json": JSON.stringify({
        air_freshener: "Air freshener",
        alarm_clock: "Alarm clock",
        backpack: "Backpack",
      }),
      "objectnet-1.0/mappings/objectnet_to_imagenet_1k.json": JSON.stringify({
        "Alarm clock": "analog clock; digital clock",
        Backpack: "backpack, back pack, knapsack, packsack, rucksack, haversack",
      }),
      ...folders(["air_freshener", "alarm_clock", "backpack"].map((name) => `objectnet-1.0/images/${name}`)),
    });
    const data = await open("objectnet", root);
    assert.deepEqual(labels(data), { "alarm_clock/1.png": "alarm clock", "backpack/1.png": "backpack" });
    write({ "objectnet-1.0/mappings/folder_to_objectnet_label.json": '{"gone":"Backpack"}' }, root);
    assert.match(await refused("objectnet", root), /no folder gone/);
    write({ "objectnet-1.0/mappings/folder_to_objectnet_label.json": "[]" }, root);
    assert.match(await refused("objectnet", root), /must be an object/);
  });

  it("Caltech-101: folders in upper and lower case, the background among them", async () => {
    const { folders: own } = CLIP_PROMPTS.caltech101;
    const root = write(
      folders(
        own.map((name) => `101_ObjectCategories/${name}`),
        "jpg",
      ),
    );
    const data = await open("caltech101", root);
    const found = labels(data);
    assert.deepEqual([data.length, data.classes.length], [102, 102]);
    const expected = {
      BACKGROUND_Google: "background",
      Faces: "off-center face",
      Faces_easy: "centered face",
      Leopards: "leopard",
      airplanes: "airplane",
      yin_yang: "yin and yang symbol",
    };
    for (const [folder, name] of Object.entries(expected)) assert.equal(found[`${folder}/1.jpg`], name);
    assert.match(
      await refused("caltech101", write(folders(own.slice(1)))),
      /101 class folders; Caltech-101 has 102/,
    );
  });

  it("RESISC45: folders with underscores", async () => {
    const { classes } = CLIP_PROMPTS.resisc45;
    const root = write(
      folders(
        classes.map((name) => `NWPU-RESISC45/${name.replaceAll(" ", "_")}`),
        "jpg",
      ),
    );
    assert.equal(labels(await open("resisc45", root))["sea_ice/1.jpg"], "sea ice");
    await refused("resisc45", write(folders(["a", "b"])));
  });

  it("SUN397: classes in ClassName.txt, some in folders of folders", async () => {
    const { classes } = CLIP_PROMPTS.sun397;
    const paths = classes.map((name) => `/${name[0]}/${name.replaceAll(" ", "_")}`);
    paths[8] = "/a/apartment_building/outdoor";
    const root = write({
      "SUN397/ClassName.txt": `${paths.join("\n")}\n`,
      ...Object.fromEntries(paths.map((path) => [`SUN397${path}/sun_aaa.jpg`, image])),
    });
    const data = await open("sun397", root);
    assert.deepEqual([data.length, data.split], [397, "all"]);
    assert.equal(labels(data)["a/apartment_building/outdoor/sun_aaa.jpg"], "apartment building outdoor");
    write({ "SUN397/ClassName.txt": "/a/abbey\n" }, root);
    assert.match(await refused("sun397", root), /1 classes; SUN397 has 397/);
  });

  it("Stanford Cars: MATLAB records and names, as SciPy writes them", async () => {
    const mats = golden("mat") as Record<string, { compressed: string; plain: string }>;
    for (const form of ["compressed", "plain"] as const) {
      const file = (name: string) => Buffer.from(mats[name][form], "base64");
      const root = write({
        "stanford_cars/devkit/cars_meta.mat": file("carsMeta"),
        "stanford_cars/cars_test_annos_withlabels.mat": file("carsAnnotations"),
        "stanford_cars/devkit/cars_train_annos.mat": file("carsAnnotations"),
      });
      const data = await open("stanford-cars", root);
      assert.deepEqual(labels(data), {
        "cars_test/00001.jpg": "Brand 195 Sedan 2012",
        "cars_test/00002.jpg": "Brand 7 Köpenick 2012",
        "cars_test/00003.jpg": "Brand 0 Sedan 2012",
      });
      assert.equal(data.at(0).read(), join(root, "stanford_cars", "cars_test", "00001.jpg"));
      const train = await open("stanford-cars", root, { split: "train" });
      assert.equal(train.at(0).read(), join(root, "stanford_cars", "cars_train", "00001.jpg"));
      write({ "stanford_cars/cars_test_annos_withlabels.mat": file("svhn") }, root);
      assert.match(await refused("stanford-cars", root), /no records named annotations/);
      write({ "stanford_cars/devkit/cars_meta.mat": file("carsMeta").subarray(0, 300) }, root);
      assert.match(await refused("stanford-cars", root), /cars_meta\.mat: /);
    }
  });

  it("SVHN: images in MATLAB's order, 10 for the digit 0", async () => {
    const mats = golden("mat") as Record<string, { compressed: string; plain: string }>;
    for (const form of ["compressed", "plain"] as const) {
      const root = write({ "test_32x32.mat": Buffer.from(mats.svhn[form], "base64") });
      const data = await open("svhn", root);
      assert.deepEqual(labels(data), { "test#0": "zero", "test#1": "three", "test#2": "one" });
      const { data: pixels, width, height, channels } = (await data.at(2).read()) as RawImage;
      assert.deepEqual([width, height, channels], [32, 32, 3]);
      for (const [y, x, c] of [
        [0, 0, 0],
        [1, 0, 0],
        [0, 1, 0],
        [5, 9, 2],
        [31, 31, 1],
      ])
        assert.equal(pixels[(y * 32 + x) * 3 + c], (3 * y + 5 * x + 7 * c + 22) % 256, `${y} ${x} ${c}`);
      write({ "test_32x32.mat": Buffer.from(mats.carsMeta[form], "base64") }, root);
      assert.match(await refused("svhn", root), /no bytes named X/);
    }
  });

  it("FGVC Aircraft: variants with spaces, train, valid, trainval and test", async () => {
    const { classes } = CLIP_PROMPTS["fgvc-aircraft"];
    const list = (line: string) => `${line}\n`;
    const root = write({
      "fgvc-aircraft-2013b/data/variants.txt": `${classes.join("\n")}\n`,
      "fgvc-aircraft-2013b/data/images_variant_test.txt":
        list(`1514522 ${classes[0]}`) + list("0747029 DC-3"),
      "fgvc-aircraft-2013b/data/images_variant_val.txt": list("1 Cessna 172"),
      "fgvc-aircraft-2013b/data/images_variant_trainval.txt": list("2 Cessna 172"),
    });
    const data = await open("fgvc-aircraft", root);
    assert.deepEqual(labels(data), { "1514522.jpg": classes[0], "0747029.jpg": "DC-3" });
    assert.deepEqual(labels(await open("fgvc-aircraft", root, { split: "valid" })), {
      "1.jpg": "Cessna 172",
    });
    assert.deepEqual(labels(await open("fgvc-aircraft", root, { split: "trainval" })), {
      "2.jpg": "Cessna 172",
    });
    write({ "fgvc-aircraft-2013b/data/images_variant_test.txt": list("1 No such plane") }, root);
    assert.match(await refused("fgvc-aircraft", root), /images_variant_test\.txt: line 1: "1 No such plane"/);
  });

  it("GTSRB: a list with semicolons for the test, folders of numbers for the training", async () => {
    const { classes } = CLIP_PROMPTS.gtsrb;
    const head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n";
    const root = write({
      "GT-final_test.csv": `${head}00000.ppm;53;54;6;5;48;49;16\n00001.ppm;42;45;5;5;36;40;1\n`,
      "GTSRB/Training/00000/00000_00000.ppm": "P6 1 1 255\nabc",
      "GTSRB/Training/00042/00000_00000.ppm": "P6 1 1 255\nabc",
    });
    const test = await open("gtsrb", root);
    assert.deepEqual(labels(test), { "00000.ppm": classes[16], "00001.ppm": classes[1] });
    assert.equal(test.at(0).read(), join(root, "GTSRB", "Final_Test", "Images", "00000.ppm"));
    const train = await open("gtsrb", root, { split: "train" });
    assert.deepEqual(
      [...train].map(({ label }) => label),
      [0, 42],
    );
    write({ "GT-final_test.csv": `${head}00000.ppm;53;54;6;5;48;49;43\n` }, root);
    assert.match(await refused("gtsrb", root), /line 2: no Filename and ClassId/);
  });

  it("VOC 2007: every annotated box cut out, difficult ones too, without their parts", async () => {
    const pixels = Buffer.from(Array.from({ length: 6 * 4 * 3 }, (_, i) => 3 * i));
    const whole = await sharp(pixels, { raw: { width: 6, height: 4, channels: 3 } })
      .png()
      .toBuffer();
    const object = (name: string, box: number[], more = "") => {
      const [xmin, ymin, xmax, ymax] = box.map(String);
      const bounds = `<xmin>${xmin}</xmin><ymin>${ymin}</ymin><xmax>${xmax}</xmax><ymax>${ymax}</ymax>`;
      return `<object>\n<name>${name}</name><difficult>1</difficult><bndbox>${bounds}</bndbox>${more}</object>`;
    };
    const part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>";
    const xml = (objects: string) => `<annotation><folder>VOC2007</folder>${objects}</annotation>`;
    const root = write({
      "VOCdevkit/VOC2007/ImageSets/Main/test.txt": "000001\n",
      "VOCdevkit/VOC2007/Annotations/000001.xml": xml(
        object("dog", [1, 2, 4, 4]) + object("person", [4, 0, 8, 1], part),
      ),
      "VOCdevkit/VOC2007/JPEGImages/000001.jpg": whole, // what decides is the content
    });
    const data = await open("voc2007", root);
    assert.deepEqual(labels(data), { "000001.jpg#0": "dog", "000001.jpg#1": "person" });
    const multiLabel = await open("voc2007-multilabel", root);
    const image = join(root, "VOCdevkit/VOC2007/JPEGImages/000001.jpg");
    const [one] = [...multiLabel];
    assert.deepEqual([one.name, one.read(), one.label, one.labels], ["000001.jpg", image, 11, [11, 14]]);
    assert.deepEqual([data.isMultiLabel, multiLabel.isMultiLabel], [false, true]);
    assert.deepEqual([multiLabel.splits[0].byClass[11], multiLabel.splits[0].byClass[14]], [1, 1]);
    const turned = multiLabel.withClasses(multiLabel.classes.toReversed());
    assert.deepEqual([turned?.at(0).label, turned?.at(0).labels], [8, [8, 5]]);
    const dog = (await data.at(0).read()) as RawImage;
    assert.deepEqual([dog.width, dog.height, dog.channels], [3, 2, 3]);
    const at = (x: number, y: number) => [0, 1, 2].map((c) => 3 * ((y * 6 + x) * 3 + c));
    const expected = [1, 2, 3].flatMap((x) => at(x, 2)).concat([1, 2, 3].flatMap((x) => at(x, 3)));
    assert.deepEqual([...dog.data], expected);
    const person = (await data.at(1).read()) as RawImage;
    assert.deepEqual(
      [...person.data],
      [...at(4, 0), ...at(5, 0), 0, 0, 0, 0, 0, 0],
      "black outside the image",
    );
    write({ "VOCdevkit/VOC2007/Annotations/000001.xml": xml(object("unicorn", [1, 2, 4, 4])) }, root);
    assert.match(await refused("voc2007", root), /object 0 is a "unicorn"/);
    write({ "VOCdevkit/VOC2007/Annotations/000001.xml": xml(object("dog", [4, 2, 1, 4])) }, root);
    assert.match(await refused("voc2007", root), /object 0 has no name and box/);
    const huge = xml(object("dog", [0, 0, 40_000, 40_000]));
    write({ "VOCdevkit/VOC2007/Annotations/000001.xml": huge }, root);
    const outside = await open("voc2007", root);
    await rejectsWith("E_DATASET_FORMAT", () => Promise.resolve(outside.at(0).read()));
    const endless = xml(`${"<object>".repeat(40_000)}<name>${" ".repeat(40_000)}`);
    write({ "VOCdevkit/VOC2007/Annotations/000001.xml": endless }, root);
    const started = performance.now();
    await rejectsWith("E_DATASET_EMPTY", () => open("voc2007", root));
    assert.ok(performance.now() - started < 2000, "an annotation is read in linear time");
    write({ "VOCdevkit/VOC2007/Annotations/000001.xml": xml(object("dog", [1, 2, 4, 4])) }, root);
    write({ "VOCdevkit/VOC2007/JPEGImages/000001.jpg": "no image" }, root);
    const damaged = await open("voc2007", root);
    assert.equal(typeof (await damaged.at(0).read()), "string", "it fails where images are decoded");
  });

  it("CLEVR: counts and the depth of the closest object, of CLEVR's val", async () => {
    const objects = (depths: number[]) =>
      depths.map((depth) => ({ shape: "cube", pixel_coords: [10, 20, depth] }));
    const scenes = [
      { image_filename: "CLEVR_val_000000.png", objects: objects([8.1, 12, 9]) },
      { image_filename: "CLEVR_val_000001.png", objects: objects([11, 12, 13, 10.5]) },
      { image_filename: "CLEVR_val_000002.png", objects: objects([8, 12, 13, 10.5, 20, 20, 20, 20, 20, 20]) },
    ];
    const root = write({ "CLEVR_v1.0/scenes/CLEVR_val_scenes.json": JSON.stringify({ info: {}, scenes }) });
    const counts = await open("clevr-counts", root);
    assert.deepEqual(Object.values(labels(counts)), ["3", "4", "10"]);
    assert.equal(counts.at(1).read(), join(root, "CLEVR_v1.0", "images", "val", "CLEVR_val_000001.png"));
    const distance = await open("clevr-distance", root);
    assert.deepEqual(
      [...distance].map(({ label }) => label),
      [1, 5, 0],
    );
    const broken = async (scene: object) => {
      write({ "CLEVR_v1.0/scenes/CLEVR_val_scenes.json": JSON.stringify({ scenes: [scene] }) }, root);
      return refused("clevr-distance", root);
    };
    assert.match(await broken({ image_filename: "a.png" }), /scenes\[0\]\.objects must be a list/);
    const flat = { image_filename: "a.png", objects: [{ pixel_coords: [1, 2] }] };
    assert.match(await broken(flat), /scenes\[0\]\.objects\[0\]\.pixel_coords\[2\] must be a number/);
  });

  it("KITTI: the closest car, van or truck, in VTAB's intervals", async () => {
    const line = (type: string, depth: number) =>
      `${type} 0.00 0 -1.57 599.41 156.40 629.75 189.25 2.85 2.63 12.34 0.47 1.49 ${depth} -1.56`;
    const files: [string, string[]][] = [
      ["000000", [line("Pedestrian", 3), line("Car", 7.9), line("DontCare", -1000)]],
      ["000001", [line("Truck", 8.1), line("Van", 21)]],
      ["000002", [line("Car", 69)]],
      ["000003", [line("Cyclist", 5)]],
    ];
    const content = files.flatMap(([name, lines]): [string, Uint8Array | string][] => [
      [`training/image_2/${name}.png`, image],
      [`training/label_2/${name}.txt`, `${lines.join("\n")}\n`],
    ]);
    const root = write(Object.fromEntries(content));
    const data = await open("kitti-distance", root);
    assert.deepEqual(
      [...data].map(({ label }) => label),
      [0, 1, 2, 3],
    );
    write({ "training/label_2/000002.txt": "Car 1 2\n" }, root);
    assert.match(await refused("kitti-distance", root), /000002\.txt: line 1: 3 columns/);
  });

  it("PCam and the others as shards of the hub: ids in the order of the classes, VTAB's splits", async () => {
    const shard = (files: Files) => tarOf(Object.entries(files));
    const root = write({
      "test/nshards.txt": "2",
      "test/0.tar": await shard({ "s0.cls": "1", "s0.webp": image }),
      "test/1.tar": await shard({ "s1.cls": "0", "s1.webp": image }),
      "classnames.txt": "other\nnames\n",
    });
    const pcam = await open("pcam", root);
    assert.deepEqual(labels(pcam), { s0: CLIP_PROMPTS.pcam.classes[1], s1: CLIP_PROMPTS.pcam.classes[0] });
    assert.deepEqual(pcam.prompts[0].templates, CLIP_PROMPTS.pcam.templates);
    for (const name of [
      "svhn",
      "caltech101",
      "kitti-distance",
      "clevr-counts",
      "resisc45",
      "voc2007",
    ] as const)
      assert.equal(labels(await open(name, root)).s0, CLIP_PROMPTS[name].classes[1], name);
    write({ "test/1.tar": await shard({ "s1.cls": "3", "s1.webp": image }) }, root);
    assert.equal(labels(await open("clevr-counts", root)).s1, "6", "3 is an id, not the class called 3");
    const gap = write({ "test/0.tar": "", "test/2.tar": "" });
    assert.match(await refused("pcam", gap), /1\.tar of 2 shards is missing/);
  });
});
