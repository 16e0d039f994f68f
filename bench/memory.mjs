// Memory while many images are embedded: the resident set after 1,000 and at each tenth of the rest, and what
// it is without V8's heap, which grows and shrinks by V8's own rules.
//   node bench/memory.mjs [model] [images]
import sharp from "sharp";
import { load } from "torchclip";
import { mib, residentMemory } from "./rounds.mjs";

const [model = "tiny", count = "100000"] = process.argv.slice(2);

/**
 * A JPEG file of one colour.
 * @param {number} i
 */
function jpegFile(i) {
  const background = { r: i * 15, g: 90, b: 200 - i * 9 };
  return sharp({ create: { width: 60 + i, height: 50, channels: 3, background } })
    .jpeg()
    .toBuffer();
}

const files = await Promise.all(Array.from({ length: 16 }, (_, i) => jpegFile(i)));
const clip = await load(model, { precision: "int8" });

/** @param {number} images */
function* someFiles(images) {
  for (let i = 0; i < images; i++) yield files[i % files.length];
}

/** @typedef {ReturnType<typeof residentMemory>} Memory */

/**
 * The memory of now and its change.
 * @param {Memory} now
 * @param {Memory} first
 */
function show(now, first) {
  /** @param {keyof Memory} of */
  const change = (of) => `${mib(now[of])} (${((100 * now[of]) / first[of] - 100).toFixed(1)} %)`;
  return `${change("rss")}, without V8's heap ${change("native")}`;
}

let done = 0;
let next = 1000;
/** @type {Memory | undefined} */
let first;
for await (const batch of clip.streamImages(someFiles(Number(count)), { batchSize: 64 })) {
  done += batch.rows;
  if (done < next) continue;
  globalThis.gc?.();
  const now = residentMemory();
  first ??= now;
  console.log(`${String(done).padStart(7)} images  ${show(now, first)}`);
  next = done + Math.floor(Number(count) / 10);
}
if (first) console.log(`end, against the first 1,000: ${show(residentMemory(), first)}`);
await clip.close();
