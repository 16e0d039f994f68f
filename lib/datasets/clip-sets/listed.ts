import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { TorchclipError } from "../../errors.js";
import { readMat } from "../../util/mat.js";
import { Dataset, type Sample } from "../dataset.js";
import type { DatasetOptions } from "../types.js";
import { unpacked, type Archive } from "./archive.js";
import { bad, bytesOf, checkSplit, linesOf, make, promptClasses, wanted } from "./common.js";
import { CLIP_PROMPTS } from "./prompts.js";
import {
  ARCHIVES,
  FLOWERS_IMAGES,
  FLOWERS_LABELS,
  FLOWERS_SPLITS,
  PETS_ANNOTATIONS,
  PETS_IMAGES,
} from "./publishers.js";

/** Images named by a list, a class a folder: `class/name`. */
function listed(
  images: string,
  names: readonly string[],
  own: readonly string[],
  list: string,
  extension: string,
): Sample[] {
  return names.map((name) => {
    const label = own.indexOf(name.replace(/\/.*$/s, ""));
    if (label < 0) throw bad(list, `"${name}" is of no class of the set`);
    const image = join(images, `${name}${extension}`);
    return { read: () => image, label, name: `${name}${extension}` };
  });
}

/** The wanted split of a set of three. */
function wantedOfThree({ split = "" }: DatasetOptions): "train" | "val" | "test" {
  if (split === "" || split === "test") return "test";
  return split === "train" ? "train" : "val";
}

export async function food101(o: DatasetOptions): Promise<Dataset> {
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

export async function dtd(o: DatasetOptions): Promise<Dataset> {
  checkSplit("dtd", o, ["train", "valid", "test"]);
  const { folder: root, origin } = await unpacked("dtd", ARCHIVES.dtd, o);
  const folder = join(root, "dtd");
  const split = wantedOfThree(o);
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

export async function pets(o: DatasetOptions): Promise<Dataset> {
  checkSplit("oxford-pets", o, ["train", "test"]);
  const { folder: images, origin } = await unpacked("oxford-pets", PETS_IMAGES, o);
  await unpacked("oxford-pets", PETS_ANNOTATIONS, o);
  const list = join(images, "annotations", wanted(o) === "test" ? "test.txt" : "trainval.txt");
  const own: string[] = [];
  const rows = (await linesOf(list))
    .filter((l) => !l.startsWith("#"))
    .map((l, i) => {
      const [name = "", id] = l.split(/\s+/);
      const label = Number(id) - 1;
      if (!Number.isInteger(label) || label < 0) throw bad(list, `line ${i + 1}: no class id in "${l}"`);
      own[label] = name.slice(0, name.lastIndexOf("_"));
      const image = join(images, "images", `${name}.jpg`);
      return { read: () => image, label, name: `${name}.jpg` };
    });
  // An id that no line has is a hole in the list.
  const names = Array.from(own, (name: string | undefined) => name ?? "");
  const classes = promptClasses(names, CLIP_PROMPTS["oxford-pets"], list);
  return make("oxford-pets", { split: wanted(o), classes, samples: rows, source: origin });
}

/**
 * Labels and splits are variables of MATLAB files, images are jpg/image_00001.jpg on; classes count from 1.
 */
export async function flowers102(o: DatasetOptions): Promise<Dataset> {
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
  const split = wantedOfThree(o);
  const labels = await variable(FLOWERS_LABELS, "labels");
  const ids = await variable(FLOWERS_SPLITS, { train: "trnid", val: "valid", test: "tstid" }[split]);
  const { classes } = CLIP_PROMPTS.flowers102;
  const samples = ids.map((id) => {
    const label = labels[id - 1];
    if (label === undefined || !Number.isInteger(label) || label < 1 || label > classes.length)
      throw bad(
        join(folder, FLOWERS_LABELS.probe),
        `image ${id} has class ${String(label)} of 1 to ${classes.length}`,
      );
    const name = `jpg/image_${String(id).padStart(5, "0")}.jpg`;
    return { read: () => join(folder, name), label: label - 1, name };
  });
  return make("flowers102", { split, classes, samples, source: origin });
}
