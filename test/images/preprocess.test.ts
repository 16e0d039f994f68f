import assert from "node:assert/strict";
import { addon } from "../../lib/addon.js";
import { golden, sha256 } from "../support/index.js";
import { picture } from "../support/noise.js";

interface Case {
  seed: number;
  width: number;
  height: number;
  channels: 1 | 3 | 4;
  size: number;
  sha256: string;
}

describe("preprocessing", () => {
  const cases = golden<Case[]>("preprocessing");

  it(`is bit-exact with Pillow over ${cases.length} sizes and modes`, async () => {
    assert.ok(cases.length >= 200);
    const different: string[] = [];
    for (const c of cases) {
      const p = picture(c.seed, c.width, c.height, c.channels);
      const out = new Uint8Array(c.size * c.size * 3);
      await addon().preprocess(p.data, p.width, p.height, p.channels, c.size, out, 0);
      if (sha256(out) !== c.sha256) different.push(`${c.width}×${c.height}×${c.channels} → ${c.size}`);
    }
    assert.deepEqual(different, []);
  });

  it("refuses buffers that are too small, before touching them", () => {
    assert.throws(() => addon().preprocess(new Uint8Array(10), 4, 4, 3, 8, new Uint8Array(192), 0), /pixels holds 10/);
    assert.throws(() => addon().preprocess(new Uint8Array(48), 4, 4, 3, 8, new Uint8Array(191), 0), /out holds 191/);
    assert.throws(() => addon().preprocess(new Uint8Array(48), 4, 4, 3, 8, new Uint8Array(192), 1), /out holds 192/);
  });
});
