import assert from "node:assert/strict";
import sharp from "sharp";
import { addon } from "../../lib/addon.js";
import { load } from "../../lib/index.js";
import { freeMemory } from "../../lib/util/free-memory.js";
import { tinyModel } from "../support/index.js";

describe("memory that is freed at once", () => {
  before(() => void addon());

  it("is detached, also if it lacks the last byte of its buffer", () => {
    const room = Buffer.allocUnsafeSlow(1 << 16);
    freeMemory(room.subarray(0, room.length - 1));
    assert.equal(room.length, 0);
  });

  it("is not memory that others have a part of: shared memory, Node's pool of small buffers of any size", () => {
    const shared = new Uint8Array(new SharedArrayBuffer(1 << 16));
    const pooled = Buffer.from("a text");
    freeMemory(shared);
    const pool = Buffer.allocUnsafeSlow(1 << 20);
    const part = pool.subarray(0, 1 << 16);
    freeMemory(pooled);
    freeMemory(part);
    assert.equal(part.length, 1 << 16);
    assert.equal(shared.length, 1 << 16);
    assert.equal(pooled.toString(), "a text");
  });

  it("is that of decoded pixels, not the caller's, while images are encoded", async () => {
    const side = 700;
    const create = { width: side, height: side, channels: 3 as const, background: "teal" };
    const jpeg = await sharp({ create }).jpeg().toBuffer();
    const data = new Uint8Array(side * side * 3);
    const raw = { data, width: side, height: side, channels: 3 as const };
    const clip = await load(tinyModel);
    try {
      await clip.encodeImages([jpeg, raw]);
      const before = process.memoryUsage().external;
      let most = 0;
      for (let i = 0; i < 30; i++) {
        await clip.encodeImages([jpeg, raw]);
        most = Math.max(most, process.memoryUsage().external - before);
      }
      // The pixels of all rounds are 84 MB.
      assert.ok(most < 10e6, `${most} bytes more`);
      assert.equal(data.length, side * side * 3);
      assert.ok(jpeg.length > 0);
    } finally {
      await clip.close();
    }
  });
});
