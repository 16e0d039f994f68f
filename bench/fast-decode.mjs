// What --fast-decode changes: for each JPEG file of a folder that it decodes smaller, the cosine between the
// embeddings with and without it, and the time of reading, decoding and resizing both ways.
//   node bench/fast-decode.mjs MODEL FOLDER
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { load } from "torchclip";
import { leastCosine, machine, median, race, showRatio } from "./rounds.mjs";

const [model, folder] = process.argv.slice(2);
const clip = await load(model);

/**
 * The mean difference of two images in levels of 255.
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
const differenceOf = (a, b) => a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;

/**
 * The files that fast decoding changes, each with its difference.
 * @param {string[]} files
 */
async function changedBy(files) {
  const changed = [];
  for (const file of files) {
    const exact = await clip.preprocess([file]);
    const fast = await clip.preprocess([file], { fastDecode: true });
    if (Buffer.compare(exact.data, fast.data) !== 0)
      changed.push({ file, levels: differenceOf(exact.data, fast.data) });
  }
  return changed;
}

/**
 * The cosine of each image between the two ways.
 * @param {string[]} paths
 */
async function cosinesOf(paths) {
  const exact = await clip.encodeImages(paths);
  const fast = await clip.encodeImages(paths, { fastDecode: true });
  /** @type {(embeddings: import("torchclip").Embeddings, row: number) => Float32Array} */
  const row = ({ data, dim }, r) => data.subarray(r * dim, (r + 1) * dim);
  return paths.map((_, r) => leastCosine(row(exact, r), row(fast, r), 1, exact.dim));
}

const files = readdirSync(folder)
  .filter((name) => /\.jpe?g$/i.test(name))
  .map((name) => join(folder, name));
const changed = await changedBy(files);
if (changed.length === 0)
  throw new Error(
    `none of the ${files.length} JPEG files in ${folder} is large enough to be decoded smaller`,
  );
const paths = changed.map(({ file }) => file);
const cosines = await cosinesOf(paths);
const speeds = await race({
  exact: async () => (await clip.preprocess(paths)).rows,
  fast: async () => (await clip.preprocess(paths, { fastDecode: true })).rows,
});
const levels = median(changed.map((file) => file.levels)).toFixed(2);
console.log(
  `${paths.length} of ${files.length} files are decoded smaller; ` +
    `pixels differ by ${levels} levels of 255 on average (median of the files)`,
);
console.log(
  `cosine: least ${Math.min(...cosines).toFixed(5)}, median ${median(cosines).toFixed(5)}; ` +
    `reading to resized pixels: ${showRatio(speeds.ratio("fast", "exact"))}`,
);
console.log(machine());
await clip.close();
