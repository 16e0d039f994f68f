import { gunzipSync } from "node:zlib";
import { join } from "node:path";
import type { RawImage } from "../../images/types.js";
import { settings } from "../../settings.js";
import { exists } from "../../util/files.js";
import type { Origin } from "../../util/origin.js";
import { readRange } from "../../util/read-range.js";
import { Dataset, type Sample } from "../dataset.js";
import type { DatasetOptions } from "../types.js";
import { atRoot, fetched } from "./archive.js";
import { bad, bytesOf, checkSplit, make, sizeOf, wanted } from "./common.js";
import { CLIP_PROMPTS } from "./prompts.js";
import { MNIST_BASE, MNIST_FILES } from "./publishers.js";

/** What the head of an IDX file says. */
interface Idx {
  /** Along each axis. */
  sizes: number[];
  /** Where the values begin. */
  at: number;
}

/**
 * yann.lecun.com's IDX: 0, 0, type 8, axes, then the sizes as big-endian numbers. `bytes`: of the whole file.
 */
function idx(head: Buffer, bytes: number, axes: number, file: string): Idx {
  const at = 4 + 4 * axes;
  if (head.length < at || head.readUInt32BE(0) !== (0x0800 | axes))
    throw bad(file, `it is no IDX file of unsigned bytes with ${axes} axes`);
  const sizes = Array.from({ length: axes }, (_, i) => head.readUInt32BE(4 + 4 * i));
  if (bytes - at !== sizes.reduce((a, b) => a * b, 1))
    throw bad(file, `${bytes - at} bytes for ${sizes.join(" × ")}`);
  return { sizes, at };
}

/**
 * A file of MNIST: its bytes by range, read from the file when they are asked for, or out of the unpacked
 * .gz.
 */
interface MnistFile {
  bytes: number;
  range: (at: number, bytes: number) => Promise<Buffer>;
  origin: Origin;
}

const MNIST_FOLDERS = ["", "MNIST/raw", "raw"];

async function mnistFile(stem: keyof typeof MNIST_FILES, o: DatasetOptions): Promise<MnistFile> {
  const folder = o.root ?? join(settings(o).cacheDir, "datasets", "mnist");
  for (const inner of MNIST_FOLDERS) {
    const file = join(folder, inner, stem);
    if (!(await exists(file))) continue;
    const origin: Origin = o.root
      ? atRoot(o.root).origin
      : { kind: "cache", location: file, hashKnown: false };
    return { bytes: await sizeOf(file), range: (at, bytes) => readRange(file, at, bytes), origin };
  }
  const packed = join(folder, `${stem}.gz`);
  const origin = o.root
    ? atRoot(o.root).origin
    : await fetched({ url: `${MNIST_BASE}${stem}.gz`, md5: MNIST_FILES[stem] }, packed, o);
  const whole = gunzipped(await bytesOf(packed), packed);
  return {
    bytes: whole.length,
    range: (at, bytes) => Promise.resolve(whole.subarray(at, at + bytes)),
    origin,
  };
}

async function readHead(file: MnistFile, axes: number, name: string): Promise<Idx> {
  const bytes = Math.min(file.bytes, 4 + 4 * axes);
  return idx(await file.range(0, bytes), file.bytes, axes, name);
}

function gunzipped(bytes: Buffer, file: string): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: 1 << 28 });
  } catch (cause) {
    throw bad(file, `it is no whole gzip file: ${(cause as Error).message}`);
  }
}

/**
 * Images of unpacked files are read when they are used. The publisher's files are compressed: those are
 * unpacked into memory (47 MB for the training split, 8 MB for the test split), which is held as long as the
 * data set.
 */
export async function mnist(o: DatasetOptions): Promise<Dataset> {
  checkSplit("mnist", o, ["train", "test"]);
  const split = wanted(o);
  const stem = split === "train" ? "train" : "t10k";
  const imagesName = `${stem}-images-idx3-ubyte` as const;
  const labelsName = `${stem}-labels-idx1-ubyte` as const;
  const imageFile = await mnistFile(imagesName, o);
  const labelFile = await mnistFile(labelsName, o);
  const images = await readHead(imageFile, 3, imagesName);
  const labels = await readHead(labelFile, 1, labelsName);
  const [count = 0, height = 0, width = 0] = images.sizes;
  const [labelCount = 0] = labels.sizes;
  if (count !== labelCount) throw bad(labelsName, `${labelCount} labels for ${count} images`);
  const classes = CLIP_PROMPTS.mnist.classes;
  const area = height * width;
  const samples = Array.from(await labelFile.range(labels.at, count), (label, i): Sample => {
    if (label >= classes.length) throw bad(labelsName, `image ${i} has class ${label}`);
    const read = async (): Promise<RawImage> => ({
      data: await imageFile.range(images.at + i * area, area),
      width,
      height,
      channels: 1,
    });
    return { name: `${split}#${i}`, label, read };
  });
  return make("mnist", { split, classes, samples, source: imageFile.origin });
}
