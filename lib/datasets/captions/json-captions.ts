import { join } from "node:path";
import { TorchclipError } from "../../errors.js";
import { readText } from "../../util/text-file.js";
import { isObject, shown, Untrusted, type JsonObject } from "../../util/untrusted.js";
import { splitNames } from "../formats/folder.js";
import type { CaptionOptions } from "./caption-set.js";
import type { Problems } from "./problems.js";

/** An image as a file of captions lists it, before its file is looked for. */
export interface ListedImage {
  name: string;
  /** Other paths below the root where the image may lie. */
  others?: string[];
  captions: string[];
}

/** What a file of captions lists. */
export interface Listed {
  split: string;
  images: ListedImage[];
}

/** Captions of an image that papers on COCO and Flickr30k use; some of COCO's have six or seven. */
const KARPATHY_CAPTIONS = 5;

/**
 * Captions in JSON, in one of two forms: Karpathy's (`dataset_coco.json`, `dataset_flickr30k.json`: images with
 * sentences and a split), and COCO's (`images` and `annotations`; CLIP_benchmark's `coco_test_karpathy.json` has
 * it, too). Throws E_DATASET_FORMAT with the place of what is wrong.
 */
export async function readJsonCaptions(
  file: string,
  options: CaptionOptions,
  problems: Problems,
): Promise<Listed> {
  const check = new Untrusted("E_DATASET_FORMAT", file);
  // Karpathy's COCO file holds more values than the limit of `Untrusted.json`, a token each.
  const top = check.object(check.largeJson(await readText(file)), "it");
  const images = check.array(top.images, "images").map((image, i) => check.object(image, `images[${i}]`));
  if (top.annotations !== undefined) {
    checkNoSplit(file, options.split);
    const annotations = check.array(top.annotations, "annotations");
    return { split: "all", images: cocoImages({ images, annotations, check, problems }, options) };
  }
  const isKarpathy = images.length > 0 && images.every((image) => "sentences" in image);
  if (isKarpathy) return karpathyImages({ images, check, problems }, options);
  throw check.error(
    "it is neither in Karpathy's form (images with sentences) nor in COCO's (images and annotations)",
  );
}

/** Refuses a split of a file that has none. */
export function checkNoSplit(file: string, split: string | undefined): void {
  if (split === undefined || split === "all") return;
  throw new TorchclipError("E_DATASET_NOT_FOUND", `${file} has no splits, so it has no split "${split}"`, {
    subject: file,
  });
}

interface JsonFile {
  images: readonly JsonObject[];
  check: Untrusted;
  problems: Problems;
}

/** Which of Karpathy's splits each name stands for. */
function karpathySplits(split: string): string[] {
  return split === "train" ? ["train", "restval"] : splitNames(split);
}

function karpathyImages({ images, check, problems }: JsonFile, options: CaptionOptions): Listed {
  const split = options.split ?? "test";
  const wanted = karpathySplits(split);
  const most = options.maxCaptions ?? KARPATHY_CAPTIONS;
  const found = new Set<string>();
  const listed: ListedImage[] = [];
  for (const [i, image] of images.entries()) {
    const own = check.text(image.split, `images[${i}].split`);
    found.add(own);
    if (!wanted.includes(own)) continue;
    const filename = check.text(image.filename, `images[${i}].filename`);
    const folder = image.filepath === undefined ? "" : check.text(image.filepath, `images[${i}].filepath`);
    const name = join(folder, filename);
    const captions = sentencesOf(image, i, check, problems).slice(0, most);
    if (captions.length === 0) problems.addImageWithoutCaption(name);
    else listed.push({ name, ...(folder === "" ? {} : { others: [filename] }), captions });
  }
  if (wanted.some((name) => found.has(name))) return { split, images: listed };
  const message = `${check.file} has no split "${split}"; it has ${[...found].map(shown).join(", ")}`;
  throw new TorchclipError("E_DATASET_NOT_FOUND", message, { subject: check.file });
}

function sentencesOf(image: JsonObject, place: number, check: Untrusted, problems: Problems): string[] {
  const where = `images[${place}].sentences`;
  return check.array(image.sentences, where).flatMap((sentence, i) => {
    const raw = check.text(check.object(sentence, `${where}[${i}]`).raw, `${where}[${i}].raw`);
    if (raw.trim() !== "") return [raw];
    problems.addEmptyCaption(`${where}[${i}]`);
    return [];
  });
}

type CocoFile = JsonFile & { annotations: readonly unknown[] };

function cocoImages(
  { images, annotations, check, problems }: CocoFile,
  options: CaptionOptions,
): ListedImage[] {
  const byId = new Map<string, ListedImage>();
  for (const [i, image] of images.entries()) {
    const id = idOf(image.id, `images[${i}].id`, check);
    if (byId.has(id)) throw check.error(`images[${i}].id is ${shown(id)}, as an image before it has`);
    byId.set(id, { name: check.text(image.file_name, `images[${i}].file_name`), captions: [] });
  }
  for (const [i, value] of annotations.entries()) {
    const where = `annotations[${i}]`;
    const annotation: unknown = value;
    if (!isObject(annotation)) throw check.error(`${where} must be an object`);
    const caption = check.text(annotation.caption, `${where}.caption`);
    const image = byId.get(idOf(annotation.image_id, `${where}.image_id`, check));
    if (!image) problems.addCaptionWithoutImage(`${where} of image ${String(annotation.image_id)}`);
    else if (caption.trim() === "") problems.addEmptyCaption(where);
    else image.captions.push(caption);
  }
  const listed = [...byId.values()];
  for (const { name, captions } of listed) if (captions.length === 0) problems.addImageWithoutCaption(name);
  return listed
    .filter(({ captions }) => captions.length > 0)
    .map((image) => ({ ...image, captions: image.captions.slice(0, options.maxCaptions) }));
}

/** An id of COCO's is a number, in some files a string; both name the same image. */
function idOf(value: unknown, where: string, check: Untrusted): string {
  return typeof value === "string" ? value : String(check.number(value, where));
}
