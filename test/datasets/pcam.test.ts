import assert from "node:assert/strict";
import { join } from "node:path";
import type { RawImage } from "../../lib/images/types.js";
import { loadDataset } from "../../lib/datasets/index.js";
import { rejectsWith, writeFiles as write } from "../support/index.js";

const open = (name: string, root: string) => loadDataset(name, { root });

async function refused(name: string, root: string): Promise<string> {
  return (await rejectsWith("E_DATASET_FORMAT", () => open(name, root))).message;
}

describe("PatchCamelyon", () => {
  it("PCam in its publisher's HDF5 files, compressed and in chunks", async () => {
    const { default: h5 } = await import("h5wasm/node");
    await h5.ready;
    const root = write({});
    const files = ["x", "y"].map((name) => join(root, `camelyonpatch_level_2_split_test_${name}.h5`));
    const pixels = Uint8Array.from({ length: 3 * 96 * 96 * 3 }, (_, i) => (i * 7) % 251);
    const save = (file: string, name: string, data: Uint8Array, shape: number[], chunks?: number[]) => {
      const out = new h5.File(file, "w");
      const layout = chunks ? { chunks, compression: 4 } : {};
      out.create_dataset({ name, data, shape, dtype: "<B", ...layout });
      out.close();
    };
    save(files[0], "x", pixels, [3, 96, 96, 3], [1, 96, 96, 3]);
    save(files[1], "y", Uint8Array.from([0, 1, 1]), [3, 1, 1, 1]);
    const data = await open("pcam", root);
    assert.deepEqual([data.length, [...data].map(({ label }) => label)], [3, [0, 1, 1]]);
    assert.equal(data.classes[1], "lymph node containing metastatic tumor tissue");
    const image = (await data.at(1).read()) as RawImage;
    assert.deepEqual([image.width, image.height, image.channels], [96, 96, 3]);
    assert.deepEqual(Buffer.from(image.data), Buffer.from(pixels.subarray(96 * 96 * 3, 2 * 96 * 96 * 3)));
    const broken = async (x: [Uint8Array, number[]], y: [string, Uint8Array]) => {
      const at = write({});
      save(join(at, "camelyonpatch_level_2_split_test_x.h5"), "x", ...x);
      save(join(at, "camelyonpatch_level_2_split_test_y.h5"), ...y, [y[1].length, 1, 1, 1]);
      return refused("pcam", at);
    };
    const whole: [Uint8Array, number[]] = [pixels, [3, 96, 96, 3]];
    assert.match(await broken(whole, ["y", Uint8Array.from([0, 2, 1])]), /y\.h5: image 1 has the label 2/);
    assert.match(
      await broken(whole, ["y", Uint8Array.from([0, 1])]),
      /y does not hold a byte for each of the 3/,
    );
    assert.match(await broken(whole, ["z", Uint8Array.from([0, 1, 1])]), /y\.h5: it has no dataset y/);
    const grey: [Uint8Array, number[]] = [pixels.subarray(0, 3 * 96 * 96), [3, 96, 96, 1]];
    assert.match(await broken(grey, ["y", Uint8Array.from([0, 1, 1])]), /x is 3 × 96 × 96 × 1/);
    const text = write({ "camelyonpatch_level_2_split_test_x.h5": "no HDF5" });
    assert.match(await refused("pcam", text), /x\.h5: it is no HDF5 file/);
  });
});
