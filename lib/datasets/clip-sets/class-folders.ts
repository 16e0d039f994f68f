import { join, sep } from "node:path";
import { TorchclipError } from "../../errors.js";
import { exists } from "../../util/files.js";
import type { Origin } from "../../util/origin.js";
import { Dataset, type Sample } from "../dataset.js";
import { folderDataset } from "../formats/folder.js";
import { imagesBelow } from "../formats/walk.js";
import type { DatasetOptions } from "../types.js";
import { atRoot, innerFolder, unpacked } from "./archive.js";
import { bad, checkSplit, linesOf, make, promptClasses } from "./common.js";
import { CLIP_PROMPTS, type ClipSetName } from "./prompts.js";
import { ARCHIVES } from "./publishers.js";
import { shardedSet } from "./shards.js";

/** The set's own folders, in their order, for the names of CLIP's prompts (whose order is another). */
const EUROSAT: Record<string, string | undefined> = {
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
  name: ClipSetName,
  root: string,
  o: DatasetOptions,
  names: (own: readonly string[]) => string[],
  source: Origin,
): Promise<Dataset> {
  const data = await folderDataset(root, o.split, name);
  const { split, splits, notes } = data;
  return make(name, { split, classes: names(data.classes), samples: [...data], source, splits, notes });
}

/** The folder of a set that is not downloaded. */
export function needRoot(name: string, o: DatasetOptions, what: string): string {
  if (o.root) return o.root;
  throw new TorchclipError(
    "E_DATASET_NOT_FOUND",
    `${name} has no download here; give its folder as root (--root): ${what}`,
    { subject: "root" },
  );
}

export async function eurosat(o: DatasetOptions): Promise<Dataset> {
  // A folder of the user's may also hold the class folders themselves.
  const direct = o.root !== undefined && !(await exists(join(o.root, "2750"))) ? o.root : undefined;
  const { folder, origin } =
    direct === undefined ? await unpacked("eurosat", ARCHIVES.eurosat, o) : atRoot(direct);
  const inner = direct ?? join(folder, "2750");
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

export async function country211(o: DatasetOptions): Promise<Dataset> {
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

/** RESISC45 (Cheng et al. 2017): `NWPU-RESISC45/airplane/airplane_001.jpg`, 700 images a class. */
export async function resisc45(o: DatasetOptions): Promise<Dataset> {
  const shards = await shardedSet("resisc45", o);
  if (shards) return shards;
  const given = needRoot(
    "resisc45",
    o,
    "NWPU-RESISC45/airplane/…, or test/0.tar of clip-benchmark/wds_vtab-resisc45",
  );
  const root = await innerFolder(given, "NWPU-RESISC45");
  const names = (own: readonly string[]) => promptClasses(own, CLIP_PROMPTS.resisc45, root);
  return folders("resisc45", root, o, names, atRoot(given).origin);
}

/**
 * Caltech-101 (Fei-Fei et al. 2004): `101_ObjectCategories/accordion/…`, the background among the 102 classes. All of
 * its images; VTAB's test split, by which papers report, is that of the shards.
 */
export async function caltech101(o: DatasetOptions): Promise<Dataset> {
  const { classes, folders: own } = CLIP_PROMPTS.caltech101;
  const shards = await shardedSet("caltech101", o);
  if (shards) return shards;
  const what = "101_ObjectCategories/accordion/…, or test/0.tar of clip-benchmark/wds_vtab-caltech101";
  const given = needRoot("caltech101", o, what);
  const root = await innerFolder(given, "101_ObjectCategories");
  const names = (found: readonly string[]) => {
    const unknown = found.find((folder) => !own.includes(folder));
    if (unknown !== undefined || found.length !== own.length)
      throw bad(
        root,
        `${found.length} class folders${unknown ? `, among them ${unknown}` : ""}; Caltech-101 has 102`,
      );
    return found.map((folder) => classes[own.indexOf(folder)] ?? folder);
  };
  return folders("caltech101", root, o, names, atRoot(given).origin);
}

/**
 * SUN397 (Xiao et al. 2010): `SUN397/ClassName.txt` names the classes, `/a/abbey`, whose images are in the folder of
 * that path. All of its images, as CLIP_benchmark.
 */
export async function sun397(o: DatasetOptions): Promise<Dataset> {
  const shards = await shardedSet("sun397", o);
  if (shards) return shards;
  checkSplit("sun397", o, ["all"]);
  const { folder: given, origin } = await unpacked("sun397", ARCHIVES.sun397, o);
  const root = join(given, "SUN397");
  const list = join(root, "ClassName.txt");
  const paths = await linesOf(list);
  const expected = CLIP_PROMPTS.sun397.classes.length;
  if (paths.length !== expected) throw bad(list, `${paths.length} classes; SUN397 has ${expected}`);
  const samples: Sample[] = [];
  for (const [label, path] of paths.entries()) {
    const images = (await imagesBelow(join(root, path))).images.filter(({ name }) => !name.includes(sep));
    if (images.length === 0) throw bad(join(root, path), "it holds no image of its class");
    for (const { name, read } of images) samples.push({ read, label, name: join(path.slice(1), name) });
  }
  const classes = paths.map((path) => path.replace(/^\/.\//, "").replace(/[_/]/g, " "));
  return make("sun397", { split: "all", classes, samples, source: origin });
}

export async function imagenet(o: DatasetOptions): Promise<Dataset> {
  const root = needRoot("imagenet", o, "val/n01440764/…, a folder for each WordNet id");
  const { classes, folders: ids } = CLIP_PROMPTS.imagenet;
  const names = (own: readonly string[]) => {
    const wrong = own.findIndex((id, i) => id !== ids[i]);
    if (wrong >= 0 || own.length !== ids.length) {
      const which =
        wrong >= 0 ? `, number ${wrong} is ${String(own[wrong])} instead of ${String(ids[wrong])}` : "";
      throw bad(root, `${own.length} class folders${which}; ImageNet-1k has ${ids.length}`);
    }
    return classes;
  };
  return folders("imagenet", root, { ...o, split: o.split ?? "valid" }, names, atRoot(root).origin);
}
