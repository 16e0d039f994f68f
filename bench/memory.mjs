// Memory while many pictures are embedded: resident set after 1,000 and at each tenth of the rest.
//   node bench/memory.mjs [model] [pictures]
import sharp from "sharp";
import { load } from "torchclip";

const [model = "tiny", count = "100000"] = process.argv.slice(2);
const files = await Promise.all(
  Array.from({ length: 16 }, (_, i) =>
    sharp({ create: { width: 60 + i, height: 50, channels: 3, background: { r: i * 15, g: 90, b: 200 - i * 9 } } })
      .jpeg()
      .toBuffer(),
  ),
);
const clip = await load(model, { precision: "int8" });
function* pictures() {
  for (let i = 0; i < Number(count); i++) yield files[i % files.length];
}
const mib = () => process.memoryUsage().rss / 2 ** 20;
let done = 0;
let next = 1000;
let first;
let most = 0;
for await (const batch of clip.streamImages(pictures(), { batchSize: 64 })) {
  done += batch.rows;
  if (done < next) continue;
  globalThis.gc?.();
  const now = mib();
  first ??= now;
  most = Math.max(most, now);
  console.log(`${String(done).padStart(7)} pictures  ${now.toFixed(0)} MiB  ${((100 * now) / first - 100).toFixed(1)} %`);
  next = done + Math.floor(Number(count) / 10);
}
console.log(`end: ${mib().toFixed(0)} MiB, ${((100 * mib()) / first - 100).toFixed(1)} % over the first 1,000`);
await clip.close();
