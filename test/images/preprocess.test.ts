import assert from "node:assert/strict";
import { addon } from "../../lib/addon.js";
import { golden } from "../support/index.js";
import { differing, type PreprocessingCase } from "../support/preprocessing.js";

describe("preprocessing", () => {
  const cases = golden("preprocessing") as PreprocessingCase[];

  it(`is bit-exact with Pillow over ${cases.length} sizes and modes`, async () => {
    assert.ok(cases.length >= 200, `cases.length: ${cases.length}`);
    assert.deepEqual(await differing(cases), []);
  });

  const transforms = golden("transforms") as PreprocessingCase[];
  it(`squash, longest side and fill, bilinear: bit-exact with Pillow over ${transforms.length} images`, async () => {
    assert.deepEqual(await differing(transforms), []);
  });

  const processors = (golden("configs") as { transforms: PreprocessingCase[] }).transforms;
  it(`transformers' image processors, their sizes, crops and filters: bit-exact over ${processors.length} images`, async () => {
    assert.deepEqual(await differing(processors), []);
  });

  it("refuses a crop larger than what it is cropped from", async () => {
    const transform = { size: 8, resize: 0, resized: 7, crop: 0, filter: 0, fill: 0 };
    await assert.rejects(
      addon().preprocess(new Uint8Array(48), 4, 4, 3, transform, new Uint8Array(192), 0),
      /cropped to 8/,
    );
  });

  it("refuses buffers that are too small, before touching them", () => {
    const eight = { size: 8, resize: 0, resized: 8, crop: 0, filter: 0, fill: 0 };
    assert.throws(
      () => addon().preprocess(new Uint8Array(10), 4, 4, 3, eight, new Uint8Array(192), 0),
      /pixels holds 10/,
    );
    assert.throws(
      () => addon().preprocess(new Uint8Array(48), 4, 4, 3, eight, new Uint8Array(191), 0),
      /out holds 191/,
    );
    assert.throws(
      () => addon().preprocess(new Uint8Array(48), 4, 4, 3, eight, new Uint8Array(192), 1),
      /out holds 192/,
    );
  });
});
