import { join } from "node:path";
import { Untrusted, type JsonObject } from "../../util/untrusted.js";
import { Dataset, type Sample } from "../dataset.js";
import { folderDataset } from "../formats/folder.js";
import { listFolder } from "../formats/walk.js";
import type { DatasetOptions } from "../types.js";
import { atRoot, innerFolder } from "./archive.js";
import { needRoot } from "./class-folders.js";
import { bad, bytesOf, checkSplit } from "./common.js";
import { CLIP_PROMPTS, IMAGENET_SUBSETS } from "./prompts.js";

const { classes: NAMES, folders: IDS, templates, source } = CLIP_PROMPTS.imagenet;
const PROMPTS = [{ templates, source }];

/** A set whose classes are folders: what each of them is. */
interface FolderSet {
  name: string;
  root: string;
  /** The name of the class of each folder, in the order in which the set has them. */
  folders: ReadonlyMap<string, string>;
}

/**
 * The images of a folder of class folders, whose classes stand in the order of `folders`. Throws E_DATASET_FORMAT
 * where a class folder is missing or unknown.
 */
async function inOrder({ name, root, folders }: FolderSet): Promise<Dataset> {
  const data = await folderDataset(root, undefined, name);
  const unknown = data.classes.find((folder) => !folders.has(folder));
  if (unknown !== undefined)
    throw bad(root, `the folder ${unknown} is none of the ${folders.size} of ${name}`);
  const order = [...folders.keys()];
  const missing = order.find((folder) => !data.classes.includes(folder));
  if (missing !== undefined)
    throw bad(root, `${data.classes.length} class folders, without ${missing}; ${name} has ${folders.size}`);
  const places = data.classes.map((folder) => order.indexOf(folder));
  const samples = [...data].map((sample): Sample => ({
    ...sample,
    label: places[sample.label] ?? sample.label,
  }));
  const { origin } = atRoot(root);
  const { notes } = data;
  return new Dataset({
    name,
    split: "test",
    classes: [...folders.values()],
    samples,
    prompts: PROMPTS,
    source: origin,
    notes,
  });
}

/** WordNet ids with the names of ImageNet's prompts. */
function byId(ids: readonly string[]): Map<string, string> {
  return new Map(ids.map((id) => [id, NAMES[IDS.indexOf(id)] ?? id]));
}

/** ImageNet-A, -R and -O (Hendrycks et al.): 200 of ImageNet's classes each. */
export async function imagenetSubset(
  name: keyof typeof IMAGENET_SUBSETS,
  o: DatasetOptions,
): Promise<Dataset> {
  checkSplit(name, o, ["test"]);
  const root = needRoot(name, o, `${name}/n01443537/…, a folder for each WordNet id`);
  return inOrder({ name, root: await innerFolder(root, name), folders: byId(IMAGENET_SUBSETS[name]) });
}

/** ImageNet-Sketch (Wang et al. 2019): `sketch/n01440764/…`. */
export async function imagenetSketch(o: DatasetOptions): Promise<Dataset> {
  checkSplit("imagenet-sketch", o, ["test"]);
  const root = needRoot("imagenet-sketch", o, "sketch/n01440764/…, a folder for each WordNet id");
  return inOrder({ name: "imagenet-sketch", root: await innerFolder(root, "sketch"), folders: byId(IDS) });
}

/** ImageNet-V2, matched frequency (Recht et al. 2019): a folder for each class, by its number without zeros. */
export async function imagenetV2(o: DatasetOptions): Promise<Dataset> {
  checkSplit("imagenet-v2", o, ["test"]);
  const inner = "imagenetv2-matched-frequency-format-val";
  const root = needRoot("imagenet-v2", o, `${inner}/0/… to ${inner}/999/…`);
  const folders = new Map(NAMES.map((name, i) => [String(i), name]));
  return inOrder({ name: "imagenet-v2", root: await innerFolder(root, inner), folders });
}

/**
 * ObjectNet (Barbu et al. 2019): the images of the 113 of its classes that are among ImageNet's, named as ObjectNet
 * names them, as in CLIP_benchmark. Images keep their red border of one pixel, as there.
 */
export async function objectnet(o: DatasetOptions): Promise<Dataset> {
  checkSplit("objectnet", o, ["test"]);
  const given = needRoot("objectnet", o, "objectnet-1.0/images/… and objectnet-1.0/mappings/…");
  const root = await innerFolder(given, "objectnet-1.0");
  const labels = await jsonObject(join(root, "mappings", "folder_to_objectnet_label.json"));
  const known = await jsonObject(join(root, "mappings", "objectnet_to_imagenet_1k.json"));
  const images = join(root, "images");
  const there = (await listFolder(images)).folders;
  const folders = Object.keys(labels)
    .filter((folder) => Object.hasOwn(known, String(labels[folder])))
    .sort();
  const missing = folders.find((folder) => !there.includes(folder));
  if (missing !== undefined) throw bad(images, `no folder ${missing}, which is one of ImageNet's classes`);
  const all = await folderDataset(images, undefined, "objectnet");
  const samples = [...all].flatMap((sample): Sample[] => {
    const label = folders.indexOf(all.classes[sample.label] ?? "");
    return label < 0 ? [] : [{ ...sample, label }];
  });
  return new Dataset({
    name: "objectnet",
    split: "test",
    classes: folders.map((folder) => String(labels[folder]).toLowerCase()),
    samples,
    prompts: PROMPTS,
    source: atRoot(given).origin,
    notes: all.notes,
  });
}

async function jsonObject(file: string): Promise<JsonObject> {
  const text = (await bytesOf(file)).toString("utf8");
  const check = new Untrusted("E_DATASET_FORMAT", file);
  return check.object(check.json(text), "it");
}
