import { dirname, extname, resolve } from "node:path";
import { TorchclipError } from "../../errors.js";
import { isLocation } from "../../redact.js";
import { exists } from "../../util/files.js";
import { mapLimited } from "../../util/iterate.js";
import type { CaptionedImage, CaptionOptions, CaptionSet } from "./caption-set.js";
import { readJsonCaptions, type Listed, type ListedImage } from "./json-captions.js";
import { readListCaptions, readTextCaptions } from "./list-captions.js";
import { Problems } from "./problems.js";

type Reader = (file: string, options: CaptionOptions, problems: Problems) => Promise<Listed>;

const READERS: Record<string, Reader | undefined> = {
  ".json": readJsonCaptions,
  ".csv": readListCaptions,
  ".tsv": readListCaptions,
  ".jsonl": readListCaptions,
  ".txt": readTextCaptions,
};

/** Files that are looked for at once. */
const AT_ONCE = 64;

/**
 * Images with their captions, read from a file:
 * - `.json`: Karpathy's `dataset_coco.json` and `dataset_flickr30k.json`, COCO's `captions_val2014.json`, and
 *   CLIP_benchmark's `coco_test_karpathy.json`;
 * - `.txt`: CLIP_benchmark's `flickr30k_test_karpathy.txt`;
 * - `.csv`, `.tsv`, `.jsonl`: a row for each caption.
 *
 * Throws E_DATASET_NOT_FOUND where the file, the split or all of the images are missing, E_DATASET_FORMAT with the
 * line or the index of what is wrong, E_DATASET_EMPTY where no image is left.
 *
 * @example
 * const data = await loadCaptions("dataset_coco.json", { root: "coco", split: "test" });
 */
export async function loadCaptions(file: string, options: CaptionOptions = {}): Promise<CaptionSet> {
  const read = READERS[extname(file).toLowerCase()];
  if (!read)
    throw new TorchclipError(
      "E_DATASET_FORMAT",
      `${file} is no .json, .csv, .tsv, .jsonl or .txt of captions`,
      {
        subject: file,
      },
    );
  const problems = new Problems();
  const listed = await read(file, options, problems);
  const images = await present(listed.images, options.root ?? dirname(file), problems);
  const notes = problems.report(file, options.strict ?? false);
  if (images.length === 0)
    throw new TorchclipError(
      "E_DATASET_EMPTY",
      [`${file} has no image with a caption`, ...notes].join(". "),
      {
        subject: file,
      },
    );
  return {
    name: file,
    split: listed.split,
    images,
    source: { kind: "path", location: file, hashKnown: false },
    notes,
  };
}

/** The images whose files are there; URLs are not asked. */
async function present(
  listed: readonly ListedImage[],
  root: string,
  problems: Problems,
): Promise<CaptionedImage[]> {
  const paths = await mapLimited(listed, AT_ONCE, (image) => pathOf(image, root));
  const first = listed.at(0);
  if (first && paths.every((path) => path === undefined)) {
    const message =
      `none of the ${listed.length} images is in ${root} (the first is ${first.name}); ` +
      "give their folder as root (--root)";
    throw new TorchclipError("E_DATASET_NOT_FOUND", message, { subject: root });
  }
  return listed.flatMap(({ name, captions }, i) => {
    const image = paths[i];
    if (image !== undefined) return [{ name, image, captions }];
    problems.addMissingImage(name);
    return [];
  });
}

async function pathOf({ name, others = [] }: ListedImage, root: string): Promise<string | undefined> {
  if (isLocation(name)) return name;
  for (const candidate of [name, ...others]) {
    const path = resolve(root, candidate);
    if (await exists(path)) return path;
  }
  return undefined;
}
