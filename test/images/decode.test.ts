import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { decodeImage, imageSize } from "../../lib/images/decode.js";
import { fixture, golden, rejectsWith, sha256 } from "../support/index.js";

interface Decoded {
  width: number;
  height: number;
  sha256: string;
}

function rgb(image: { data: Uint8Array; channels: number }): Uint8Array {
  if (image.channels === 3) return image.data;
  const out = new Uint8Array((image.data.length / image.channels) * 3);
  for (let i = 0; i < out.length; i++)
    out[i] = image.data[Math.floor(i / 3) * image.channels + (image.channels === 1 ? 0 : i % 3)];
  return out;
}

describe("decoding", () => {
  for (const [name, expected] of Object.entries(golden("decoding") as Record<string, Decoded>)) {
    it(`${name} gives the bits of Pillow's convert("RGB")`, async () => {
      const image = await decodeImage(fixture(`images/${name}`));
      assert.deepEqual([image.width, image.height], [expected.width, expected.height]);
      assert.equal(sha256(rgb(image)), expected.sha256);
      const { width, height } = await imageSize(readFileSync(fixture(`images/${name}`)));
      assert.deepEqual([width, height], [expected.width, expected.height], "of its header");
    });
  }

  it("AVIF decodes", async () => {
    const avif = await sharp(fixture("images/rgb.png")).avif({ lossless: true }).toBuffer();
    const image = await decodeImage(avif);
    assert.deepEqual([image.width, image.height], [61, 47]);
  });

  it("path, URL, Buffer and raw pixels of one image give the same bits", async () => {
    const path = fixture("images/rgb420.jpg");
    const a = await decodeImage(path);
    assert.deepEqual((await decodeImage(readFileSync(path))).data, a.data);
    assert.deepEqual((await decodeImage(pathToFileURL(path))).data, a.data);
    assert.deepEqual((await decodeImage(pathToFileURL(path).href)).data, a.data);
    assert.deepEqual(Buffer.from((await decodeImage(a)).data), a.data);
  });

  it("EXIF orientation is applied on request alone", async () => {
    const plain = await decodeImage(fixture("images/exif6.jpg"));
    const turned = await decodeImage(fixture("images/exif6.jpg"), { autoRotate: true });
    assert.deepEqual([plain.width, plain.height], [61, 47]);
    assert.deepEqual([turned.width, turned.height], [47, 61]);
  });

  const jpeg = readFileSync(fixture("images/noise420.jpg"));
  const cases: [string, Buffer, string][] = [
    ["a truncated JPEG", jpeg.subarray(0, jpeg.length >> 1), "E_IMAGE_DECODE"],
    ["zero bytes", Buffer.alloc(0), "E_IMAGE_DECODE"],
    ["text", Buffer.from("this is no image"), "E_IMAGE_DECODE"],
    ["a PNG header that says 60,000 × 60,000", bombHeader(), "E_IMAGE_TOO_LARGE"],
  ];
  for (const [what, bytes, code] of cases) {
    it(`${what}: ${code}`, async () => {
      await rejectsWith(code, () => decodeImage(bytes));
    });
  }

  it("a file that is not there: E_IMAGE_READ with its name", async () => {
    const error = await rejectsWith("E_IMAGE_READ", () => decodeImage("/nowhere/cat.jpg"));
    assert.match(error.message, /\/nowhere\/cat\.jpg/);
  });

  it("raw pixels that do not fit their size: E_ARGUMENT", async () => {
    await rejectsWith("E_ARGUMENT", () =>
      decodeImage({ data: new Uint8Array(10), width: 2, height: 2, channels: 3 }),
    );
  });
});

/** A real PNG whose header is rewritten, checksum and all. */
function bombHeader(): Buffer {
  const png = Buffer.from(readFileSync(fixture("images/rgb.png")));
  png.writeUInt32BE(60000, 16);
  png.writeUInt32BE(60000, 20);
  let crc = 0xffffffff;
  for (const byte of png.subarray(12, 29)) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  png.writeUInt32BE((crc ^ 0xffffffff) >>> 0, 29);
  return png;
}
