import { join } from "node:path";
import { TorchclipError } from "../../errors.js";
import { LeftOut } from "../../images/image-names.js";
import type { Origin } from "../../util/origin.js";
import { countSplit, Dataset, type Sample, type SplitCount } from "../dataset.js";
import { imagesBelow, listFolder, type Listing } from "./walk.js";

const SPLITS: readonly string[][] = [["train"], ["valid", "val", "validation"], ["test"]];
const SHOWN = 5; // names in a message

/** A split's names by any of its usual spellings: "val" and "valid" mean the same. */
export function splitNames(split: string): string[] {
  return SPLITS.find((names) => names.includes(split)) ?? [split];
}

/**
 * ROOT/CLASS/…/IMAGE, or ROOT/SPLIT/CLASS/…/IMAGE: the classes are the folders in order of name, as
 * torchvision's ImageFolder. Links are followed; hidden files and folders, and files that are no images, are
 * left out, which the set's notes say with their numbers. Throws E_DATASET_FORMAT where a class folder holds
 * no image, and where the images lie in no class folders.
 */
export async function folderDataset(root: string, split?: string, name = root): Promise<Dataset> {
  const top = await listFolder(root);
  const { known, strays } = await splitsAmong(root, top.folders);
  if (known.length === 0) return unsplitDataset(root, top, split, name);
  const wanted = wantedSplit(root, known, split);
  const inner = await listFolder(join(root, wanted));
  const classes = inner.folders;
  checkClasses(join(root, wanted), inner);
  const splits: SplitCount[] = [];
  let own: FoundSamples = { samples: [], leftOut: new LeftOut() };
  for (const folder of known) {
    const found = await samplesIn(join(root, folder), classes, folder === wanted);
    if (folder === wanted) own = found;
    splits.push(countSplit(folder, found.samples, classes.length));
  }
  const others = strays.length
    ? [`${root}: left out the folders ${strays.join(", ")}, which are no splits.`]
    : [];
  const leftOut = [
    ...top.leftOut.notes(root),
    ...inner.leftOut.notes(join(root, wanted)),
    ...own.leftOut.notes(below(join(root, wanted))),
  ];
  return new Dataset({
    name,
    split: wanted,
    classes,
    samples: own.samples,
    splits,
    source: sourceOf(root),
    notes: [...others, ...leftOut],
  });
}

/** A folder of class folders. */
async function unsplitDataset(
  root: string,
  top: Listing,
  split: string | undefined,
  name: string,
): Promise<Dataset> {
  if (split && split !== "all") {
    const folders = top.folders.length > 0 ? top.folders.slice(0, SHOWN).join(", ") : "none";
    throw new TorchclipError(
      "E_DATASET_NOT_FOUND",
      `${root} has no splits; its folders are classes (${folders})`,
      { subject: root },
    );
  }
  checkClasses(root, top);
  const { samples, leftOut } = await samplesIn(root, top.folders, true);
  const notes = [...top.leftOut.notes(root), ...leftOut.notes(below(root))];
  return new Dataset({ name, split: "all", classes: top.folders, samples, source: sourceOf(root), notes });
}

const sourceOf = (root: string): Origin => ({ kind: "path", location: root, hashKnown: false });

/** The folder of a split; without a name that of the test split, else the first one. */
function wantedSplit(root: string, known: readonly string[], split: string | undefined): string {
  const found = split
    ? known.find((folder) => splitNames(split).includes(folder))
    : (known.find((folder) => folder === "test") ?? known[0]);
  if (found !== undefined) return found;
  throw new TorchclipError(
    "E_DATASET_NOT_FOUND",
    `${root} has no split "${split ?? ""}"; it has ${known.join(", ")}`,
    { subject: root },
  );
}

/** What notes call the class folders of a folder. */
const below = (root: string): string => `${root}, in its class folders`;

/**
 * Which folders are splits. A folder named "train" may also be a class, so all of them must be splits, or
 * what lies beside them must hold no images (annotations), or there are two or more and they hold class
 * folders instead of images.
 */
async function splitsAmong(
  root: string,
  top: readonly string[],
): Promise<{ known: string[]; strays: string[] }> {
  const known = SPLITS.flat().filter((folder) => top.includes(folder));
  const strays = top.filter((folder) => !known.includes(folder));
  if (known.length === 0 || strays.length === 0) return { known, strays };
  const holdsClasses = async (folder: string) => {
    const { folders, hasImages } = await listFolder(join(root, folder));
    return folders.length > 0 && !hasImages;
  };
  const split = (await Promise.all(known.map(holdsClasses))).every(Boolean);
  if (split && known.length >= 2) return { known, strays };
  for (const folder of strays)
    if ((await imagesBelow(join(root, folder))).images.length > 0) return { known: [], strays: [] };
  return { known, strays };
}

/** Explains a folder whose images lie in it instead of in class folders. */
function checkClasses(root: string, { folders, hasImages }: Listing): void {
  if (folders.length > 0 || !hasImages) return;
  throw new TorchclipError(
    "E_DATASET_FORMAT",
    `${root} holds images and no class folders. ` +
      `A data set has a folder for each class (${join(root, "cat", "1.jpg")}), ` +
      "or a list of images with the columns path and label (.csv); " +
      'images without labels are for "torchclip embed"',
    { subject: root },
  );
}

interface FoundSamples {
  samples: Sample[];
  /** What lies in the class folders beside the images. */
  leftOut: LeftOut;
}

/** The images of the class folders; `all`: every class must have one. */
async function samplesIn(root: string, classes: readonly string[], all: boolean): Promise<FoundSamples> {
  const samples: Sample[] = [];
  const leftOut = new LeftOut();
  const empty: string[] = [];
  const there = all ? classes : (await listFolder(root)).folders;
  for (const [label, folder] of classes.entries()) {
    const images = there.includes(folder) ? (await imagesBelow(join(root, folder), leftOut)).images : [];
    for (const { name, read } of images) samples.push({ read, label, name: join(folder, name) });
    if (images.length === 0) empty.push(folder);
  }
  if (all && empty.length > 0 && samples.length > 0) {
    const more = empty.length > SHOWN ? ` and ${empty.length - SHOWN} more` : "";
    const named = empty.slice(0, SHOWN).join(", ") + more;
    throw new TorchclipError(
      "E_DATASET_FORMAT",
      `${root}: no images that can be decoded in ${named}; each folder is a class and must hold some`,
      { subject: root },
    );
  }
  return { samples, leftOut };
}
