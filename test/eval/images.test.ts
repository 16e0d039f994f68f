import assert from "node:assert/strict";
import sharp from "sharp";
import { decodeImage } from "../../lib/images/decode.js";
import { dataUrl } from "../../lib/report/images.js";
import { fixture, rejectsWith } from "../support/index.js";

describe("images in reports", () => {
  it("a JPEG that a decoder warns of is shown as it is evaluated", async () => {
    const jpeg = await sharp(fixture("images/rgb.png")).jpeg().toBuffer();
    const scan = jpeg.indexOf(Buffer.from([0xff, 0xda]));
    const odd = Buffer.concat([jpeg.subarray(0, scan), Buffer.from([1, 2, 3]), jpeg.subarray(scan)]);
    await assert.rejects(
      () => sharp(odd).raw().toBuffer(),
      "no decoder warns of the file: the test shows nothing",
    );
    assert.deepEqual((await decodeImage(odd)).data, (await decodeImage(jpeg)).data);
    assert.equal(await dataUrl(odd, 40), await dataUrl(jpeg, 40));
  });

  it("every format that is decoded can be shown", async () => {
    for (const name of ["rgb24.bmp", "bgra.ico", "p6-255.ppm", "rgb.qoi", "lab.tif", "part.gif"]) {
      assert.match(await dataUrl(fixture(`images/formats/${name}`), 40), /^data:image\/png;base64,/);
    }
    await rejectsWith("E_IMAGE_DECODE", () => dataUrl(fixture("images/formats/cut.bmp"), 40));
  });
});
