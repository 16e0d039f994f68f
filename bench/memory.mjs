// Memory while many images are embedded: the resident set after 1,000 and at each tenth of the rest, and what
// it is without V8's heap, which grows and shrinks by V8's own rules.
//   node bench/memory.mjs [model] [images]
import sharp from "sharp";
import { load } from "torchclip";

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
function* sampleImages() {
  for (let i = 0; i < Number(count); i++) yield files[i % files.length];
}
const mib = () => {
  const { rss, heapTotal } = process.memoryUsage();
  return [rss, rss - heapTotal].map((bytes) => bytes / 2 ** 20);
};
const show = (now) => {
  const [all, native] = now.map(
    (v, i) => `${v.toFixed(1)} MiB (${((100 * v) / first[i] - 100).toFixed(1)} %)`,
  );
  return `${all}, without V8's heap ${native}`;
};
let done = 0;
let next = 1000;
let first;
for await (const batch of clip.streamImages(sampleImages(), { batchSize: 64 })) {
  done += batch.rows;
  if (done < next) continue;
  globalThis.gc?.();
  const now = mib();
  first ??= now;
  console.log(`${String(done).padStart(7)} images  ${show(now)}`);
  next = done + Math.floor(Number(count) / 10);
}
console.log(`end, against the first 1,000: ${show(mib())}`);
await clip.close();
