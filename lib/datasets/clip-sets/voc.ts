import { join } from "node:path";
import type { RawImage } from "../../images/types.js";
import { readText } from "../../util/text-file.js";
import { shown } from "../../util/untrusted.js";
import { Dataset, type Sample } from "../dataset.js";
import type { DatasetOptions } from "../types.js";
import { atRoot, innerFolder } from "./archive.js";
import { needRoot } from "./class-folders.js";
import { bad, checkSplit, linesOf, listSplit, make } from "./common.js";
import { CLIP_PROMPTS } from "./prompts.js";
import { shardedSet } from "./shards.js";

/** An object of an annotation: its class and its box, in pixels, the right and lower edges outside. */
interface Box {
  name: string;
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** Pixels by which a box may be larger than its image. */
const MARGIN = 16;

/**
 * Pascal VOC 2007 (Everingham et al. 2010) as single objects: every annotated box, difficult ones too, is an image of
 * its class, as CLIP_benchmark's and DataComp's `voc2007`. `VOCdevkit/VOC2007/JPEGImages`, `Annotations` and
 * `ImageSets/Main/test.txt`.
 */
export async function voc2007(o: DatasetOptions): Promise<Dataset> {
  const shards = await shardedSet("voc2007", o);
  if (shards) return shards;
  return make(
    "voc2007",
    await annotated("voc2007", o, ({ id, image, file, boxes }) =>
      boxes.map(({ label, ...box }, i) => ({
        name: `${id}.jpg#${i}`,
        label,
        read: () => cropped(image, box, file),
      })),
    ),
  );
}

/**
 * Pascal VOC 2007 as whole images with all of their classes, those of difficult objects too, as CLIP_benchmark's
 * `voc2007_multilabel`; its metric is the mean average precision. The files are those of `voc2007`.
 */
export async function voc2007MultiLabel(o: DatasetOptions): Promise<Dataset> {
  const made = await annotated("voc2007-multilabel", o, ({ id, image, boxes }) => {
    const labels = [...new Set(boxes.map(({ label }) => label))].sort((a, b) => a - b);
    const [label] = labels;
    return label === undefined ? [] : [{ name: `${id}.jpg`, label, labels, read: () => image }];
  });
  return make("voc2007", made, "voc2007-multilabel");
}

/** An image of VOC with the objects of its annotation. */
interface Annotated {
  id: string;
  image: string;
  /** Its annotation. */
  file: string;
  boxes: (Box & { label: number })[];
}

/** The samples of the images of a split, in the order of its list. */
async function annotated(name: string, o: DatasetOptions, samplesOf: (image: Annotated) => Sample[]) {
  checkSplit(name, o, ["train", "valid", "trainval", "test"]);
  const classes = [...CLIP_PROMPTS.voc2007.classes];
  const split = listSplit(o);
  const given = needRoot(name, o, "VOCdevkit/VOC2007/JPEGImages/… with Annotations and ImageSets");
  const root = join(await innerFolder(given, "VOCdevkit"), "VOC2007");
  const samples: Sample[] = [];
  for (const id of await linesOf(join(root, "ImageSets", "Main", `${split}.txt`))) {
    const file = join(root, "Annotations", `${id}.xml`);
    const image = join(root, "JPEGImages", `${id}.jpg`);
    const boxes = boxesOf(await readText(file), file).map((box, i) => {
      const label = classes.indexOf(box.name);
      if (label < 0) throw bad(file, `object ${i} is a "${shown(box.name)}", which is none of VOC's classes`);
      return { ...box, label };
    });
    samples.push(...samplesOf({ id, image, file, boxes }));
  }
  return { split, classes, samples, source: atRoot(given).origin };
}

/** The texts between `<tag>` and `</tag>`, and what is left of `xml` without them. */
function elementsOf(xml: string, tag: string): { inside: string[]; outside: string } {
  const [start, end] = [`<${tag}>`, `</${tag}>`];
  const inside: string[] = [];
  let outside = "";
  let at = 0;
  for (;;) {
    const from = xml.indexOf(start, at);
    const to = from < 0 ? -1 : xml.indexOf(end, from);
    if (to < 0) return { inside, outside: outside + xml.slice(at) };
    inside.push(xml.slice(from + start.length, to));
    outside += xml.slice(at, from);
    at = to + end.length;
  }
}

/** The objects of an annotation, without their parts. */
function boxesOf(xml: string, file: string): Box[] {
  const objects = elementsOf(elementsOf(xml, "part").outside, "object").inside;
  return objects.map((object, i) => {
    const text = (tag: string) => elementsOf(object, tag).inside[0]?.trim();
    const name = text("name");
    const [left = NaN, top = NaN, right = NaN, bottom = NaN] = ["xmin", "ymin", "xmax", "ymax"].map((tag) =>
      Number(text(tag)),
    );
    const isBox = [left, top, right, bottom].every(Number.isInteger) && right > left && bottom > top;
    if (name === undefined || !isBox) throw bad(file, `object ${i} has no name and box`);
    return { name, left, top, right, bottom };
  });
}

/** The pixels of a box, black outside the image, as Pillow's `crop`. */
async function cropped(
  path: string,
  { left, top, right, bottom }: Box,
  annotation: string,
): Promise<RawImage | string> {
  const { decodeImage } = await import("../../images/decode.js");
  const decoded = await decodeImage(path).catch(() => undefined);
  if (!decoded) return path; // It fails again where images are decoded, with its name.
  const { data, width, height, channels } = decoded;
  // A box may lie one pixel outside; memory for it must not follow from the annotation alone.
  if (left < -MARGIN || top < -MARGIN || right > width + MARGIN || bottom > height + MARGIN)
    throw bad(annotation, `a box lies outside the image of ${width} × ${height}`);
  const size = { width: right - left, height: bottom - top };
  const out = new Uint8Array(size.width * size.height * channels);
  const from = Math.max(0, left);
  const count = Math.min(width, right) - from;
  for (let y = Math.max(0, top); y < Math.min(height, bottom) && count > 0; y++) {
    const start = (y * width + from) * channels;
    const row = data.subarray(start, start + count * channels);
    out.set(row, ((y - top) * size.width + from - left) * channels);
  }
  return { data: out, ...size, channels };
}
