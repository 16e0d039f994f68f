import { join } from "node:path";
import { TorchclipError } from "../../errors.js";
import type { Origin } from "../../util/origin.js";
import { Dataset } from "../dataset.js";
import { folderDataset } from "../formats/folder.js";
import type { DatasetOptions } from "../types.js";
import { atRoot, exists, unpacked } from "./archive.js";
import { bad, make } from "./common.js";
import { CLIP_PROMPTS, type ClipSetName } from "./prompts.js";
import { ARCHIVES } from "./publishers.js";

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

function needRoot(name: string, o: DatasetOptions, what: string): string {
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
