/** Compares preprocessing with the hashes that many-pictures.py wrote; prints how many differ. */
import { readFileSync } from "node:fs";
import { addon } from "../../lib/addon.js";
import { sha256 } from "../../test/support/index.js";
import { picture } from "../../test/support/noise.js";

interface Case {
  seed: number;
  width: number;
  height: number;
  channels: 1 | 3 | 4;
  size: number;
  sha256: string;
}

const cases = JSON.parse(readFileSync(process.argv[2], "utf8")) as Case[];
let different = 0;
for (const c of cases) {
  const p = picture(c.seed, c.width, c.height, c.channels);
  const out = new Uint8Array(c.size * c.size * 3);
  await addon().preprocess(p.data, p.width, p.height, p.channels, c.size, out, 0);
  if (sha256(out) !== c.sha256) console.log(`differs: ${c.width} × ${c.height} × ${c.channels} to ${c.size} (${++different})`);
}
console.log(`${cases.length} pictures, ${different} differ`);
