import { TorchclipError } from "../../errors.js";
import { HUB, OPENAI } from "../../settings.js";
import type { Dataset } from "../dataset.js";
import { folderDataset } from "../formats/folder.js";
import type { DatasetOptions } from "../types.js";
import { atRoot, innerFolder, unpacked, type Archive, type Unpacked } from "./archive.js";

/** The images of the test split in LAION's CLIP_benchmark, as WebDataset shards. */
const SHARDS =
  `${HUB}/datasets/clip-benchmark/wds_renderedsst2/resolve/` +
  "66b9a461eda025201dd147e5f390f5984c33643a/test/{0..3}.tar";

// As torchvision's RenderedSST2 (torchvision/datasets/rendered_sst2.py).
const ARCHIVE: Archive = {
  url: `${OPENAI}/clip/data/rendered-sst2.tgz`,
  md5: "2384d8e9dcfa4711f8b5ca10cbc5ca30",
  probe: "",
  remedy:
    `The test split is also on the hub: \`--dataset "${SHARDS}" --classes negative,positive\`. ` +
    "A copy of rendered-sst2.tgz from elsewhere, unpacked, is taken with --root (the option root)",
};
/** Images of [negative, positive] in each split. */
export const RENDERED_SST2_COUNTS: Record<string, [number, number] | undefined> = {
  train: [3310, 3610],
  valid: [428, 444],
  test: [912, 909],
};

/**
 * Rendered SST2 from torchvision's folder layout, downloaded where it is missing, or `root`: it holds train,
 * valid and test.
 */
export async function renderedSst2Folder(o: DatasetOptions): Promise<Unpacked> {
  if (o.root) return { ...atRoot(o.root), folder: await innerFolder(o.root, "rendered-sst2") };
  return unpacked("rendered-sst2", ARCHIVE, o);
}

/** The set in such a folder. Throws E_DATASET_FORMAT where a split has not the published number of images. */
export async function renderedSst2(folder: string, split: string): Promise<Dataset> {
  const data = await folderDataset(folder, split, "rendered-sst2");
  for (const { split: name, byClass } of data.splits) {
    const expected = RENDERED_SST2_COUNTS[name === "val" ? "valid" : name];
    if (expected && expected.join() !== byClass.join()) {
      throw new TorchclipError(
        "E_DATASET_FORMAT",
        `${folder}: the split ${name} has ${byClass.join(" + ")} images (negative + positive), ` +
          `Rendered SST2 has ${expected.join(" + ")}`,
        { subject: folder },
      );
    }
  }
  return data;
}
