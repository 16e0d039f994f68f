import assert from "node:assert/strict";
import * as ort from "onnxruntime-node";
import sharp from "sharp";
import { load } from "../../lib/index.js";
import { assertClose } from "../support/compare.js";
import { tinyModel } from "../support/index.js";
import { noiseImage } from "../support/noise.js";

/** A length-delimited field of a protocol buffer. */
function field(number: number, content: Buffer | string): Buffer {
  const bytes = Buffer.from(content as string);
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}

/** An ONNX model y = Identity(x), float[4]. */
function identityModel(): Buffer {
  const type = field(1, Buffer.concat([Buffer.from([8, 1]), field(2, field(1, Buffer.from([8, 4])))]));
  const value = (name: string) => Buffer.concat([field(1, name), field(2, type)]);
  const node = Buffer.concat([field(1, "x"), field(2, "y"), field(4, "Identity")]);
  const graph = Buffer.concat([field(1, node), field(2, "g"), field(11, value("x")), field(12, value("y"))]);
  return Buffer.concat([Buffer.from([8, 8]), field(7, graph), field(8, Buffer.from([16, 13]))]);
}

describe("in one process with sharp and onnxruntime-node", () => {
  it("all three work at the same time, and results stay the same", async () => {
    const images = Array.from({ length: 16 }, (_, i) => noiseImage(i, 200, 150, 3));
    const clip = await load(tinyModel);
    const alone = await clip.encodeImages(images);
    const session = await ort.InferenceSession.create(identityModel());
    const x = new ort.Tensor("float32", Float32Array.of(1, 2, 3, 4), [4]);
    for (let round = 0; round < 5; round++) {
      const [together, { y }, png] = await Promise.all([
        clip.encodeImages(images),
        session.run({ x }),
        sharp(images[0].data, { raw: images[0] }).resize(50).png().toBuffer(),
      ]);
      assertClose(together.data, alone.data, 1e-6);
      assert.deepEqual([...(y.data as Float32Array)], [1, 2, 3, 4]);
      assert.ok(png.length > 100, `png.length: ${png.length}`);
    }
    await session.release();
    await clip.close();
  });
});
