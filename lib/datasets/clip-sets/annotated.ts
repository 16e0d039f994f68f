import { join } from "node:path";
import { readText } from "../../util/text-file.js";
import { Untrusted } from "../../util/untrusted.js";
import { Dataset, type Sample } from "../dataset.js";
import { imagesBelow } from "../formats/walk.js";
import type { DatasetOptions } from "../types.js";
import { atRoot, innerFolder } from "./archive.js";
import { needRoot } from "./class-folders.js";
import { bad, checkSplit, make, wanted } from "./common.js";
import { CLIP_PROMPTS } from "./prompts.js";
import { shardedSet } from "./shards.js";

// Tasks that VTAB (Zhai et al. 2019; google-research/task_adaptation) derives from annotations of objects.

/** The class of a distance: the interval between thresholds, as VTAB, in which it lies. */
function intervalOf(distance: number, thresholds: readonly number[]): number {
  return thresholds.findLastIndex((threshold) => threshold < distance);
}

const CLEVR_DISTANCES = [0, 8, 8.5, 9, 9.5, 10, 100];
/** Objects in a scene of CLEVR, at least. */
const CLEVR_LEAST = 3;

/**
 * CLEVR (Johnson et al. 2017): `CLEVR_v1.0/scenes/CLEVR_val_scenes.json` and `CLEVR_v1.0/images/val/…`. The task is
 * how many objects there are, 3 to 10, or how far the closest one is, in six intervals of its depth. The test split
 * is CLEVR's "val", as in VTAB.
 */
export async function clevr(name: "clevr-counts" | "clevr-distance", o: DatasetOptions): Promise<Dataset> {
  const classes = [...CLIP_PROMPTS[name].classes];
  const shards = await shardedSet(name, o);
  if (shards) return shards;
  checkSplit(name, o, ["train", "test"]);
  const given = needRoot(name, o, "CLEVR_v1.0/scenes/CLEVR_val_scenes.json and CLEVR_v1.0/images/val/…");
  const root = await innerFolder(given, "CLEVR_v1.0");
  const split = wanted(o);
  const own = split === "train" ? "train" : "val";
  const file = join(root, "scenes", `CLEVR_${own}_scenes.json`);
  const check = new Untrusted("E_DATASET_FORMAT", file);
  // The scenes of the training split hold more values than the limit of `Untrusted.json`.
  const top = check.object(check.largeJson(await readText(file)), "it");
  const samples = check.array(top.scenes, "scenes").map((value, i): Sample => {
    const scene = check.object(value, `scenes[${i}]`);
    const image = check.text(scene.image_filename, `scenes[${i}].image_filename`);
    const objects = check.array(scene.objects, `scenes[${i}].objects`);
    const label =
      name === "clevr-counts"
        ? objects.length - CLEVR_LEAST
        : closest(objects, `scenes[${i}].objects`, check);
    if (!(label in classes)) throw check.error(`scenes[${i}] is of none of the ${classes.length} classes`);
    const path = join(root, "images", own, image);
    return { read: () => path, label, name: image };
  });
  return make(name, { split, classes, samples, source: atRoot(given).origin });
}

/** The interval of the depth of the closest object. */
function closest(objects: readonly unknown[], where: string, check: Untrusted): number {
  const depths = objects.map((value, i) => {
    const place = `${where}[${i}].pixel_coords`;
    const coordinates = check.array(check.object(value, `${where}[${i}]`).pixel_coords, place);
    return check.number(coordinates[2], `${place}[2]`);
  });
  return intervalOf(least(depths), CLEVR_DISTANCES);
}

/** The least of any number of values, which may be more than a call takes arguments. */
const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity);

const VEHICLES = ["Car", "Van", "Truck"];
const KITTI_DISTANCES = [-100, 8, 20, 999];
/** Metres that stand for "no vehicle". */
const NO_VEHICLE = 1000;
/** Columns of a line of KITTI's labels: type, …, and the location in the camera's x, y and z, in metres. */
const KITTI_COLUMNS = 15;
const KITTI_DEPTH = 13;

/**
 * KITTI (Geiger et al. 2012), distance of the closest vehicle: `training/image_2/000000.png` and
 * `training/label_2/000000.txt`. All labelled images; VTAB's test split of 711, by which papers report, is that of
 * the shards.
 */
export async function kittiDistance(o: DatasetOptions): Promise<Dataset> {
  const name = "kitti-distance";
  const classes = [...CLIP_PROMPTS[name].classes];
  const shards = await shardedSet(name, o);
  if (shards) return shards;
  checkSplit(name, o, ["all"]);
  const shard = "test/0.tar of clip-benchmark/wds_vtab-kitti_closest_vehicle_distance";
  const what = `training/image_2/… and training/label_2/…, or ${shard}`;
  const given = needRoot(name, o, what);
  const root = join(await innerFolder(given, join("Kitti", "raw")), "training"); // "Kitti/raw": torchvision's layout
  const samples: Sample[] = [];
  for (const image of (await imagesBelow(join(root, "image_2"))).images) {
    const file = join(root, "label_2", image.name.replace(/\.[^.]+$/, ".txt"));
    samples.push({ read: image.read, label: vehicleDistance(await readText(file), file), name: image.name });
  }
  return make(name, { split: "all", classes, samples, source: atRoot(given).origin });
}

function vehicleDistance(text: string, file: string): number {
  const distances = [NO_VEHICLE];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "") continue;
    const columns = line.trim().split(/\s+/);
    const depth = Number(columns[KITTI_DEPTH]);
    if (columns.length < KITTI_COLUMNS || !Number.isFinite(depth))
      throw bad(file, `line ${i + 1}: ${columns.length} columns, and no depth in the 14th of 15`);
    if (VEHICLES.includes(columns[0] ?? "")) distances.push(depth);
  }
  return intervalOf(least(distances), KITTI_DISTANCES);
}
