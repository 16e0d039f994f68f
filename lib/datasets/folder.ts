import { join } from "node:path";
import { TorchclipError } from "../errors.js";
import { countSplit, Dataset, type Sample, type SplitCount } from "./dataset.js";
import { foldersIn, hasImages, imagesBelow } from "./walk.js";

const SPLITS: readonly string[][] = [["train"], ["valid", "val", "validation"], ["test"]];
const SHOWN = 5; // names in a message

/** A split's names by any of its usual spellings: "val" and "valid" mean the same. */
export function splitNames(split: string): string[] {
  return SPLITS.find((names) => names.includes(split)) ?? [split];
}

/**
 * ROOT/CLASS/…/IMAGE, or ROOT/SPLIT/CLASS/…/IMAGE: the classes are the folders in order of name, as torchvision's
 * ImageFolder. Links are followed; hidden files and folders, and files that are no images, are left out. Throws
 * E_DATASET_FORMAT where a class folder holds no image, and where the images lie in no class folders.
 */
export async function folderDataset(root: string, split?: string, name = root): Promise<Dataset> {
  const top = await foldersIn(root);
  const { known, strays } = await splitsAmong(root, top);
  if (known.length === 0) {
    if (split && split !== "all") {
      const folders = top.slice(0, SHOWN).join(", ") || "none";
      throw new TorchclipError("E_DATASET_NOT_FOUND", `${root} has no splits; its folders are classes (${folders})`, { subject: root });
    }
    await checkClasses(root, top);
    const { samples, notes } = await samplesIn(root, top, true);
    return new Dataset({ name, split: "all", classes: top, samples, notes });
  }
  const wanted = split ? known.find((folder) => splitNames(split).includes(folder)) : (known.find((folder) => folder === "test") ?? known[0]);
  if (!wanted) throw new TorchclipError("E_DATASET_NOT_FOUND", `${root} has no split "${split}"; it has ${known.join(", ")}`, { subject: root });
  const classes = await foldersIn(join(root, wanted));
  await checkClasses(join(root, wanted), classes);
  const splits: SplitCount[] = [];
  let own: { samples: Sample[]; notes: string[] } = { samples: [], notes: [] };
  for (const folder of known) {
    const found = await samplesIn(join(root, folder), classes, folder === wanted);
    if (folder === wanted) own = found;
    splits.push(countSplit(folder, found.samples, classes.length));
  }
  const left = strays.length ? [`${root}: left out the folders ${strays.join(", ")}, which are no splits.`] : [];
  return new Dataset({ name, split: wanted, classes, samples: own.samples, splits, notes: [...own.notes, ...left] });
}

/**
 * Which folders are splits. A folder named "train" may also be a class, so all of them must be splits, or what lies beside
 * them must hold no images (annotations), or there are two or more and they hold class folders instead of images.
 */
async function splitsAmong(root: string, top: readonly string[]): Promise<{ known: string[]; strays: string[] }> {
  const known = SPLITS.flat().filter((folder) => top.includes(folder));
  const strays = top.filter((folder) => !known.includes(folder));
  if (known.length === 0 || strays.length === 0) return { known, strays };
  const holdsClasses = async (folder: string) => (await foldersIn(join(root, folder))).length > 0 && !(await hasImages(join(root, folder)));
  const split = (await Promise.all(known.map(holdsClasses))).every(Boolean);
  if (split && known.length >= 2) return { known, strays };
  for (const folder of strays) if ((await imagesBelow(join(root, folder))).images.length > 0) return { known: [], strays: [] };
  return { known, strays };
}

/** Explains a folder whose images lie in it instead of in class folders. */
async function checkClasses(root: string, classes: readonly string[]): Promise<void> {
  if (classes.length > 0 || !(await hasImages(root))) return;
  throw new TorchclipError(
    "E_DATASET_FORMAT",
    `${root} holds images and no class folders. A data set has a folder for each class (${join(root, "cat", "1.jpg")}), or a list of images with the ` +
      `columns path and label (.csv); images without labels are for "torchclip embed"`,
    { subject: root },
  );
}

/** The images of the class folders; `all`: every class must have one. */
async function samplesIn(root: string, classes: readonly string[], all: boolean): Promise<{ samples: Sample[]; notes: string[] }> {
  const samples: Sample[] = [];
  const notes: string[] = [];
  const empty: string[] = [];
  const there = all ? classes : await foldersIn(root);
  for (const [label, folder] of classes.entries()) {
    const { images, leftOut } = there.includes(folder) ? await imagesBelow(join(root, folder)) : { images: [], leftOut: undefined };
    for (const { name, read } of images) samples.push({ read, label, name: join(folder, name) });
    if (images.length === 0) empty.push(folder);
    notes.push(...(leftOut?.notes(join(root, folder)) ?? []));
  }
  if (all && empty.length > 0 && samples.length > 0) {
    const named = empty.slice(0, SHOWN).join(", ") + (empty.length > SHOWN ? ` and ${empty.length - SHOWN} more` : "");
    throw new TorchclipError("E_DATASET_FORMAT", `${root}: no images that can be decoded in ${named}; each folder is a class and must hold some`, {
      subject: root,
    });
  }
  return { samples, notes };
}
