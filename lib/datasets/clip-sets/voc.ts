import { join } from "node:path";
import type { RawImage } from "../../images/types.js";
import { readText } from "../../util/text-file.js";
import { shown } from "../../util/untrusted.js";
import { Dataset, type Sample } from "../dataset.js";
import type { DatasetOptions } from "../types.js";
import { atRoot, exists } from "./archive.js";
import { needRoot } from "./class-folders.js";
import { bad, checkSplit, linesOf, make } from "./common.js";
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

/** Our splits by those of VOC's lists. */
const SPLITS: Record<string, string | undefined> = {
  train: "train",
  val: "val",
  valid: "val",
  validation: "val",
  trainval: "trainval",
  test: "test",
};

/**
 * Pascal VOC 2007 (Everingham et al. 2010) as single objects: every annotated box, difficult ones too, is an image of
 * its class, as CLIP_benchmark's and DataComp's `voc2007`. `VOCdevkit/VOC2007/JPEGImages`, `Annotations` and
 * `ImageSets/Main/test.txt`.
 */
export async function voc2007(o: DatasetOptions): Promise<Dataset> {
  const classes = [...CLIP_PROMPTS.voc2007.classes];
  const shards = await shardedSet("voc2007", classes, o);
  if (shards) return shards;
  checkSplit("voc2007", o, ["train", "valid", "trainval", "test"]);
  const split = SPLITS[o.split ?? "test"] ?? "test";
  const given = needRoot("voc2007", o, "VOCdevkit/VOC2007/JPEGImages/… with Annotations and ImageSets");
  const inner = join(given, "VOCdevkit");
  const root = join((await exists(inner)) ? inner : given, "VOC2007");
  const samples: Sample[] = [];
  for (const id of await linesOf(join(root, "ImageSets", "Main", `${split}.txt`))) {
    const file = join(root, "Annotations", `${id}.xml`);
    const image = join(root, "JPEGImages", `${id}.jpg`);
    for (const [i, box] of boxesOf(await readText(file), file).entries()) {
      const label = classes.indexOf(box.name);
      if (label < 0) throw bad(file, `object ${i} is a "${shown(box.name)}", which is none of VOC's classes`);
      samples.push({ name: `${id}.jpg#${i}`, label, read: () => cropped(image, box) });
    }
  }
  return make("voc2007", { split, classes, samples, source: atRoot(given).origin });
}

/** The objects of an annotation, without their parts. */
function boxesOf(xml: string, file: string): Box[] {
  const objects = xml.replace(/<part>.*?<\/part>/gs, "").match(/<object>.*?<\/object>/gs) ?? [];
  return objects.map((object, i) => {
    const text = (tag: string) => new RegExp(`<${tag}>\\s*([^<]*?)\\s*</${tag}>`).exec(object)?.[1];
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
async function cropped(path: string, { left, top, right, bottom }: Box): Promise<RawImage> {
  const { decodeImage } = await import("../../images/decode.js");
  const { data, width, height, channels } = await decodeImage(path);
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
