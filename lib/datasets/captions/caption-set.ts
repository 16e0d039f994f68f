import type { Origin } from "../../util/origin.js";

/** An image and the captions that describe it. */
export interface CaptionedImage {
  /** As the file of captions names it. */
  name: string;
  /** Its path or URL. */
  image: string;
  /** One or more, in the order of the file. */
  captions: readonly string[];
}

/** Images with their captions, for `evaluateRetrieval`. A program may make one of its own. */
export interface CaptionSet {
  /** What results call it: its file. */
  name: string;
  split: string;
  images: readonly CaptionedImage[];
  /** Where it was read from; undefined for a set that a program made. */
  source?: Origin;
  /** What was left out when it was read, a sentence each. */
  notes?: readonly string[];
}

/** The first `count` images of a set with all their captions. */
export function limitCaptions(set: CaptionSet, count: number): CaptionSet {
  return { ...set, images: set.images.slice(0, count) };
}

/** How many captions the images of a set have together. */
export function countCaptions({ images }: CaptionSet): number {
  return images.reduce((sum, { captions }) => sum + captions.length, 0);
}

export interface CaptionOptions {
  /** The folder that the names of the images are relative to. Default: the folder of the file. */
  root?: string;
  /**
   * Karpathy's "train" (which holds "restval" as well, as papers use it), "val", "test" (the default) or
   * "restval"; for a list with a column `split`, one of its names. Other files have one split, "all".
   */
  split?: string;
  /**
   * Captions of an image that are used, the first ones. Default 5 for Karpathy's files, as papers do; else all,
   * as CLIP_benchmark does.
   */
  maxCaptions?: number;
  /** Of a list: the column with the images. Default: filepath, path, image or file, the first that is there. */
  imageKey?: string;
  /** Of a list: the column with the captions. Default: title, caption, captions or text. */
  captionKey?: string;
  /** Of a .csv or .tsv: what stands between the columns. Default: a comma, in .tsv a tab. */
  separator?: string;
  /**
   * Images without a caption, captions without an image and captions that are empty are E_DATASET_FORMAT. Default
   * false: they are left out, which the notes say.
   */
  strict?: boolean;
}
