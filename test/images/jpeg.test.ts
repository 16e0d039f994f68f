import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import sharp from "sharp";
import { readJpegHeader } from "../../lib/images/jpeg.js";
import { fixture } from "../support/index.js";

describe("JPEG header", () => {
  const files = readdirSync(fixture("images")).filter((name) => name.endsWith(".jpg"));

  it("says what the decoder says of every fixture", async () => {
    assert.ok(files.length > 3, `files.length: ${files.length}`);
    for (const name of files) {
      const bytes = readFileSync(fixture(`images/${name}`));
      const { width, height, channels } = await sharp(bytes).metadata();
      assert.deepEqual(readJpegHeader(bytes), { width, height, components: channels }, name);
    }
  });

  it("progressive, grey, with metadata, with fill bytes before a marker", async () => {
    const image = sharp({ create: { width: 70, height: 31, channels: 3, background: "teal" } });
    const plain = await image.clone().jpeg().toBuffer();
    assert.deepEqual(readJpegHeader(await image.clone().jpeg({ progressive: true }).toBuffer()), {
      width: 70,
      height: 31,
      components: 3,
    });
    assert.deepEqual(readJpegHeader(await image.clone().toColourspace("b-w").jpeg().toBuffer()), {
      width: 70,
      height: 31,
      components: 1,
    });
    assert.deepEqual(readJpegHeader(await image.clone().withMetadata({ orientation: 6 }).jpeg().toBuffer()), {
      width: 70,
      height: 31,
      components: 3,
    });
    assert.deepEqual(
      readJpegHeader(Buffer.concat([plain.subarray(0, 2), Buffer.from([0xff, 0xff]), plain.subarray(2)])),
      {
        width: 70,
        height: 31,
        components: 3,
      },
    );
  });

  it("cut anywhere: nothing, or the whole header; other files: nothing", async () => {
    const bytes = readFileSync(fixture(`images/${files[0]}`));
    const whole = readJpegHeader(bytes);
    let found = 0;
    for (let n = 0; n <= bytes.length; n++) {
      const part = readJpegHeader(bytes.subarray(0, n));
      if (part) assert.deepEqual(part, whole);
      found += part ? 1 : 0;
    }
    assert.ok(found > 0 && found < bytes.length);
    assert.equal(
      readJpegHeader(
        await sharp({ create: { width: 3, height: 3, channels: 3, background: "red" } })
          .png()
          .toBuffer(),
      ),
      undefined,
    );
    assert.equal(readJpegHeader(Buffer.from([0xff, 0xd8, 0xff, 0xd9, 0, 0, 0, 0, 0, 0, 0, 0])), undefined);
  });
});
