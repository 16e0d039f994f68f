// Memory while `torchclip eval` runs over a WebDataset of many images, which is made for it: the resident set
// when the set is open, at each tenth of the images and at the end, and what it is without V8's heap, which
// grows and shrinks by V8's own rules. Results are kept for each image (its name, cosines and probabilities),
// images are not: were they, the resident set would grow by their size, which is printed.
//   node --expose-gc bench/lazy-eval.mjs [images] [shards] [model] [--keep FOLDER]
// The shards go to a temporary folder and are removed, or to FOLDER and stay, to be evaluated by the command
// itself.
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import sharp from "sharp";
import tar from "tar-stream";
import { load } from "torchclip";
import { loadDataset } from "torchclip/datasets";
import { zeroShot } from "torchclip/eval";
import { mib, residentMemory, sampleImages } from "./rounds.mjs";

const CLASSES = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "grey"];
const SIDE = 160; // pixels; a noisy JPEG of about 13 KB
const DIFFERENT = 64;

/** JPEG files of smooth colours and noise. */
async function jpegFiles() {
  const { data, width, height } = sampleImages(DIFFERENT, SIDE);
  const bytes = width * height * 3;
  const raw = Array.from({ length: DIFFERENT }, (_, i) => data.subarray(i * bytes, (i + 1) * bytes));
  return Promise.all(
    raw.map((pixels) =>
      sharp(pixels, { raw: { width, height, channels: 3 } })
        .jpeg({ quality: 95 })
        .toBuffer(),
    ),
  );
}

/**
 * Resolves when the archive has taken an entry: the entries of a shard are not held in memory.
 * @param {import("tar-stream").Pack} pack
 * @param {string} name
 * @param {Buffer | string} content
 * @returns {Promise<void>}
 */
function add(pack, name, content) {
  return new Promise((resolve, reject) => {
    pack.entry({ name }, content, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

/**
 * Writes images number `first` to `end` - 1 with their classes as a shard.
 * @param {string} file
 * @param {number} first
 * @param {number} end
 * @param {Buffer[]} files
 */
async function writeShard(file, first, end, files) {
  const pack = tar.pack();
  const written = pipeline(pack, createWriteStream(file));
  for (let i = first; i < end; i++) {
    const key = String(i).padStart(7, "0");
    await add(pack, `${key}.jpg`, files[i % files.length]);
    await add(pack, `${key}.cls`, String(i % CLASSES.length));
  }
  pack.finalize();
  await written;
}

/**
 * Writes the shards and the names of the classes; the data set's path, and the bytes of all shards.
 * @param {string} folder
 * @param {number} images
 * @param {number} shards
 */
async function writeSet(folder, images, shards) {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "classnames.txt"), `${CLASSES.join("\n")}\n`);
  const files = await jpegFiles();
  const each = Math.ceil(images / shards);
  let bytes = 0;
  for (let shard = 0; shard < shards; shard++) {
    const file = join(folder, `${shard}.tar`);
    await writeShard(file, shard * each, Math.min(images, (shard + 1) * each), files);
    bytes += (await stat(file)).size;
  }
  return { path: join(folder, shards === 1 ? "0.tar" : `{0..${shards - 1}}.tar`), bytes };
}

/** @param {string} what */
function showMemory(what) {
  globalThis.gc?.();
  const { rss, native } = residentMemory();
  const [whole, withoutHeap] = [rss, native].map((bytes) => mib(bytes).padStart(10));
  console.log(`${what.padStart(15)}  ${whole}, without V8's heap ${withoutHeap}`);
}

/**
 * As `torchclip eval` does it, with its journal.
 * @param {string} path
 * @param {string} model
 * @param {string} journal
 */
async function evaluate(path, model, journal) {
  const clip = await load(model);
  const data = await loadDataset(path);
  showMemory("set is open");
  const tenth = Math.ceil(data.length / 10);
  let next = tenth;
  const { metrics, skipped, times } = await zeroShot(clip, data, {
    journal,
    onProgress: (done) => {
      if (done < next) return;
      showMemory(`${done} images`);
      next = Math.min(data.length, done + tenth);
    },
  });
  showMemory("end");
  const speed = (metrics.count / times.total).toFixed(0);
  console.log(`${metrics.count} images, ${skipped.length} skipped, ${speed} a second`);
  await clip.close();
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { keep: { type: "string" } } });
const [images = "50000", shards = "10", model = "tiny"] = positionals;
const folder = values.keep ?? (await mkdtemp(join(tmpdir(), "torchclip-lazy-eval-")));
try {
  const { path, bytes } = await writeSet(folder, Number(images), Number(shards));
  console.log(`${images} images in ${shards} shards, ${mib(bytes)}${values.keep ? `: ${path}` : ""}`);
  await evaluate(path, model, join(folder, "evaluation.journal"));
} finally {
  await rm(join(folder, "evaluation.journal"), { force: true });
  if (!values.keep) await rm(folder, { recursive: true, force: true });
}
