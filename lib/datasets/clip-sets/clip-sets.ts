import { open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { TorchclipError, cannotRead } from "../errors.js";
import type { RawImage } from "../images/decode.js";
import { HUB, OPENAI, settings } from "../settings.js";
import { readMat } from "../util/mat.js";
import type { Origin } from "../util/origin.js";
import { readRange } from "../util/read-range.js";
import { readLines } from "../util/text-file.js";
import { readExactly } from "../util/untrusted.js";
import { atRoot, exists, fetched, unpacked, type Archive } from "./archives.js";
import { CLIP_PROMPTS, type ClipPrompts } from "./clip-prompts.js";
import { Dataset, type Sample, type SplitCount } from "./dataset.js";
import { folderDataset, splitNames } from "./folder.js";
import type { DatasetEntry, DatasetOptions } from "./types.js";

/** The data sets of the CLIP papers, each in its publisher's own files: downloaded, or unpacked at `root`. */

const ARCHIVES: Record<string, Archive> = {
  cifar10: {
    url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5: "c32a1d4ab5d03f1284b67883e8d87530",
    probe: "cifar-10-batches-bin",
  },
  cifar100: {
    url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    md5: "03b5dce01913d631647c71ecec9e9cb8",
    probe: "cifar-100-binary",
  },
  stl10: {
    url: "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    md5: "91f7769df0f17e558f3565bffb0c7dfb",
    probe: "stl10_binary",
  },
  food101: {
    url: "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
    md5: "85eeb15f3717b99a5da872d97d918f87",
    probe: "food-101",
  },
  dtd: {
    url: "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
    md5: "fff73e5086ae6bdbea199a49dfb8a4c1",
    probe: "dtd",
  },
  country211: {
    url: `${OPENAI}/clip/data/country211.tgz`,
    md5: "84988d7644798601126c29e9877aab6a",
    probe: "country211",
  },
  // torchgeo's copy: the first address (madm.dfki.de) is gone.
  eurosat: {
    url: `${HUB}/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip`,
    md5: "c8fa014336c82ac7804f0398fcb19387",
    probe: "2750",
    kind: "zip",
  },
};
const FLOWERS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/";
const FLOWERS_IMAGES: Archive = {
  url: `${FLOWERS}102flowers.tgz`,
  md5: "52808999861908f626f3c1f4e79d11fa",
  probe: "jpg",
};
const FLOWERS_LABELS: Archive = {
  url: `${FLOWERS}imagelabels.mat`,
  md5: "e0620be6f572b9609742df49c70aed4d",
  probe: "imagelabels.mat",
  kind: "file",
};
const FLOWERS_SPLITS: Archive = {
  url: `${FLOWERS}setid.mat`,
  md5: "a5357ecc9cb78c4bef273ce3793fc85c",
  probe: "setid.mat",
  kind: "file",
};
const PETS = [
  {
    url: "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
    md5: "5c4f3ee8e5d25df40f4fd59a7f44e54c",
    probe: "images",
  },
  {
    url: "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
    md5: "95a8c909bbe2e81eed6a22bccdf3f68f",
    probe: "annotations",
  },
];
const MNIST_BASE = "https://ossci-datasets.s3.amazonaws.com/mnist/";
const MNIST_FILES: Record<string, string> = {
  "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
  "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
  "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
  "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
};

function bad(file: string, what: string): TorchclipError {
  return new TorchclipError("E_DATASET_FORMAT", `${file}: ${what}`, { subject: file });
}

async function bytesOf(file: string): Promise<Buffer> {
  return readFile(file).catch((cause: unknown) => {
    throw cannotRead("E_DATASET_NOT_FOUND", file, cause);
  });
}

async function linesOf(file: string): Promise<string[]> {
  return (await readLines(file)).map((line) => line.trim());
}

const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "");

/**
 * The class names that go into prompts, after checking that the set's own list has them in the same order.
 */
function promptClasses(own: readonly string[], prompts: ClipPrompts, file: string): string[] {
  if (own.length !== prompts.classes.length)
    throw bad(file, `${own.length} classes, ${prompts.source} has ${prompts.classes.length}`);
  const wrong = own.findIndex((name, i) => plain(name) !== plain(prompts.classes[i]));
  if (wrong >= 0)
    throw bad(file, `class ${wrong} is "${own[wrong]}", ${prompts.source} has "${prompts.classes[wrong]}"`);
  return prompts.classes;
}

/** Channels one after another, rows or (STL-10) columns first, to uint8 [side, side, 3]. */
function planes(data: Buffer, side: number, columnsFirst: boolean): RawImage {
  const out = new Uint8Array(side * side * 3);
  const area = side * side;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const from = columnsFirst ? x * side + y : y * side + x;
      for (let c = 0; c < 3; c++) out[(y * side + x) * 3 + c] = data[from + c * area];
    }
  }
  return { data: out, width: side, height: side, channels: 3 };
}

const wanted = (o: DatasetOptions) => (["train"].includes(o.split ?? "test") ? "train" : "test");
/** Sets of two splits: any other name is refused. */
function checkSplit(name: string, o: DatasetOptions, splits: string[]): void {
  if (o.split && !splits.some((s) => splitNames(s).includes(o.split!)))
    throw new TorchclipError(
      "E_DATASET_NOT_FOUND",
      `${name} has no split "${o.split}"; it has ${splits.join(", ")}`,
      { subject: o.split },
    );
}

interface Made {
  split: string;
  classes: string[];
  samples: Sample[];
  source: Origin;
  splits?: SplitCount[];
  notes?: string[];
}

/** A set with the prompts of CLIP's evaluations. */
function make(name: string, made: Made): Dataset {
  const prompts = CLIP_PROMPTS[name];
  return new Dataset({ name, ...made, prompts: [{ templates: prompts.templates, source: prompts.source }] });
}

/** Bytes that are read at once while labels are taken from records. */
const BLOCK = 1 << 20;

/**
 * The byte at `at` of each record of a file of records of `size` bytes; the file itself is not kept. Throws
 * E_DATASET_FORMAT.
 */
async function bytesOfRecords(file: string, size: number, at: number): Promise<Uint8Array> {
  const bytes = await sizeOf(file);
  if (bytes === 0 || bytes % size !== 0) throw bad(file, `${bytes} bytes are no whole records of ${size}`);
  const found = new Uint8Array(bytes / size);
  const handle = await open(file);
  try {
    const together = Math.max(1, Math.floor(BLOCK / size));
    for (let first = 0; first < found.length; first += together) {
      const count = Math.min(together, found.length - first);
      const block = await readExactly(handle, first * size, count * size);
      for (let i = 0; i < count; i++) found[first + i] = block[i * size + at];
    }
  } finally {
    await handle.close();
  }
  return found;
}

async function sizeOf(file: string): Promise<number> {
  const info = await stat(file).catch((cause: unknown) => {
    throw cannotRead("E_DATASET_NOT_FOUND", file, cause);
  });
  return info.size;
}

/** The labels are read now, each image when it is used. */
async function cifar(name: "cifar10" | "cifar100", o: DatasetOptions): Promise<Dataset> {
  checkSplit(name, o, ["train", "test"]);
  const archive = ARCHIVES[name];
  const { folder: root, origin } = await unpacked(name, archive, o);
  const folder = join(root, archive.probe);
  const fine = name === "cifar100";
  const meta = join(folder, fine ? "fine_label_names.txt" : "batches.meta.txt");
  const classes = promptClasses(await linesOf(meta), CLIP_PROMPTS[name], meta);
  const split = wanted(o);
  const files = fine
    ? [`${split}.bin`]
    : split === "test"
      ? ["test_batch.bin"]
      : [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`);
  const head = fine ? 2 : 1; // coarse and fine label, or the label
  const pixels = 3 * 32 * 32;
  const record = head + pixels;
  const samples: Sample[] = [];
  for (const name of files) {
    const file = join(folder, name);
    for (const [i, label] of (await bytesOfRecords(file, record, head - 1)).entries()) {
      if (label >= classes.length) throw bad(file, `record ${i} has class ${label} of ${classes.length}`);
      const read = async () => planes(await readRange(file, i * record + head, pixels), 32, false);
      samples.push({ name: `${name}#${i}`, label, read });
    }
  }
  return make(name, { split, classes, samples, source: origin });
}

/** The labels are read now, each image when it is used. */
async function stl10(o: DatasetOptions): Promise<Dataset> {
  checkSplit("stl10", o, ["train", "test"]);
  const archive = ARCHIVES.stl10;
  const { folder: root, origin } = await unpacked("stl10", archive, o);
  const folder = join(root, archive.probe);
  const classes = promptClasses(
    await linesOf(join(folder, "class_names.txt")),
    CLIP_PROMPTS.stl10,
    join(folder, "class_names.txt"),
  );
  const split = wanted(o);
  const file = join(folder, `${split}_X.bin`);
  const [bytes, labels] = [await sizeOf(file), await bytesOf(join(folder, `${split}_y.bin`))];
  const record = 3 * 96 * 96;
  if (bytes !== labels.length * record)
    throw bad(file, `${bytes} bytes for ${labels.length} labels, expected ${labels.length * record}`);
  const samples = Array.from(labels, (label, i): Sample => {
    if (label < 1 || label > classes.length)
      throw bad(join(folder, `${split}_y.bin`), `image ${i} has class ${label} of 1 to ${classes.length}`);
    return {
      name: `${split}#${i}`,
      label: label - 1,
      read: async () => planes(await readRange(file, i * record, record), 96, true),
    };
  });
  return make("stl10", { split, classes, samples, source: origin });
}

/** What the head of an IDX file says. */
interface Idx {
  /** Along each axis. */
  sizes: number[];
  /** Where the values begin. */
  at: number;
}

/**
 * yann.lecun.com's IDX: 0, 0, type 8, axes, then the sizes as big-endian numbers. `bytes`: of the whole file.
 */
function idx(head: Buffer, bytes: number, axes: number, file: string): Idx {
  const at = 4 + 4 * axes;
  if (head.length < at || head.readUInt32BE(0) !== (0x0800 | axes))
    throw bad(file, `it is no IDX file of unsigned bytes with ${axes} axes`);
  const sizes = Array.from({ length: axes }, (_, i) => head.readUInt32BE(4 + 4 * i));
  if (bytes - at !== sizes.reduce((a, b) => a * b, 1))
    throw bad(file, `${bytes - at} bytes for ${sizes.join(" × ")}`);
  return { sizes, at };
}

/**
 * A file of MNIST: its bytes by range, read from the file when they are asked for, or out of the unpacked
 * .gz.
 */
interface MnistFile {
  bytes: number;
  range: (at: number, bytes: number) => Promise<Buffer>;
  origin: Origin;
}

const MNIST_FOLDERS = ["", "MNIST/raw", "raw"];

async function mnistFile(stem: string, o: DatasetOptions): Promise<MnistFile> {
  const folder = o.root ?? join(settings(o).cacheDir, "datasets", "mnist");
  for (const inner of MNIST_FOLDERS) {
    const file = join(folder, inner, stem);
    if (!(await exists(file))) continue;
    const origin: Origin = o.root
      ? atRoot(o.root).origin
      : { kind: "cache", location: file, hashKnown: false };
    return { bytes: await sizeOf(file), range: (at, bytes) => readRange(file, at, bytes), origin };
  }
  const packed = join(folder, `${stem}.gz`);
  const origin = o.root
    ? atRoot(o.root).origin
    : await fetched({ url: `${MNIST_BASE}${stem}.gz`, md5: MNIST_FILES[stem] }, packed, o);
  const whole = gunzipped(await bytesOf(packed), packed);
  return {
    bytes: whole.length,
    range: (at, bytes) => Promise.resolve(whole.subarray(at, at + bytes)),
    origin,
  };
}

function gunzipped(bytes: Buffer, file: string): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: 1 << 28 });
  } catch (cause) {
    throw bad(file, `it is no whole gzip file: ${(cause as Error).message}`);
  }
}

/**
 * Images of unpacked files are read when they are used. The publisher's files are compressed: those are
 * unpacked into memory (47 MB for the training split, 8 MB for the test split), which is held as long as the
 * data set.
 */
async function mnist(o: DatasetOptions): Promise<Dataset> {
  checkSplit("mnist", o, ["train", "test"]);
  const split = wanted(o);
  const stem = split === "train" ? "train" : "t10k";
  const [imagesName, labelsName] = [`${stem}-images-idx3-ubyte`, `${stem}-labels-idx1-ubyte`];
  const [imageFile, labelFile] = [await mnistFile(imagesName, o), await mnistFile(labelsName, o)];
  const head = async (file: MnistFile, axes: number, name: string) =>
    idx(await file.range(0, Math.min(file.bytes, 4 + 4 * axes)), file.bytes, axes, name);
  const images = await head(imageFile, 3, imagesName);
  const { sizes, at } = await head(labelFile, 1, labelsName);
  const [count, height, width] = images.sizes;
  if (count !== sizes[0]) throw bad(labelsName, `${sizes[0]} labels for ${count} images`);
  const classes = CLIP_PROMPTS.mnist.classes;
  const area = height * width;
  const samples = Array.from(await labelFile.range(at, count), (label, i): Sample => {
    if (label >= classes.length) throw bad(labelsName, `image ${i} has class ${label}`);
    const read = async (): Promise<RawImage> => ({
      data: await imageFile.range(images.at + i * area, area),
      width,
      height,
      channels: 1,
    });
    return { name: `${split}#${i}`, label, read };
  });
  return make("mnist", { split, classes, samples, source: imageFile.origin });
}

/** Images named by a list, a class a folder: `class/name`. */
function listed(
  images: string,
  names: readonly string[],
  own: readonly string[],
  list: string,
  extension: string,
): Sample[] {
  return names.map((name) => {
    const label = own.indexOf(name.split("/")[0]);
    if (label < 0) throw bad(list, `"${name}" is of no class of the set`);
    const image = join(images, `${name}${extension}`);
    return { read: () => image, label, name: `${name}${extension}` };
  });
}

async function food101(o: DatasetOptions): Promise<Dataset> {
  checkSplit("food101", o, ["train", "test"]);
  const { folder: root, origin } = await unpacked("food101", ARCHIVES.food101, o);
  const folder = join(root, "food-101");
  const meta = join(folder, "meta", "classes.txt");
  const own = await linesOf(meta);
  const classes = promptClasses(own, CLIP_PROMPTS.food101, meta);
  const list = join(folder, "meta", `${wanted(o)}.txt`);
  const samples = listed(join(folder, "images"), await linesOf(list), own, list, ".jpg");
  return make("food101", { split: wanted(o), classes, samples, source: origin });
}

async function dtd(o: DatasetOptions): Promise<Dataset> {
  checkSplit("dtd", o, ["train", "valid", "test"]);
  const { folder: root, origin } = await unpacked("dtd", ARCHIVES.dtd, o);
  const folder = join(root, "dtd");
  const split = !o.split || o.split === "test" ? "test" : o.split === "train" ? "train" : "val";
  // The first of the ten partitions, as torchvision and CLIP's evaluations use.
  const list = join(folder, "labels", `${split}1.txt`);
  const own = (await readdir(join(folder, "images"), { withFileTypes: true }).catch(() => []))
    .filter((e) => e.isDirectory())
    .map((e) => e.name)
    .sort();
  const classes = promptClasses(own, CLIP_PROMPTS.dtd, join(folder, "images"));
  return make("dtd", {
    split,
    classes,
    samples: listed(join(folder, "images"), await linesOf(list), own, list, ""),
    source: origin,
  });
}

async function pets(o: DatasetOptions): Promise<Dataset> {
  checkSplit("oxford-pets", o, ["train", "test"]);
  const { folder: images, origin } = await unpacked("oxford-pets", PETS[0], o);
  await unpacked("oxford-pets", PETS[1], o);
  const list = join(images, "annotations", wanted(o) === "test" ? "test.txt" : "trainval.txt");
  const own: string[] = [];
  const rows = (await linesOf(list))
    .filter((l) => !l.startsWith("#"))
    .map((l, i) => {
      const [name, id] = l.split(/\s+/);
      const label = Number(id) - 1;
      if (!Number.isInteger(label) || label < 0) throw bad(list, `line ${i + 1}: no class id in "${l}"`);
      own[label] = name.slice(0, name.lastIndexOf("_"));
      const image = join(images, "images", `${name}.jpg`);
      return { read: () => image, label, name: `${name}.jpg` };
    });
  const classes = promptClasses(
    Array.from(own, (n) => n ?? ""),
    CLIP_PROMPTS["oxford-pets"],
    list,
  );
  return make("oxford-pets", { split: wanted(o), classes, samples: rows, source: origin });
}

/** The set's own folders, in their order, for the names of CLIP's prompts (whose order is another). */
const EUROSAT: Record<string, string> = {
  AnnualCrop: "annual crop land",
  Forest: "forest",
  HerbaceousVegetation: "brushland or shrubland",
  Highway: "highway or road",
  Industrial: "industrial buildings or commercial buildings",
  Pasture: "pasture land",
  PermanentCrop: "permanent crop land",
  Residential: "residential buildings or homes or apartments",
  River: "river",
  SeaLake: "lake or sea",
};

/** A folder whose classes are folders: `names` says what each is called in prompts. */
async function folders(
  name: string,
  root: string,
  o: DatasetOptions,
  names: (own: readonly string[]) => string[],
  source: Origin,
): Promise<Dataset> {
  const data = await folderDataset(root, o.split, name);
  return make(name, {
    split: data.split,
    classes: names(data.classes),
    samples: [...data],
    source,
    splits: [...data.splits],
    notes: [...data.notes],
  });
}

function needRoot(name: string, o: DatasetOptions, what: string): string {
  if (o.root) return o.root;
  throw new TorchclipError(
    "E_DATASET_NOT_FOUND",
    `${name} has no download here; give its folder as root (--root): ${what}`,
    { subject: "root" },
  );
}

async function eurosat(o: DatasetOptions): Promise<Dataset> {
  // A folder of the user's may also hold the class folders themselves.
  const direct = o.root !== undefined && !(await exists(join(o.root, "2750")));
  const { folder, origin } = direct ? atRoot(o.root!) : await unpacked("eurosat", ARCHIVES.eurosat, o);
  const inner = direct ? folder : join(folder, "2750");
  const names = (own: readonly string[]) =>
    own.map((folder) => {
      const name = EUROSAT[folder];
      if (!name || own.length !== 10)
        throw bad(
          inner,
          `${own.length} folders, among them ${folder}; EuroSAT has ${Object.keys(EUROSAT).join(", ")}`,
        );
      return name;
    });
  return folders("eurosat", inner, o, names, origin);
}

/**
 * Labels and splits are variables of MATLAB files, images are jpg/image_00001.jpg on; classes count from 1.
 */
async function flowers102(o: DatasetOptions): Promise<Dataset> {
  checkSplit("flowers102", o, ["train", "valid", "test"]);
  const { folder, origin } = await unpacked("flowers102", FLOWERS_IMAGES, o);
  const variable = async (archive: Archive, name: string): Promise<number[]> => {
    const file = join((await unpacked("flowers102", archive, o)).folder, archive.probe);
    let values: number[] | undefined;
    try {
      values = readMat(await bytesOf(file)).get(name);
    } catch (cause) {
      if (cause instanceof TorchclipError) throw cause;
      throw bad(file, (cause as Error).message);
    }
    if (!values?.length) throw bad(file, `it has no numbers named "${name}"`);
    return values;
  };
  const split = !o.split || o.split === "test" ? "test" : o.split === "train" ? "train" : "val";
  const labels = await variable(FLOWERS_LABELS, "labels");
  const ids = await variable(FLOWERS_SPLITS, { train: "trnid", val: "valid", test: "tstid" }[split]);
  const { classes } = CLIP_PROMPTS.flowers102;
  const samples = ids.map((id) => {
    const label = labels[id - 1];
    if (!Number.isInteger(label) || label < 1 || label > classes.length)
      throw bad(
        join(folder, FLOWERS_LABELS.probe),
        `image ${id} has class ${label} of 1 to ${classes.length}`,
      );
    const name = `jpg/image_${String(id).padStart(5, "0")}.jpg`;
    return { read: () => join(folder, name), label: label - 1, name };
  });
  return make("flowers102", { split, classes, samples, source: origin });
}

async function country211(o: DatasetOptions): Promise<Dataset> {
  const { folder: root, origin } = await unpacked("country211", ARCHIVES.country211, o);
  const folder = join(root, "country211");
  const { classes } = CLIP_PROMPTS.country211;
  const names = (own: readonly string[]) => {
    if (own.length !== classes.length || own.some((c) => !/^[A-Z]{2}$/.test(c)))
      throw bad(folder, `${own.length} class folders; Country211 has ${classes.length} country codes`);
    return classes; // in the order of the codes
  };
  return folders("country211", folder, o, names, origin);
}

async function imagenet(o: DatasetOptions): Promise<Dataset> {
  const root = needRoot("imagenet", o, "val/n01440764/…, a folder for each WordNet id");
  const { classes, folders: ids = [] } = CLIP_PROMPTS.imagenet;
  const names = (own: readonly string[]) => {
    const wrong = own.findIndex((id, i) => id !== ids[i]);
    if (wrong >= 0 || own.length !== ids.length)
      throw bad(
        root,
        `${own.length} class folders${wrong >= 0 ? `, number ${wrong} is ${own[wrong]} instead of ${ids[wrong]}` : ""}; ImageNet-1k has ${ids.length}`,
      );
    return classes;
  };
  return folders("imagenet", root, { ...o, split: o.split ?? "valid" }, names, atRoot(root).origin);
}

export const CLIP_SETS: readonly DatasetEntry[] = [
  {
    name: "cifar10",
    description: "CIFAR-10: 32 × 32 images, 10 classes",
    splits: "train 50000, test 10000",
    open: (o) => cifar("cifar10", o),
  },
  {
    name: "cifar100",
    description: "CIFAR-100: 32 × 32 images, 100 classes",
    splits: "train 50000, test 10000",
    open: (o) => cifar("cifar100", o),
  },
  {
    name: "mnist",
    description: "handwritten digits, 28 × 28",
    splits: "train 60000, test 10000",
    open: mnist,
  },
  {
    name: "stl10",
    description: "STL-10: 96 × 96 images, 10 classes",
    splits: "train 5000, test 8000",
    open: stl10,
  },
  { name: "food101", description: "Food-101: dishes", splits: "train 75750, test 25250", open: food101 },
  {
    name: "dtd",
    description: "Describable Textures, partition 1, 47 classes",
    splits: "train 1880, valid 1880, test 1880",
    open: dtd,
  },
  {
    name: "oxford-pets",
    description: "Oxford-IIIT Pet, 37 breeds",
    splits: "train 3680, test 3669",
    open: pets,
  },
  {
    name: "eurosat",
    description: "EuroSAT: satellite images of land use, 10 classes",
    splits: "27000 in all",
    open: eurosat,
  },
  {
    name: "flowers102",
    description: "Oxford Flowers, 102 classes",
    splits: "train 1020, valid 1020, test 6149",
    open: flowers102,
  },
  {
    name: "country211",
    description: "Country211 (OpenAI): where a photo was taken",
    splits: "train 31650, valid 10550, test 21100",
    open: country211,
  },
  {
    name: "imagenet",
    description: "ImageNet-1k in folders of WordNet ids, 80 templates; --root",
    splits: "valid 50000",
    open: imagenet,
  },
];
