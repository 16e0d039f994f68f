import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { decodeImage } from "../../lib/images/decode.js";
import type { RawImage } from "../../lib/images/types.js";
import { fixture, golden, rejectsWith, sha256, tinyModel } from "../support/index.js";
import { load, similarity } from "../../lib/index.js";

interface Golden {
  width: number;
  height: number;
  sha256: string;
  /** Pillow refuses the file. */
  error?: string;
}

/** RGB of decoded pixels of 1, 3 or 4 channels. */
function rgb({ data, width, height, channels }: RawImage): Uint8Array {
  const out = new Uint8Array(width * height * 3);
  for (let i = 0; i < out.length; i++)
    out[i] = data[Math.floor(i / 3) * channels + (channels === 1 ? 0 : i % 3)];
  return out;
}

describe("formats that decoders disagree about", () => {
  for (const [name, expected] of Object.entries(golden("formats") as Record<string, Golden>)) {
    const path = fixture(join("images/formats", name));
    if (expected.error) {
      it(`${name}: E_IMAGE_DECODE, as Pillow refuses it`, async () => {
        const error = await rejectsWith("E_IMAGE_DECODE", () => decodeImage(path));
        assert.ok(error.message.includes(name), error.message);
      });
      continue;
    }
    it(`${name} gives the bits of Pillow's convert("RGB")`, async () => {
      const image = await decodeImage(path);
      assert.deepEqual([image.width, image.height], [expected.width, expected.height]);
      assert.equal(sha256(rgb(image)), expected.sha256);
    });
  }
});

describe("AVIF's turn and mirror", () => {
  const avif = (turn: number) => fixture(`images/avif/turn${turn}.avif`);

  for (const turn of [2, 3, 5, 6, 8]) {
    it(`EXIF orientation ${turn}: not applied`, async () => {
      const [stored, plain] = [await decodeImage(avif(turn)), await decodeImage(avif(1))];
      assert.deepEqual([stored.width, stored.height], [plain.width, plain.height]);
      assert.deepEqual(stored.data, plain.data);
    });

    it(`EXIF orientation ${turn}: applied with autoRotate`, async () => {
      const turned = await decodeImage(avif(turn), { autoRotate: true });
      const { data, width, height } = await decodeImage(avif(1));
      const png = await sharp(data, { raw: { width, height, channels: 3 } })
        .png()
        .withMetadata({ orientation: turn })
        .toBuffer();
      const expected = await sharp(png).autoOrient().raw().toBuffer({ resolveWithObject: true });
      assert.deepEqual([turned.width, turned.height], [expected.info.width, expected.info.height]);
      assert.deepEqual(Buffer.from(turned.data), expected.data);
    });
  }
});

/** A Targa of 23 × 17 pixels: no identification, a colour map where the type (1, 9) has one. */
function targa(type: number, bits: number): Buffer {
  const head = Buffer.alloc(18);
  head[1] = Number(type === 1 || type === 9);
  head[2] = type;
  if (head[1]) head.set([0, 1, 24], 5); // 256 entries of 24 bits
  head.writeUInt16LE(23, 12);
  head.writeUInt16LE(17, 14);
  head[16] = bits;
  return Buffer.concat([head, Buffer.alloc(23 * 17 * 4, 7)]);
}

describe("formats that are not decoded", () => {
  const head = (text: string) => Buffer.concat([Buffer.from(text, "latin1"), Buffer.alloc(100)]);
  const files: [string, Buffer][] = [
    ["HEIC", head("\0\0\0\x18ftypheic")],
    ["JPEG XL", head("\xff\x0a")],
    ["JPEG 2000", head("\0\0\0\x0cjP  ")],
    ["Photoshop", head("8BPS")],
    ["Portable Arbitrary Map", head("P7\n")],
    ["Windows cursor", head("\0\0\x02\0\x01\0")],
    ["PDF", head("%PDF-1.7")],
    ["CR3", head("\0\0\0\x18ftypcrx \0\0\0\x01crx isom")],
    ["ORF", head("IIRO\x08\0\0\0")],
    ["ORF", head("IIRS\x08\0\0\0")],
    ["ORF", head("MMOR\0\0\0\x08")],
    ["RAF", head("FUJIFILMCCD-RAW 0201FF389501")],
    ["RW2", head("IIU\0\x18\0\0\0")],
    ["PCX", head("\x0a\x05\x01\x08\0\0\0\0\x16\0\x10\0")],
    ["ICNS", head("icns\0\0\0\x74")],
    ["SGI", head("\x01\xda\x01\x01\0\x03\0\x17\0\x11\0\x03")],
    ["TGA", targa(2, 24)],
    ["TGA", targa(11, 8)],
    ["TGA", Buffer.concat([targa(9, 8), Buffer.from("\0\0\0\0\0\0\0\0TRUEVISION-XFILE.\0", "latin1")])],
  ];
  for (const [name, bytes] of files) {
    it(`${name} is named in E_IMAGE_DECODE (${bytes.toString("hex", 0, 8)}…)`, async () => {
      const error = await rejectsWith("E_IMAGE_DECODE", () => decodeImage(bytes));
      assert.ok(error.message.includes(name), error.message);
    });
  }

  for (const [file, name] of [
    ["zstd.tif", "zstd"],
    ["lzma.tif", "LZMA"],
  ]) {
    const title =
      `${file}, a TIFF of a compression that sharp's libtiff was built without: ` +
      `E_IMAGE_DECODE names ${name}`;
    it(title, async () => {
      const error = await rejectsWith("E_IMAGE_DECODE", () =>
        decodeImage(fixture(join("images/formats", file))),
      );
      assert.ok(error.message.includes(file) && error.message.includes(`(${name})`), error.message);
    });
  }

  it("maxPixels holds for the formats decoded here, before pixels are allocated", async () => {
    for (const name of ["rgb24.bmp", "rgb24.ico", "p6-255.ppm", "rgb.qoi", "part.gif", "turn1.tif"]) {
      await rejectsWith(
        "E_IMAGE_TOO_LARGE",
        () => decodeImage(fixture(join("images/formats", name)), { maxPixels: 23 * 17 - 1 }),
        name,
      );
    }
    const bmp = Buffer.from(readFileSync(fixture("images/formats/rgb24.bmp")));
    bmp.writeInt32LE(60000, 18);
    bmp.writeInt32LE(60000, 22);
    await rejectsWith("E_IMAGE_TOO_LARGE", () => decodeImage(bmp));
  });

  it("cut anywhere, a file of these formats is an image or E_IMAGE_DECODE", async function () {
    this.timeout(120_000);
    for (const name of [
      "palette8.bmp",
      "rle4.bmp",
      "rgb24.ico",
      "p3-255.ppm",
      "p5-1000.pgm",
      "rgba.qoi",
      "part.gif",
      "int16-le.tif",
      "turn6.tif",
    ]) {
      const whole = readFileSync(fixture(join("images/formats", name)));
      for (let length = 1; length < whole.length; length += 1 + Math.floor(whole.length / 40)) {
        const cut = whole.subarray(0, length);
        const error = await decodeImage(cut).then(
          () => undefined,
          (e: unknown) => e as { code: string; stack: string },
        );
        if (error)
          assert.ok(
            ["E_IMAGE_DECODE", "E_IMAGE_TOO_LARGE"].includes(error.code),
            `${name} of ${length} bytes: ${error.stack}`,
          );
      }
    }
  });
});

describe("fastDecode with autoRotate", () => {
  it("a photo of each orientation has the embedding that it has without fastDecode: cosine at least 0.999", async function () {
    this.timeout(120_000);
    const [width, height] = [1800, 900];
    const raw = Buffer.alloc(width * height * 3);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        raw[i++] = 128 + 100 * Math.sin(x / 137 + y / 311);
        raw[i++] = 128 + 100 * Math.sin(x / 211 - y / 97);
        raw[i++] = (x * 255) / width;
      }
    }
    for (const orientation of [1, 3, 6, 8]) {
      const jpeg = await sharp(raw, { raw: { width, height, channels: 3 } })
        .jpeg()
        .withMetadata({ orientation })
        .toBuffer();
      // Shrunk by 4 for a model of 100 pixels.
      const fast = await decodeImage(jpeg, { autoRotate: true, fastDecode: true, size: 100 });
      const slow = await decodeImage(jpeg, { autoRotate: true });
      assert.deepEqual([fast.width * 4, fast.height * 4], [slow.width, slow.height]);
      const clip = await load(tinyModel, { device: "cpu" });
      const [a, b] = [await clip.encodeImages([fast]), await clip.encodeImages([slow])];
      await clip.close();
      assert.ok(similarity(a, b)[0] >= 0.999, `orientation ${orientation}: ${similarity(a, b)[0]}`);
    }
  });
});
