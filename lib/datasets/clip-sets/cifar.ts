import { join } from "node:path";
import { open } from "node:fs/promises";
import type { RawImage } from "../../images/types.js";
import { readRange } from "../../util/read-range.js";
import { readExactly } from "../../util/untrusted.js";
import { Dataset, type Sample } from "../dataset.js";
import type { DatasetOptions } from "../types.js";
import { unpacked } from "./archive.js";
import { bad, bytesOf, checkSplit, linesOf, make, promptClasses, sizeOf, wanted } from "./common.js";
import { CLIP_PROMPTS } from "./prompts.js";
import { ARCHIVES } from "./publishers.js";

/** Channels one after another, rows or (STL-10) columns first, to uint8 [side, side, 3]. */
function planes(data: Buffer, side: number, columnsFirst: boolean): RawImage {
  const out = new Uint8Array(side * side * 3);
  const area = side * side;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const from = columnsFirst ? x * side + y : y * side + x;
      for (let c = 0; c < 3; c++) out[(y * side + x) * 3 + c] = data.readUInt8(from + c * area);
    }
  }
  return { data: out, width: side, height: side, channels: 3 };
}

/** Bytes that are read at once while labels are taken from records. */
const BLOCK = 1 << 20;

/**
 * The byte at `at` of each record of a file of records of `size` bytes; the file itself is not kept. Throws
 * E_DATASET_FORMAT.
 */
async function bytesOfRecords(file: string, size: number, at: number): Promise<Uint8Array> {
  const bytes = await sizeOf(file);
  if (bytes === 0 || bytes % size !== 0) throw bad(file, `${bytes} bytes are no whole records of ${size}`);
  const found = new Uint8Array(bytes / size);
  const handle = await open(file);
  try {
    const together = Math.max(1, Math.floor(BLOCK / size));
    for (let first = 0; first < found.length; first += together) {
      const count = Math.min(together, found.length - first);
      const block = await readExactly(handle, first * size, count * size);
      for (let i = 0; i < count; i++) found[first + i] = block.readUInt8(i * size + at);
    }
  } finally {
    await handle.close();
  }
  return found;
}

const CIFAR10_FILES = {
  train: [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`),
  test: ["test_batch.bin"],
};

/** The labels are read now, each image when it is used. */
export async function cifar(name: "cifar10" | "cifar100", o: DatasetOptions): Promise<Dataset> {
  checkSplit(name, o, ["train", "test"]);
  const archive = ARCHIVES[name];
  const { folder: root, origin } = await unpacked(name, archive, o);
  const folder = join(root, archive.probe);
  const fine = name === "cifar100";
  const meta = join(folder, fine ? "fine_label_names.txt" : "batches.meta.txt");
  const classes = promptClasses(await linesOf(meta), CLIP_PROMPTS[name], meta);
  const split = wanted(o);
  const files = fine ? [`${split}.bin`] : CIFAR10_FILES[split];
  const head = fine ? 2 : 1; // coarse and fine label, or the label
  const pixels = 3 * 32 * 32;
  const record = head + pixels;
  const samples: Sample[] = [];
  for (const name of files) {
    const file = join(folder, name);
    for (const [i, label] of (await bytesOfRecords(file, record, head - 1)).entries()) {
      if (label >= classes.length) throw bad(file, `record ${i} has class ${label} of ${classes.length}`);
      const read = async () => planes(await readRange(file, i * record + head, pixels), 32, false);
      samples.push({ name: `${name}#${i}`, label, read });
    }
  }
  return make(name, { split, classes, samples, source: origin });
}

/** The labels are read now, each image when it is used. */
export async function stl10(o: DatasetOptions): Promise<Dataset> {
  checkSplit("stl10", o, ["train", "test"]);
  const archive = ARCHIVES.stl10;
  const { folder: root, origin } = await unpacked("stl10", archive, o);
  const folder = join(root, archive.probe);
  const classes = promptClasses(
    await linesOf(join(folder, "class_names.txt")),
    CLIP_PROMPTS.stl10,
    join(folder, "class_names.txt"),
  );
  const split = wanted(o);
  const file = join(folder, `${split}_X.bin`);
  const bytes = await sizeOf(file);
  const labels = await bytesOf(join(folder, `${split}_y.bin`));
  const record = 3 * 96 * 96;
  if (bytes !== labels.length * record)
    throw bad(file, `${bytes} bytes for ${labels.length} labels, expected ${labels.length * record}`);
  const samples = Array.from(labels, (label, i): Sample => {
    if (label < 1 || label > classes.length)
      throw bad(join(folder, `${split}_y.bin`), `image ${i} has class ${label} of 1 to ${classes.length}`);
    return {
      name: `${split}#${i}`,
      label: label - 1,
      read: async () => planes(await readRange(file, i * record, record), 96, true),
    };
  });
  return make("stl10", { split, classes, samples, source: origin });
}
