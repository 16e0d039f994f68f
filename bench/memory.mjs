// Memory while many images are embedded: the resident set after 1,000 and at each tenth of the rest, and what
// it is without V8's heap, which grows and shrinks by V8's own rules.
//   node bench/memory.mjs [model] [images]
import sharp from "sharp";
import { load } from "torchclip";
import { mib, residentMemory } from "./rounds.mjs";

const [model = "tiny", count = "100000"] = process.argv.slice(2);
const files = await Promise.all(
  Array.from({ length: 16 }, (_, i) =>
    sharp({
      create: { width: 60 + i, height: 50, channels: 3, background: { r: i * 15, g: 90, b: 200 - i * 9 } },
    })
      .jpeg()
      .toBuffer(),
  ),
);
const clip = await load(model, { precision: "int8" });
function* someFiles() {
  for (let i = 0; i < Number(count); i++) yield files[i % files.length];
}
const show = (now) => {
  const change = (of) => `${mib(now[of])} (${((100 * now[of]) / first[of] - 100).toFixed(1)} %)`;
  return `${change("rss")}, without V8's heap ${change("native")}`;
};
let done = 0;
let next = 1000;
let first;
for await (const batch of clip.streamImages(someFiles(), { batchSize: 64 })) {
  done += batch.rows;
  if (done < next) continue;
  globalThis.gc?.();
  const now = residentMemory();
  first ??= now;
  console.log(`${String(done).padStart(7)} images  ${show(now)}`);
  next = done + Math.floor(Number(count) / 10);
}
console.log(`end, against the first 1,000: ${show(residentMemory())}`);
await clip.close();
