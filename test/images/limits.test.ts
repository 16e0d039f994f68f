import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { crc32, deflateSync, gzipSync } from "node:zlib";
import sharp from "sharp";
import { decodeBudget, PixelBudget } from "../../lib/images/budget.js";
import { decodeImage } from "../../lib/images/decode.js";
import { imageFormat } from "../../lib/images/format.js";
import { guardedDecode, type Admit } from "../../lib/images/guard.js";
import { withoutCompressedMetadata } from "../../lib/images/formats/png.js";
import type { ImageFormat, RawImage } from "../../lib/images/types.js";
import { errorOf, fixture, rejectsWith, temporaryFolder, tinyModel } from "../support/index.js";
import { runSources } from "../support/process.js";

const SVG = "http://www.w3.org/2000/svg";
const svg = Buffer.from(
  `<svg xmlns="${SVG}" width="8" height="6"><rect width="4" height="6" fill="#f00"/></svg>`,
);
const pixel: RawImage = { data: new Uint8Array(3), width: 1, height: 1, channels: 3 };
const limits = { decodeTimeout: 10_000, maxPixels: 1e6 };

/** An SVG that draws 10 to the power of `depth` circles. */
function nestedUse(depth: number): Buffer {
  const levels = Array.from(
    { length: depth },
    (_, i) => `<g id="a${i + 1}">${`<use xlink:href="#a${i}"/>`.repeat(10)}</g>`,
  );
  return Buffer.from(
    `<svg xmlns="${SVG}" xmlns:xlink="http://www.w3.org/1999/xlink" width="60" height="60">` +
      `<defs><g id="a0"><circle r="5"/></g>${levels.join("")}</defs><use xlink:href="#a${depth}"/></svg>`,
  );
}

describe("limits of decoding", () => {
  it("maxPixels: the default is 100 megapixels, and the error names reason and option", async () => {
    const large = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="10001" height="10000"/>');
    const error = await rejectsWith("E_IMAGE_TOO_LARGE", () => decodeImage(large));
    assert.match(error.message, /10001 × 10000 pixels.*limit of 100000000.*memory.*maxPixels/);
    await rejectsWith("E_IMAGE_TOO_LARGE", () => decodeImage(svg, { maxPixels: 47 }));
    assert.equal((await decodeImage(svg, { maxPixels: 48 })).width, 8);
    assert.equal((await decodeImage(svg, { maxPixels: Infinity })).width, 8);
  });

  it("formats: told by content before a decoder runs; others are E_IMAGE_DECODE", async () => {
    const samples: [ImageFormat, Buffer][] = [["svg", svg]];
    for (const format of ["jpeg", "png", "webp", "gif", "tiff", "avif"] as const)
      samples.push([format, await sharp(svg).toFormat(format).toBuffer()]);
    for (const [format, bytes] of samples) {
      assert.equal(imageFormat(bytes), format);
      assert.equal((await decodeImage(bytes, { formats: [format] })).width, 8);
      const others = samples.map(([other]) => other).filter((other) => other !== format);
      const error = await rejectsWith(
        "E_IMAGE_DECODE",
        () => decodeImage(bytes, { formats: others }),
        format,
      );
      assert.match(error.message, new RegExp(`it is ${format}, .*option formats`));
    }
    for (const disguised of [
      ` <?xml version="1.0"?><!-- x -->${String(svg)}`,
      `\ufeff${String(svg)}`,
      `GIF89a${" ".repeat(20)}${String(svg)}`,
    ]) {
      assert.equal(imageFormat(Buffer.from(disguised)), "svg");
    }
    // A binary format whose comment or pixels hold "<svg" stays what its first bytes say.
    const pnm = Buffer.concat([Buffer.from("P6 # <svg\n2 1 255\n"), Buffer.from([1, 2, 3, 4, 5, 6])]);
    assert.equal(imageFormat(pnm), "pnm");
    assert.deepEqual([...(await decodeImage(pnm, { formats: ["pnm"] })).data], [1, 2, 3, 4, 5, 6]);
    assert.match((await errorOf(() => decodeImage(gzipSync(svg)))).message, /SVGZ is not supported/);
    await rejectsWith("E_IMAGE_DECODE", () => decodeImage(Buffer.from("P9 nothing"), { formats: ["png"] }));
  });

  it("decodeTimeout: rejects by itself when the decoder goes on", async () => {
    const bomb = nestedUse(5);
    const start = performance.now();
    const error = await rejectsWith("E_TIMEOUT", () => decodeImage(bomb, { decodeTimeout: 100 }));
    assert.match(error.message, /longer than 100 ms \(option decodeTimeout\)/);
    assert.ok(performance.now() - start < 1000, `${performance.now() - start} ms`);
    for (let i = 0; decodeBudget().inUse > 0; i++) {
      assert.ok(i < 600, "the budget comes back when the decoder ends");
      await sleep(100);
    }
  });

  it("the signal is answered at once; the budget is held until the decoder ends, and the late pixels are dropped", async () => {
    let finish!: (image: RawImage) => void;
    const decode = async (admit: Admit) => {
      await admit({ width: 100, height: 10, format: "png" });
      return new Promise<RawImage>((resolve) => (finish = resolve));
    };
    const controller = new AbortController();
    let used = false;
    const work = guardedDecode("x", limits, controller.signal, decode, () =>
      Promise.resolve(void (used = true)),
    );
    await sleep(5);
    assert.equal(decodeBudget().inUse, 1000);
    const start = performance.now();
    controller.abort();
    await rejectsWith("E_ABORTED", () => work);
    assert.ok(performance.now() - start < 50, `${performance.now() - start} ms`);
    assert.equal(decodeBudget().inUse, 1000);
    finish(pixel);
    await sleep(5);
    assert.equal(decodeBudget().inUse, 0);
    assert.ok(!used);
  });

  it("the clock stops while an image waits for its share of the budget, and the share is held until its pixels are used", async () => {
    const release = await decodeBudget().take(decodeBudget().total);
    const decode = async (admit: Admit) => {
      await admit({ width: 10, height: 10, format: "png" });
      return pixel;
    };
    let share = 0;
    const use = async () => {
      await sleep(5);
      share = decodeBudget().inUse;
      return "used";
    };
    const work = guardedDecode("x", { ...limits, decodeTimeout: 50 }, undefined, decode, use);
    await sleep(120);
    release();
    assert.equal(await work, "used");
    assert.equal(share, 100);
    await sleep(1);
    assert.equal(decodeBudget().inUse, 0);
  });

  it("an image given up at its header is not decoded", async () => {
    let decoded = false;
    const decode = async (admit: Admit) => {
      await sleep(60);
      await admit({ width: 10, height: 10, format: "png" });
      decoded = true;
      return pixel;
    };
    const quick = { ...limits, decodeTimeout: 20 };
    await rejectsWith("E_TIMEOUT", () =>
      guardedDecode("x", quick, undefined, decode, (image) => Promise.resolve(image)),
    );
    await sleep(80);
    assert.ok(!decoded);
    assert.equal(decodeBudget().inUse, 0);
  });

  it("compressed metadata of a PNG is never inflated; its pixels are the same", async () => {
    const png = readFileSync(fixture("images/rgb.png"));
    const chunk = (type: string, data: Buffer) => {
      const body = Buffer.concat([Buffer.from(type), data]);
      const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
      length.writeUInt32BE(data.length);
      checksum.writeUInt32BE(crc32(body));
      return Buffer.concat([length, body, checksum]);
    };
    const text = Buffer.concat([Buffer.from("k\0\0"), deflateSync(Buffer.alloc(1 << 20))]);
    const header = 8 + 25; // signature and IHDR
    const extra = [
      chunk("zTXt", text),
      chunk("tEXt", Buffer.from("k\0v")),
      chunk("iTXt", Buffer.concat([Buffer.from("k\0\x01\0\0\0"), text])),
      chunk("iCCP", text),
    ];
    const bomb = Buffer.concat([png.subarray(0, header), ...extra, png.subarray(header)]);
    const kept = Buffer.concat([
      png.subarray(0, header),
      chunk("tEXt", Buffer.from("k\0v")),
      png.subarray(header),
    ]);
    assert.deepEqual(Buffer.from(withoutCompressedMetadata(bomb)), kept);
    assert.deepEqual((await decodeImage(bomb)).data, (await decodeImage(png)).data);
    for (const cut of [3, 20, 40, header + 30, bomb.length - 5])
      assert.ok(withoutCompressedMetadata(bomb.subarray(0, cut)).length <= cut);
  });
});

describe("the budget of pixels", () => {
  it("images wait in their order; one larger than the budget runs alone", async () => {
    const budget = new PixelBudget(100);
    const order: string[] = [];
    const take = (name: string, pixels: number) =>
      budget.take(pixels).then((release) => (order.push(name), release));
    const a = await take("a", 60);
    const huge = take("huge", 1000);
    const small = take("small", 10); // would fit, but does not overtake
    await sleep(1);
    assert.deepEqual(order, ["a"]);
    a();
    a(); // twice gives nothing more
    const release = await huge;
    assert.equal(budget.inUse, 100);
    await sleep(1);
    assert.deepEqual(order, ["a", "huge"]);
    release();
    (await small)();
    assert.equal(budget.inUse, 0);
  });

  it("one that leaves the queue makes room for those behind it", async () => {
    const budget = new PixelBudget(100);
    const release = await budget.take(50);
    const controller = new AbortController();
    const leaving = budget.take(100, controller.signal);
    const behind = budget.take(50);
    controller.abort();
    await rejectsWith("E_ABORTED", () => leaving);
    (await behind)();
    release();
    await rejectsWith("E_ABORTED", () => budget.take(1, AbortSignal.abort()));
    assert.equal(budget.inUse, 0);
  });
});

describe("images from files", () => {
  const folder = temporaryFolder();

  it("directories, devices and FIFOs: E_IMAGE_READ at once", async function () {
    assert.match((await errorOf(() => decodeImage(folder))).message, /a directory/);
    if (process.platform === "win32") return this.skip();
    const fifo = join(folder, "fifo");
    execFileSync("mkfifo", [fifo]);
    for (const path of [fifo, "/dev/zero", "/dev/null"].filter((path) => existsSync(path))) {
      const start = performance.now();
      const error = await rejectsWith("E_IMAGE_READ", () => decodeImage(path), path);
      assert.match(error.message, /no regular file/);
      assert.ok(performance.now() - start < 1000, `${performance.now() - start} ms`);
    }
  });

  it("maxBytes: of files by their size and while they are read, and of buffers", async () => {
    const file = join(folder, "a.svg");
    writeFileSync(file, svg);
    assert.equal((await decodeImage(file, { maxBytes: svg.length })).width, 8);
    for (const image of [file, svg]) {
      const error = await rejectsWith("E_IMAGE_TOO_LARGE", () =>
        decodeImage(image, { maxBytes: svg.length - 1 }),
      );
      assert.match(error.message, /maxBytes/);
    }
    // A file whose size says 0 and that has bytes all the same.
    if (existsSync("/proc/self/status")) {
      await rejectsWith("E_IMAGE_TOO_LARGE", () => decodeImage("/proc/self/status", { maxBytes: 100 }));
      await rejectsWith("E_IMAGE_DECODE", () => decodeImage("/proc/self/status"));
    }
  });

  it("sources: what is off is E_IMAGE_READ; bytes and pixels always go", async () => {
    const off = { sources: { file: false, url: false } };
    for (const [image, option] of [
      [fixture("images/rgb.png"), "sources.file"],
      [`file://${fixture("images/rgb.png")}`, "sources.file"],
      ["http://127.0.0.1:1/x.png", "sources.url"],
    ]) {
      const error = await rejectsWith("E_IMAGE_READ", () => decodeImage(image, off));
      assert.ok(error.message.includes(option), error.message);
    }
    assert.equal((await decodeImage(svg, off)).width, 8);
    assert.equal((await decodeImage(pixel, off)).width, 1);
  });
});

describe("views of memory", () => {
  it("pixels and files in the middle of a buffer are read where they lie", async () => {
    const memory = new ArrayBuffer(2000);
    new Uint8Array(memory).fill(255, 1000, 1300);
    const clamped = await decodeImage({
      data: new Uint8ClampedArray(memory, 1000, 300) as unknown as Uint8Array,
      width: 10,
      height: 10,
      channels: 3,
    });
    assert.ok(clamped.data.length === 300 && clamped.data.every((value) => value === 255));
    const around = Buffer.concat([Buffer.alloc(100, 7), svg, Buffer.alloc(100, 7)]);
    const inside = new Uint8Array(around.buffer, around.byteOffset + 100, svg.length);
    assert.deepEqual((await decodeImage(inside)).data, (await decodeImage(svg)).data);
  });
});

describe("the budget of a process", () => {
  const child = (pixels: string, script: string) =>
    runSources(script, { env: { TORCHCLIP_DECODE_PIXELS: pixels } });

  it("TORCHCLIP_DECODE_PIXELS sets it; what a batch holds beyond it for the device is resized before, to the same bits", () => {
    const script = `
      import { load } from "./lib/index.ts";
      import { decodeBudget } from "./lib/images/budget.ts";
      const clip = await load(${JSON.stringify(tinyModel)}, { device: "cpu" });
      const image = (width, height) => {
        const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i) % 251);
        return { data, width, height, channels: 3 };
      };
      const images = [image(61, 47), image(30, 90), image(64, 64), image(20, 20)];
      const cpu = await clip.encodeImages(images);
      const device = await clip.encodeImages(images, { resizeOn: "device" });
      const [one, other] = [cpu, device].map(({ data }) => Buffer.from(data.buffer));
      console.log(decodeBudget().total, Buffer.compare(one, other));
      await clip.close();`;
    const { stdout, stderr } = child("3000", script);
    assert.equal(stdout.trim(), "3000 0", stderr);
  });

  it("a wrong value is E_ARGUMENT with its name", () => {
    const { stdout, stderr } = child(
      "many",
      `import { decodeBudget } from "./lib/images/budget.ts";
       try { decodeBudget(); } catch (e) { console.log(e.code, e.subject); }`,
    );
    assert.equal(stdout.trim(), "E_ARGUMENT TORCHCLIP_DECODE_PIXELS", stderr);
  });
});
