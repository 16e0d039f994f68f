// What --fast-decode changes: for each JPEG file of a folder that it decodes smaller, the cosine between the
// embeddings with and without it, and the time of reading, decoding and resizing both ways.
//   node bench/fast-decode.mjs MODEL FOLDER
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { load } from "torchclip";
import { leastCosine, machine, median, race, showRatio } from "./rounds.mjs";

const [model, folder] = process.argv.slice(2);
const clip = await load(model);
const files = readdirSync(folder)
  .filter((name) => /\.jpe?g$/i.test(name))
  .map((name) => join(folder, name));
const changed = [];
for (const file of files) {
  const [a, b] = [await clip.preprocess([file]), await clip.preprocess([file], { fastDecode: true })];
  if (Buffer.compare(a.data, b.data) !== 0)
    changed.push({
      file,
      levels: a.data.reduce((sum, v, i) => sum + Math.abs(v - b.data[i]), 0) / a.data.length,
    });
}
if (!changed.length)
  throw new Error(
    `none of the ${files.length} JPEG files in ${folder} is large enough to be decoded smaller`,
  );
const paths = changed.map(({ file }) => file);
const exact = await clip.encodeImages(paths);
const fast = await clip.encodeImages(paths, { fastDecode: true });
const row = (e, r) => e.data.subarray(r * e.dim, (r + 1) * e.dim);
const cosines = paths.map((_, r) => leastCosine(row(exact, r), row(fast, r), 1, exact.dim));
const speeds = await race({
  exact: async () => (await clip.preprocess(paths), paths.length),
  fast: async () => (await clip.preprocess(paths, { fastDecode: true }), paths.length),
});
console.log(
  `${paths.length} of ${files.length} files are decoded smaller; pixels differ by ${median(changed.map((c) => c.levels)).toFixed(2)} levels of 255 on average (median of the files)`,
);
console.log(
  `cosine: least ${Math.min(...cosines).toFixed(5)}, median ${median(cosines).toFixed(5)}; reading to resized pixels: ${showRatio(speeds.ratio("fast", "exact"))}`,
);
console.log(machine());
await clip.close();
