import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { clusterIndex } from "../../lib/curate/kmeans.js";
import { nearDuplicates } from "../../lib/curate/near-duplicates.js";
import { readVocabulary } from "../../lib/curate/vocabulary.js";
import { writeSidecar, xmpText } from "../../lib/curate/xmp.js";
import { EmbeddingIndex, load, normalizeRows, type Embeddings } from "../../lib/index.js";
import { rejectsWith, temporaryFolder, writeFiles } from "../support/index.js";
import { noise } from "../support/noise.js";
import { colourImages } from "../support/colours.js";
import { commandLine, printedBy } from "../support/process.js";

const DIM = 32;

function random(rows: number, seed: number, length = 1): Float32Array {
  return Float32Array.from({ length: rows * DIM }, (_, i) => (length * noise(seed, i)) / 2 ** 31 - length);
}

async function indexOf(data: Float32Array): Promise<EmbeddingIndex> {
  const rows: Embeddings = normalizeRows({ data, rows: data.length / DIM, dim: DIM });
  const index = EmbeddingIndex.create(DIM);
  await index.add(rows);
  return index;
}

describe("near-duplicates", () => {
  /** Connected rows by comparing every pair in fp64. */
  function bruteForce(index: EmbeddingIndex, threshold: number): number[][] {
    const vectors = Array.from({ length: index.rows }, (_, row) => index.vector(row));
    const group = vectors.map((_, row) => row);
    for (let changed = true; changed;) {
      changed = false;
      for (const [a, one] of vectors.entries())
        for (const [b, other] of vectors.entries()) {
          const cosine = one.reduce((sum, value, i) => sum + value * other[i], 0);
          if (!(cosine >= threshold) || group[a] <= group[b]) continue;
          group[a] = group[b]!;
          changed = true;
        }
    }
    const groups = new Map<number, number[]>();
    for (const [row, of] of group.entries()) groups.set(of, [...(groups.get(of) ?? []), row]);
    return [...groups.values()]
      .filter(({ length }) => length > 1)
      .sort((a, b) => b.length - a.length || a[0] - b[0]);
  }

  it("finds the groups of a comparison of every pair, also larger than what is asked for first", async () => {
    const base = random(260, 5);
    const near = random(260, 6, 0.05);
    // 70 rows near row 0, chains and pairs elsewhere, a row of NaN.
    const data = base.map((value, i) => {
      const row = Math.floor(i / DIM);
      const centre = row < 70 ? 0 : row - (row % 3);
      return base[centre * DIM + (i % DIM)] + near[i] * (row < 70 ? 1 : (row % 7) + 1) + value * 0;
    });
    data.fill(NaN, 100 * DIM, 101 * DIM);
    const index = await indexOf(data);
    for (const threshold of [0.9, 0.97, 0.995]) {
      const expected = bruteForce(index, threshold);
      const groups = await nearDuplicates(index, { threshold });
      assert.deepEqual(
        groups.map(({ rows }) => rows),
        expected,
      );
      assert.ok(expected.length > 1 && expected[0].length > 16, `${expected.length} groups`);
      for (const { scores } of groups) assert.ok(Math.abs(scores[0] - 1) < 1e-5);
      assert.ok(groups.every(({ rows }) => !rows.includes(100)));
    }
    await rejectsWith("E_ARGUMENT", () => nearDuplicates(index, { threshold: 2 }));
    await rejectsWith("E_ABORTED", () => nearDuplicates(index, { signal: AbortSignal.abort() }));
    index.close();
  });
});

describe("near-duplicates of many equal images", () => {
  it("two heaps of equal rows that are near each other are one group", async () => {
    // The nearest 16 rows of each row are equal to it.
    const heap = random(1, 20);
    const other = random(1, 21, 0.1).map((value, i) => value + heap[i]);
    const data = Float32Array.from({ length: 40 * DIM }, (_, i) => (i < 20 * DIM ? heap : other)[i % DIM]);
    const index = await indexOf(data);
    const cosine = index.vector(0).reduce((sum, value, i) => sum + value * index.vector(20)[i], 0);
    assert.ok(cosine < 0.9999, `the cosine of the heaps: ${cosine}`);
    const near = await nearDuplicates(index, { threshold: cosine - 0.001 });
    assert.deepEqual(
      near.map(({ rows }) => rows.length),
      [40],
    );
    const apart = await nearDuplicates(index, { threshold: 0.99999 });
    assert.deepEqual(
      apart.map(({ rows }) => rows.length),
      [20, 20],
    );
    index.close();
  });
});

describe("k-means", () => {
  it("more clusters than different rows: centroids stay vectors, and it comes to an end", async () => {
    const data = Float32Array.from(
      { length: 30 * DIM },
      (_, i) => noise(30, (i % DIM) + DIM * (i % 2)) / 2 ** 31 - 1,
    );
    const index = await indexOf(data);
    const found = await clusterIndex(index, { clusters: 5 });
    assert.ok(found.centroids.data.every(Number.isFinite));
    assert.equal(
      found.sizes.reduce((sum, size) => sum + size, 0),
      30,
    );
    index.close();
  });

  it("finds separated clusters, numbered by size; one seed gives the same clusters", async () => {
    const centres = random(4, 9);
    const near = random(200, 10, 0.1);
    const cluster = (row: number) => [0, 0, 0, 1, 1, 1, 2, 2, 2, 3][row % 10];
    const data = near.map((value, i) => value + centres[cluster(Math.floor(i / DIM)) * DIM + (i % DIM)]);
    data.fill(NaN, 9 * DIM, 10 * DIM);
    const index = await indexOf(data);
    const found = await clusterIndex(index, { clusters: 4, seed: 1 });
    assert.deepEqual(found.sizes, [60, 60, 60, 19]);
    assert.equal(found.assignments[9], -1);
    const numbers = [0, 3, 6, 19].map((row) => found.assignments[row]);
    assert.equal(new Set(numbers).size, 4);
    for (const row of found.assignments.keys())
      if (row !== 9) assert.equal(found.assignments[row], numbers[cluster(row)], `row ${row}`);
    assert.deepEqual(await clusterIndex(index, { clusters: 4, seed: 1 }), found);
    const all = await clusterIndex(index, { clusters: 199 });
    assert.ok(
      all.sizes.every((size) => size === 1),
      "as many clusters as rows",
    );
    for (const clusters of [0, 200, 1.5])
      await rejectsWith("E_ARGUMENT", () => clusterIndex(index, { clusters }));
    index.close();
  });
});

describe("vocabularies and sidecars", () => {
  it("a vocabulary has labels and thresholds; what is wrong is told with its entry", async () => {
    const folder = writeFiles({
      "a.txt": "beach\n\nsunset \t0.8\n",
      "twice.txt": "a\na\n",
      "number.txt": "a\t2\n",
      "empty.txt": "\n",
    });
    assert.deepEqual(await readVocabulary(join(folder, "a.txt")), [
      { label: "beach" },
      { label: "sunset", threshold: 0.8 },
    ]);
    for (const [name, message] of [
      ["twice.txt", /entry 2 stands twice: a/],
      ["number.txt", /entry 1 has a threshold/],
      ["empty.txt", /no label/],
    ] as const) {
      const error = await rejectsWith("E_DATASET_FORMAT", () => readVocabulary(join(folder, name)));
      assert.match(error.message, message);
    }
  });

  it("a sidecar is XMP that sharp reads; that of another program is left as it is", async () => {
    const folder = temporaryFolder();
    const image = join(folder, "a.jpg");
    assert.equal(await writeSidecar(image, ["cats & <dogs>", "été"]), true);
    assert.equal(await writeSidecar(image, ["second"]), true, "its own is replaced");
    assert.match(readFileSync(`${image}.xmp`, "utf8"), /<rdf:li>second<\/rdf:li>/);
    const text = xmpText(["cats & <dogs>", "été"]);
    assert.match(text, /<rdf:li>cats &amp; &lt;dogs&gt;<\/rdf:li>\n +<rdf:li>été<\/rdf:li>/);
    const pixels = sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } });
    const embedded = await pixels.withXmp(text).jpeg().toBuffer();
    assert.equal((await sharp(embedded).metadata()).xmpAsString, text);
    writeFileSync(`${image}.xmp`, "<x:xmpmeta>of another program</x:xmpmeta>");
    assert.equal(await writeSidecar(image, ["third"]), false);
    assert.match(readFileSync(`${image}.xmp`, "utf8"), /another program/);
  });
});

describe("torchclip dedupe, cluster and tag", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const images = join(folder, "images");
  const index = join(folder, "a.npy");
  const cli = commandLine(join(folder, "cache"));
  const json = (...args: string[]): unknown => JSON.parse(printedBy(cli(...args, "--json")));

  before(async () => {
    await colourImages(images);
    await colourImages(join(images, "copy"), ["red"]);
    writeFileSync(join(images, "broken.png"), "no image");
    assert.equal(cli("embed", images, "-o", index, "-m", "tiny").status, 3);
  });

  it("dedupe: groups as text, JSON, CSV and contact sheets; nothing is deleted", () => {
    const before = readdirSync(images);
    const [csv, page, png] = ["groups.csv", "groups.html", "groups.png"].map((name) => join(folder, name));
    const args = ["dedupe", index, "--threshold", "0.9999"];
    const groups = json(...args, "-o", csv, "--sheet", page) as { images: { name: string }[] }[];
    const names = [join("copy", "red.png"), "red.png"];
    assert.deepEqual(
      groups.map((group) => group.images.map(({ name }) => name)),
      [names],
    );
    assert.match(
      readFileSync(csv, "utf8"),
      /^group,row,name,score\n1,\d,copy.red\.png,[01][^]*\n1,\d,red\.png,/,
    );
    assert.match(readFileSync(page, "utf8"), /<h1>Near-duplicates<\/h1>.*group 1 \(2 images\)/s);
    const text = printedBy(cli(...args, "--sheet", png));
    assert.match(text, /1 groups of near-duplicates among 5 rows .* Nothing was deleted\./);
    assert.equal(readFileSync(png).subarray(1, 4).toString(), "PNG");
    assert.deepEqual(readdirSync(images), before);
    assert.match(cli("dedupe", index, "--threshold", "7").stderr, /in -1 to 1/);
  });

  it("cluster: sizes, labels from a vocabulary, an assignment of each row", async () => {
    const vocabulary = join(folder, "colours.txt");
    writeFileSync(vocabulary, "red circle\nblue circle\ngreen circle\n");
    const out = join(folder, "clusters.csv");
    const args = ["cluster", index, "-k", "3", "--label", vocabulary, "--template", "a {}", "-o", out];
    const clusters = json(...args) as { size: number; labels: { label: string; cosine: number }[] }[];
    assert.deepEqual(
      clusters.map(({ size }) => size),
      [2, 1, 1],
    );
    const rows = readFileSync(out, "utf8").trim().split("\n");
    assert.equal(rows.length, 6);
    assert.ok(
      rows.some((row) => row.endsWith("broken.png,,,")),
      "a failed image is in no cluster",
    );
    const clip = await load("tiny");
    const classes = await clip.encodeClasses(["red circle", "blue circle", "green circle"], ["a {}"]);
    const red = await clip.encodeImages([join(images, "red.png")]);
    const cosines = [0, 1, 2].map((label) =>
      red.data.reduce((sum, value, i) => sum + value * classes.data[label * classes.dim + i], 0),
    );
    const { label, cosine } = clusters[0].labels[0];
    assert.ok(Math.abs(cosine - Math.max(...cosines)) < 1e-5, "the centroid of the two equal images");
    assert.equal(label, ["red circle", "blue circle", "green circle"][cosines.indexOf(Math.max(...cosines))]);
    await clip.close();
  });

  it("tag: the probabilities of classify, thresholds by label, CSV, JSON and sidecars", async () => {
    const vocabulary = join(folder, "tags.txt");
    writeFileSync(vocabulary, "red\ngreen\nblue\t1\n");
    const clip = await load("tiny");
    const expected = await clip.classify(join(images, "red.png"), ["red", "green", "blue"]);
    await clip.close();
    const args = ["tag", index, "-v", vocabulary, "--template", "a photo of a {}"];
    const all = json(...args, "--threshold", "0") as {
      name: string;
      tags: { label: string; probability: number }[];
    }[];
    const tagged = all.find(({ name }) => name === "red.png")!;
    const kept = expected.filter(({ label, probability }) => label !== "blue" || probability >= 1);
    assert.deepEqual(
      tagged.tags.map(({ label }) => label),
      kept.map(({ label }) => label),
    );
    for (const [i, { probability }] of tagged.tags.entries())
      assert.ok(Math.abs(probability - kept[i].probability) < 1e-6);
    assert.deepEqual(all.find(({ name }) => name === "broken.png")!.tags, []);
    const out = join(folder, "tags.csv");
    writeFileSync(join(images, "lime.png.xmp"), "of another program");
    const { stderr, status } = cli(...args, "--threshold", "0", "-k", "1", "-o", out, "--xmp");
    assert.equal(status, 0, stderr);
    assert.match(stderr, /4 sidecars were written[^]*1 sidecars of other programs were left/);
    assert.match(readFileSync(out, "utf8"), /^row,name,label,probability,cosine\n/);
    const sidecar = readFileSync(join(images, "red.png.xmp"), "utf8");
    assert.ok(sidecar.includes(`<rdf:li>${kept[0].label}</rdf:li>`));
    assert.equal(readFileSync(join(images, "lime.png.xmp"), "utf8"), "of another program");
    assert.ok(existsSync(join(images, "copy", "red.png.xmp")));
  });
});
