import { join } from "node:path";
import { TorchclipError } from "../../errors.js";
import type { RawImage } from "../../images/types.js";
import { readMatBytes, readMatRecords, readMatTexts } from "../../util/mat.js";
import { Dataset, type Sample } from "../dataset.js";
import type { DatasetOptions } from "../types.js";
import { atRoot, innerFolder, unpacked } from "./archive.js";
import { needRoot } from "./class-folders.js";
import { bad, bytesOf, checkSplit, make, wanted } from "./common.js";
import { CLIP_PROMPTS } from "./prompts.js";
import { SVHN_FILES } from "./publishers.js";
import { shardedSet } from "./shards.js";

/** Bytes of SVHN's images, unpacked; its largest split, "extra", has 1.6 GB. */
const MOST_BYTES = 2 ** 31 - 1;
const SVHN_SIDE = 32;

/** What a reader of MATLAB files finds, or E_DATASET_FORMAT with the file's name. */
function matPart<T>(file: string, what: string, read: () => T | undefined): T {
  let found: T | undefined;
  try {
    found = read();
  } catch (cause) {
    if (cause instanceof TorchclipError) throw cause;
    throw bad(file, (cause as Error).message);
  }
  if (found === undefined) throw bad(file, `it has no ${what}`);
  return found;
}

/**
 * SVHN, cropped digits (Netzer et al. 2011): `test_32x32.mat` with X, uint8 [32, 32, 3, images], and y, in which 10
 * is the digit 0. The images are held in memory as long as the data set (80 MB of the test split, 225 MB of the
 * training split).
 */
export async function svhn(o: DatasetOptions): Promise<Dataset> {
  const { classes } = CLIP_PROMPTS.svhn;
  const shards = await shardedSet("svhn", o);
  if (shards) return shards;
  checkSplit("svhn", o, ["train", "test"]);
  const split = wanted(o);
  const publisher = SVHN_FILES[split];
  const { folder, origin } = await unpacked("svhn", { ...publisher, kind: "file" }, o);
  const file = join(folder, publisher.probe);
  const bytes = await bytesOf(file);
  const variables = matPart(file, "variables", () => readMatBytes(bytes, MOST_BYTES));
  const { sizes, data } = matPart(file, "bytes named X", () => variables.get("X"));
  const labels = [...matPart(file, "bytes named y", () => variables.get("y")).data];
  const [height, width, channels, images = 1] = sizes;
  if (height !== SVHN_SIDE || width !== SVHN_SIDE || channels !== 3)
    throw bad(file, `X is ${sizes.join(" × ")}; SVHN's is 32 × 32 × 3 × images`);
  const bytesOfImages = images * SVHN_SIDE * SVHN_SIDE * 3;
  if (sizes.length > 4 || data.length !== bytesOfImages)
    throw bad(file, `X holds ${data.length} bytes of ${bytesOfImages}`);
  if (labels.length !== images) throw bad(file, `${labels.length} labels for ${images} images`);
  const samples = labels.map((digit, i): Sample => {
    if (digit < 1 || digit > 10) throw bad(file, `image ${i} has the label ${digit} of 1 to 10`);
    const pixels = SVHN_SIDE * SVHN_SIDE * 3;
    const read = () => rowsFirst(data.subarray(i * pixels, (i + 1) * pixels));
    return { name: `${split}#${i}`, label: digit % 10, read };
  });
  return make("svhn", { split, classes: [...classes], samples, source: origin });
}

/** MATLAB's order, y fastest, then x, then the channel, to uint8 [32, 32, 3]. */
function rowsFirst(data: Buffer): RawImage {
  const side = SVHN_SIDE;
  const out = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      for (let c = 0; c < 3; c++) out[(y * side + x) * 3 + c] = data.readUInt8((c * side + x) * side + y);
  return { data: out, width: side, height: side, channels: 3 };
}

/** Where a split of Stanford Cars lies, as in torchvision. */
const CARS = {
  train: { list: join("devkit", "cars_train_annos.mat"), images: "cars_train" },
  test: { list: "cars_test_annos_withlabels.mat", images: "cars_test" },
};

/**
 * Stanford Cars (Krause et al. 2013) in torchvision's layout: `devkit/cars_meta.mat`, `cars_test_annos_withlabels.mat`
 * and `cars_test/00001.jpg`. The class names are the set's own.
 */
export async function stanfordCars(o: DatasetOptions): Promise<Dataset> {
  const name = "stanford-cars";
  const shards = await shardedSet(name, o);
  if (shards) return shards;
  checkSplit(name, o, ["train", "test"]);
  const split = wanted(o);
  const given = needRoot(name, o, "stanford_cars/devkit, stanford_cars/cars_test/… and their annotations");
  const root = await innerFolder(given, "stanford_cars");
  const meta = join(root, "devkit", "cars_meta.mat");
  const metaBytes = await bytesOf(meta);
  const classes = matPart(meta, "texts named class_names", () => readMatTexts(metaBytes, "class_names"));
  const expected = CLIP_PROMPTS[name].classes.length;
  if (classes.length !== expected)
    throw bad(meta, `${classes.length} classes; Stanford Cars has ${expected}`);
  const list = join(root, CARS[split].list);
  const listBytes = await bytesOf(list);
  const records = matPart(list, "records named annotations", () => readMatRecords(listBytes, "annotations"));
  const samples = records.map(({ fname, class: id }, i): Sample => {
    const label = Number(id) - 1;
    if (typeof fname !== "string" || !(label in classes))
      throw bad(list, `annotation ${i} has the file ${String(fname)} and the class ${String(id)}`);
    const image = join(root, CARS[split].images, fname);
    return { read: () => image, label, name: join(CARS[split].images, fname) };
  });
  return make(name, { split, classes, samples, source: atRoot(given).origin });
}
