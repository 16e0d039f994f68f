/**
 * Draws three classes that `tiny` has never seen, in the manner of the data set `scenes`, as
 * OUT/train|valid/test/CLASS/NNN.png:
 *
 *     node --import tsx scripts/finetune/new-scenes.ts OUT
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { svgPng } from "../../lib/datasets/render/text.js";
import { pick, seededRandom, type Random } from "../../lib/util/random.js";

const SIZE = 448;
const GROUNDS = ["#ffffff", "#f4f1ea", "#e8eef4", "#e9f2e6", "#eeeeee"];
const COUNTS = { train: 20, valid: 10, test: 100 } as const;

/** A shape of radius 1 around the origin. */
const SHAPES: Record<string, { color: string; svg: string }> = {
  "pink ring": {
    color: "#ff69b4",
    svg: '<circle r="0.75" fill="none" stroke="currentColor" stroke-width="0.5"/>',
  },
  "black cross": {
    color: "#111111",
    svg: '<path d="M-0.3-1h0.6v0.7h0.7v0.6h-0.7v0.7h-0.6v-0.7h-0.7v-0.6h0.7z" fill="currentColor"/>',
  },
  "brown heart": {
    color: "#8b4513",
    svg:
      '<path fill="currentColor" d="M0 1C-1.3 0-1-0.9-0.5-0.9-0.2-0.9 0-0.7 0-0.5 ' +
      '0-0.7 0.2-0.9 0.5-0.9 1-0.9 1.3 0 0 1z"/>',
  },
};

function draw(random: Random, name: string): Buffer {
  const { color, svg } = SHAPES[name];
  const r = 50 + random() * 70;
  const x = r + 6 + random() * (SIZE - 2 * r - 12);
  const y = r + 6 + random() * (SIZE - 2 * r - 12);
  const turn = (random() - 0.5) * 30;
  const ground = pick(random, GROUNDS);
  const [dx, dy, angle, scale] = [x, y, turn, r].map((number) => number.toFixed(2));
  return svgPng(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${SIZE}" height="${SIZE}" color="${color}">` +
      `<rect width="${SIZE}" height="${SIZE}" fill="${ground}"/>` +
      `<g transform="translate(${dx} ${dy}) rotate(${angle}) scale(${scale})">${svg}</g></svg>`,
  );
}

const [out] = process.argv.slice(2);
const random = seededRandom(27);
for (const [split, count] of Object.entries(COUNTS)) {
  for (const name of Object.keys(SHAPES)) {
    const folder = join(out, split, name);
    mkdirSync(folder, { recursive: true });
    for (let i = 0; i < count; i++)
      writeFileSync(join(folder, `${String(i).padStart(3, "0")}.png`), draw(random, name));
  }
}
