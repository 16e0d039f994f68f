import { open } from "node:fs/promises";
import { join } from "node:path";
import type { Dataset as H5Dataset } from "h5wasm/node";
import { cannotRead } from "../../errors.js";
import type { RawImage } from "../../images/types.js";
import { importOptional } from "../../util/optional-package.js";
import { Dataset, type Sample } from "../dataset.js";
import type { DatasetOptions } from "../types.js";
import { atRoot } from "./archive.js";
import { needRoot } from "./class-folders.js";
import { bad, checkSplit, listSplit, make } from "./common.js";
import { CLIP_PROMPTS } from "./prompts.js";
import { shardedSet } from "./shards.js";

const SIDE = 96;
const SIGNATURE = Buffer.from("\x89HDF\r\n\x1a\n", "latin1");

/** A dataset of an open HDF5 file. */
interface OpenDataset {
  dataset: H5Dataset;
  close(): void;
}

/**
 * PatchCamelyon (Veeling et al. 2018), in the publisher's files, unpacked:
 * `camelyonpatch_level_2_split_test_x.h5` with x, uint8 [images, 96, 96, 3], and `…_y.h5` with y, 1 where the
 * centre holds tumour tissue; or in the shards of the hub's `clip-benchmark/wds_vtab-pcam`. The HDF5 files are
 * read by the package h5wasm, which the user installs. An image is read when it is used.
 */
export async function pcam(o: DatasetOptions): Promise<Dataset> {
  const shards = await shardedSet("pcam", o);
  if (shards) return shards;
  checkSplit("pcam", o, ["train", "valid", "test"]);
  const split = listSplit(o) === "val" ? "valid" : listSplit(o);
  const name = `camelyonpatch_level_2_split_${split}`;
  const root = needRoot(
    "pcam",
    o,
    `${name}_x.h5 and ${name}_y.h5 (gunzip …h5.gz), or test/0.tar … of the hub's shards`,
  );
  const [imageFile, labelFile] = [`${name}_x.h5`, `${name}_y.h5`].map((file) => join(root, file)) as [
    string,
    string,
  ];
  // The images' file stays open: each is read from it when it is used.
  const { dataset: images } = await openDataset(imageFile, "x");
  const labels = await openDataset(labelFile, "y");
  const [count = 0, ...size] = images.shape ?? [];
  if (images.dtype !== "<B" && images.dtype !== "|B") throw bad(imageFile, "x does not hold bytes");
  if (size.join() !== [SIDE, SIDE, 3].join())
    throw bad(imageFile, `x is ${(images.shape ?? []).join(" × ")}; PCam's is images × 96 × 96 × 3`);
  const values = labels.dataset.value;
  labels.close();
  if (!(values instanceof Uint8Array) || values.length !== count)
    throw bad(labelFile, `y does not hold a byte for each of the ${count} images of x`);
  const samples = Array.from(values, (label, i): Sample => {
    if (label > 1) throw bad(labelFile, `image ${i} has the label ${label}, which is neither 0 nor 1`);
    return { name: `${split}#${i}`, label, read: () => imageOf(images, i, imageFile) };
  });
  const classes = [...CLIP_PROMPTS.pcam.classes];
  return make("pcam", { split, classes, samples, source: atRoot(root).origin });
}

async function openDataset(file: string, name: string): Promise<OpenDataset> {
  await checkSignature(file);
  const { default: h5 } = await importOptional(
    "h5wasm",
    "reading PCam's HDF5 files",
    () => import("h5wasm/node"),
  );
  await h5.ready;
  const opened = new h5.File(file, "r");
  const found = opened.get(name);
  if (found instanceof h5.Dataset) return { dataset: found, close: () => void opened.close() };
  opened.close();
  throw bad(file, `it has no dataset ${name}`);
}

/** Throws E_DATASET_FORMAT for what is no HDF5 file; the library would report that on standard error. */
async function checkSignature(file: string): Promise<void> {
  const handle = await open(file).catch((cause: unknown) => {
    throw cannotRead("E_DATASET_NOT_FOUND", file, cause);
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(SIGNATURE.length));
    if (bytesRead < SIGNATURE.length || !buffer.equals(SIGNATURE)) throw bad(file, "it is no HDF5 file");
  } finally {
    await handle.close();
  }
}

function imageOf(images: H5Dataset, i: number, file: string): RawImage {
  const data = images.slice([[i, i + 1], [], [], []]);
  if (!(data instanceof Uint8Array) || data.length !== SIDE * SIDE * 3)
    throw bad(file, `image ${i} cannot be read`);
  return { data, width: SIDE, height: SIDE, channels: 3 };
}
