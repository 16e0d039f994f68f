import { join } from "node:path";
import { parse } from "csv-parse/sync";
import { readText } from "../../util/text-file.js";
import { Dataset, type Sample } from "../dataset.js";
import { imagesBelow, listFolder } from "../formats/walk.js";
import type { DatasetOptions } from "../types.js";
import { atRoot, innerFolder } from "./archive.js";
import { needRoot } from "./class-folders.js";
import { bad, checkSplit, linesOf, listSplit, make, wanted } from "./common.js";
import { CLIP_PROMPTS } from "./prompts.js";
import { shardedSet } from "./shards.js";

/**
 * GTSRB (Stallkamp et al. 2011) in torchvision's layout: `GTSRB/Final_Test/Images/00000.ppm` with
 * `GT-final_test.csv`, or `GTSRB/Training/00000/00000_00000.ppm`.
 */
export async function gtsrb(o: DatasetOptions): Promise<Dataset> {
  const classes = [...CLIP_PROMPTS.gtsrb.classes];
  const shards = await shardedSet("gtsrb", o);
  if (shards) return shards;
  checkSplit("gtsrb", o, ["train", "test"]);
  const given = needRoot("gtsrb", o, "GTSRB/Final_Test/Images/… and GT-final_test.csv");
  const root = await innerFolder(given, "gtsrb");
  const split = wanted(o);
  const samples = split === "train" ? await trainingSigns(root, classes) : await testSigns(root, classes);
  return make("gtsrb", { split, classes, samples, source: atRoot(given).origin });
}

/** Folders of five digits, the number of the class. */
async function trainingSigns(root: string, classes: readonly string[]): Promise<Sample[]> {
  const folder = join(root, "GTSRB", "Training");
  const samples: Sample[] = [];
  for (const name of (await listFolder(folder)).folders) {
    const label = Number(name);
    if (!(label in classes)) throw bad(folder, `the folder ${name} is none of ${classes.length} classes`);
    for (const image of (await imagesBelow(join(folder, name))).images)
      samples.push({ read: image.read, label, name: join(name, image.name) });
  }
  return samples;
}

async function testSigns(root: string, classes: readonly string[]): Promise<Sample[]> {
  const file = join(root, "GT-final_test.csv");
  const text = await readText(file);
  let rows: Record<string, string | undefined>[];
  try {
    rows = parse(text, { columns: true, delimiter: ";", trim: true, skip_empty_lines: true });
  } catch (cause) {
    throw bad(file, (cause as Error).message);
  }
  return rows.map(({ Filename: name, ClassId: id }, i): Sample => {
    const label = /^\d+$/.test(id ?? "") ? Number(id) : -1;
    if (!name || !(label in classes)) throw bad(file, `line ${i + 2}: no Filename and ClassId of 0 to 42`);
    const image = join(root, "GTSRB", "Final_Test", "Images", name);
    return { read: () => image, label, name };
  });
}

/**
 * FGVC Aircraft (Maji et al. 2013), variants: `fgvc-aircraft-2013b/data/images_variant_test.txt`, a line of
 * `1514522 707-320` for each image. The class names are the set's own.
 */
export async function fgvcAircraft(o: DatasetOptions): Promise<Dataset> {
  const name = "fgvc-aircraft";
  const shards = await shardedSet(name, o);
  if (shards) return shards;
  checkSplit(name, o, ["train", "valid", "trainval", "test"]);
  const split = listSplit(o);
  const given = needRoot(name, o, "fgvc-aircraft-2013b/data/…");
  const root = join(await innerFolder(given, "fgvc-aircraft-2013b"), "data");
  const variants = join(root, "variants.txt");
  const classes = await linesOf(variants);
  const expected = CLIP_PROMPTS[name].classes.length;
  if (classes.length !== expected)
    throw bad(variants, `${classes.length} variants; FGVC Aircraft has ${expected}`);
  const list = join(root, `images_variant_${split}.txt`);
  const samples = (await linesOf(list)).map((line, i): Sample => {
    const [id, variant] = [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)];
    const label = classes.indexOf(variant);
    if (id === "" || label < 0) throw bad(list, `line ${i + 1}: "${line}" is no image and variant`);
    const image = join(root, "images", `${id}.jpg`);
    return { read: () => image, label, name: `${id}.jpg` };
  });
  return make(name, { split, classes, samples, source: atRoot(given).origin });
}
