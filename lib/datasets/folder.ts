import { readdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { TorchclipError } from "../errors.js";
import { countSplit, Dataset, type Sample, type SplitCount } from "./dataset.js";

/** Files that are taken for pictures. */
export const IMAGE_NAME = /\.(jpe?g|png|webp|gif|avif|tiff?|bmp)$/i;
const SPLITS: Record<string, string[]> = { train: ["train"], valid: ["valid", "val", "validation"], test: ["test"] };

/** A split's folder names by any of its usual spellings. */
export function splitFolders(split: string): string[] {
  return Object.values(SPLITS).find((names) => names.includes(split)) ?? [split];
}

/**
 * ROOT/CLASS/…/PICTURE, or ROOT/SPLIT/CLASS/…/PICTURE: the classes are the folders in order of name, as
 * torchvision's ImageFolder. Files that are no pictures are left out.
 */
export async function folderDataset(root: string, split?: string, name = root): Promise<Dataset> {
  const top = await folders(root);
  const known = Object.values(SPLITS)
    .flat()
    .filter((f) => top.includes(f));
  if (known.length === 0 || known.length < top.length) {
    if (split && split !== "all")
      throw new TorchclipError("E_DATASET_NOT_FOUND", `${root} has no splits; its folders are classes (${top.slice(0, 5).join(", ") || "none"})`, {
        subject: root,
      });
    return new Dataset({ name, split: "all", classes: top, samples: await samplesIn(root, top) });
  }
  const wanted = split ? known.find((f) => splitFolders(split).includes(f)) : (known.find((f) => f === "test") ?? known[0]);
  if (!wanted) throw new TorchclipError("E_DATASET_NOT_FOUND", `${root} has no split "${split}"; it has ${known.join(", ")}`, { subject: root });
  const classes = await folders(join(root, wanted));
  const splits: SplitCount[] = [];
  let samples: Sample[] = [];
  for (const folder of known) {
    const own = await samplesIn(join(root, folder), classes);
    if (folder === wanted) samples = own;
    splits.push(countSplit(folder, own, classes.length));
  }
  return new Dataset({ name, split: wanted, classes, samples, splits });
}

async function folders(root: string): Promise<string[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch((cause: unknown) => {
    throw new TorchclipError("E_DATASET_NOT_FOUND", `cannot read the folder ${root}: ${(cause as Error).message}`, { subject: root, cause });
  });
  return entries
    .filter((e) => e.isDirectory())
    .map((e) => e.name)
    .sort();
}

async function samplesIn(root: string, classes: readonly string[]): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const [label, folder] of classes.entries()) {
    const files = await readdir(join(root, folder), { recursive: true }).catch(() => []);
    for (const file of files.filter((f) => IMAGE_NAME.test(f)).sort()) {
      const image = join(root, folder, file);
      samples.push({ image, label, name: relative(root, image) });
    }
  }
  return samples;
}
