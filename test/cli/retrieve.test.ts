import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadDataset } from "../../lib/datasets/index.js";
import type { RetrievalManifest, RetrievalMetrics } from "../../lib/eval/index.js";
import { temporaryFolder } from "../support/index.js";
import { commandLine } from "../support/process.js";

interface Results {
  manifest: RetrievalManifest;
  metrics: RetrievalMetrics;
  skipped: { name: string }[];
}

describe("torchclip retrieve", function () {
  this.timeout(240_000);
  const folder = temporaryFolder();
  const cli = commandLine(join(folder, "cache"));
  const captions = join(folder, "captions.jsonl");
  const out = join(folder, "out");
  const run = (...args: string[]) => cli("retrieve", captions, "-m", "tiny", "-o", out, ...args);
  const results = () => JSON.parse(readFileSync(join(out, "results.json"), "utf8")) as Results;

  before(async () => {
    const scenes = (await loadDataset("scenes", { split: "valid", cacheDir: folder })).limit(24);
    mkdirSync(join(folder, "images"));
    const lines = [...scenes].map((sample, i) => {
      copyFileSync(sample.read() as string, join(folder, "images", `${i}.png`));
      const shape = scenes.classes[sample.label].replaceAll("_", " ");
      return JSON.stringify({ image: `${i}.png`, captions: [`a photo of a ${shape}`, `<u>a ${shape}`] });
    });
    writeFileSync(captions, lines.join("\n"));
  });

  it("prints both definitions, and saves results, queries and a report", () => {
    const { status, stdout, stderr } = run("--root", join(folder, "images"));
    assert.equal(status, 0, stderr);
    assert.match(stdout, /split all, 24 images, 48 captions/);
    assert.match(stdout, /Any positive in the top K/);
    assert.match(stdout, /One caption per image, by rank/);
    assert.match(stdout, /image → text +100\.00% \(100\.0–100\.0\)/);
    const { manifest, metrics } = results();
    assert.equal(metrics.anyPositive.imageToText.recall[0].value, 1);
    assert.deepEqual(manifest.resumed, { images: 0, captions: 0 });
    const queries = readFileSync(join(out, "queries.csv"), "utf8").trimEnd().split("\n");
    assert.equal(queries.length, 1 + 24 + 48);
    assert.deepEqual(queries.slice(0, 2), ["direction,query,image,caption,rank", "image-to-text,0,0.png,,1"]);
    const report = readFileSync(join(out, "report.html"), "utf8");
    assert.match(report, /Worst queries: image → text/);
    assert.ok(report.includes("&lt;u&gt;a "), "captions are escaped");
    assert.ok(!report.includes("<u>a "), "captions are no markup");
    assert.equal((report.match(/<article class="query">/g) ?? []).length, 10);
    assert.equal((report.match(/<article class="caption">/g) ?? []).length, 10);
    assert.ok((report.match(/src="data:image\/webp;base64,/g) ?? []).length >= 20);
  });

  it("a second run reads no image again; --json prints results.json", () => {
    const { status, stdout, stderr } = run("--root", join(folder, "images"), "--json");
    assert.equal(status, 0, stderr);
    assert.equal(stdout, readFileSync(join(out, "results.json"), "utf8"));
    assert.deepEqual(results().manifest.resumed, { images: 24, captions: 48 });
    const text = run("--root", join(folder, "images"));
    assert.match(text.stdout, /Taken over from an earlier run: 24 images, 48 captions\./);
  });

  it("open_clip's CSV files have tabs between their columns", () => {
    const file = join(folder, "open_clip.csv");
    writeFileSync(file, "filepath\ttitle\nimages/0.png\ta photo of a shape\nimages/1.png\tanother\n");
    const args = ["-m", "tiny", "-o", join(folder, "tabs"), "--json"];
    const { status, stdout, stderr } = cli("retrieve", file, "--csv-separator", "\\t", ...args);
    assert.equal(status, 0, stderr);
    assert.equal((JSON.parse(stdout) as Results).metrics.images, 2);
  });

  it("a missing image is a note, with --strict an error; without --root all are missing", () => {
    const some = join(folder, "some");
    mkdirSync(some);
    for (let i = 0; i < 23; i++) copyFileSync(join(folder, "images", `${i}.png`), join(some, `${i}.png`));
    const noted = run("--root", some);
    assert.equal(noted.status, 0, noted.stderr);
    assert.match(noted.stderr, /^Note: .*1 image of a caption is not there and is left out: 23\.png/m);
    assert.match(results().manifest.dataset.notes.join(), /23\.png/);
    const strict = run("--root", some, "--strict");
    assert.equal(strict.status, 1);
    assert.match(strict.stderr, /E_DATASET_FORMAT: .*23\.png/);
    const without = run();
    assert.equal(without.status, 1);
    assert.match(without.stderr, /E_DATASET_NOT_FOUND: none of the 24 images is in .*--root/);
  });

  it("an image that cannot be decoded is counted, or fails; --limit takes the first images", () => {
    const broken = join(folder, "broken");
    mkdirSync(broken);
    for (let i = 0; i < 24; i++) copyFileSync(join(folder, "images", `${i}.png`), join(broken, `${i}.png`));
    writeFileSync(join(broken, "1.png"), "no image");
    const skipped = run("--root", broken, "--limit", "5");
    assert.equal(skipped.status, 0, skipped.stderr);
    assert.match(skipped.stdout, /Skipped: 1 images that could not be read/);
    assert.deepEqual([results().metrics.images, results().skipped[0].name], [4, "1.png"]);
    const failed = run("--root", broken, "--on-error", "fail");
    assert.equal(failed.status, 1);
    assert.match(failed.stderr, /E_IMAGE_DECODE: 1\.png/);
  });
});

describe("torchclip eval --compare", function () {
  this.timeout(240_000);
  const folder = temporaryFolder();
  const cli = commandLine(join(folder, "cache"));
  const evaluate = (name: string, ...args: string[]) => {
    const out = join(folder, name);
    const { status, stderr } = cli(
      "eval",
      "-m",
      "tiny",
      "-s",
      "scenes",
      "--split",
      "valid",
      "-o",
      out,
      ...args,
    );
    assert.equal(status, 0, stderr);
    return join(out, "results.json");
  };
  let first = "";
  let second = "";

  before(() => {
    first = evaluate("first", "--template", "{}");
    const names = Array.from({ length: 24 }, (_, i) => `thing ${i}`);
    second = evaluate("second", "--classes", names.join(","));
  });

  it("the paired difference with its interval and McNemar's p", () => {
    const { status, stdout, stderr } = cli("eval", "--compare", first, second);
    assert.equal(status, 0, stderr);
    assert.equal(stderr, "");
    assert.match(stdout, /Difference: [+−]\d+\.\d\d points \(95 % interval .* over 120 images\)/);
    assert.match(stdout, /McNemar's exact test: p = /);
    const json = cli("eval", "--compare", join(folder, "first"), second, "--json");
    const { count, first: of, mcnemar } = JSON.parse(json.stdout) as Record<string, never>;
    assert.equal(count, 120);
    assert.equal(typeof of, "number");
    assert.deepEqual(Object.keys(mcnemar), ["onlyFirst", "onlySecond", "p"]);
  });

  it("refuses other images, one file, and files that are no results", () => {
    const fewer = evaluate("fewer", "--limit", "48");
    const other = cli("eval", "--compare", first, fewer);
    assert.equal(other.status, 2);
    assert.match(other.stderr, /not of the same images/);
    assert.equal(cli("eval", "--compare", first).status, 2);
    const text = join(folder, "text.json");
    writeFileSync(text, "{}");
    assert.match(cli("eval", "--compare", first, text).stderr, /E_DATASET_FORMAT: .*manifest/);
    assert.match(cli("eval", "--compare", first, join(folder, "none.json")).stderr, /E_READ/);
  });
});
