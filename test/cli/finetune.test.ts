import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import type { RawImage } from "../../lib/images/types.js";
import { stripeSet } from "../finetune/data.js";
import { temporaryFolder } from "../support/index.js";
import { commandLine, MAIN, runNode } from "../support/process.js";

const folder = temporaryFolder();
const cli = commandLine(join(folder, "cache"));
const data = join(folder, "stripes");

/** Writes the splits of the stripes as PNG files: SPLIT/CLASS/NAME.png. */
async function writeStripes(): Promise<void> {
  for (const [split, images, seed] of [
    ["train", 24, 100],
    ["valid", 9, 300],
    ["test", 15, 500],
  ] as const) {
    const set = stripeSet(split, images, seed);
    for (const sample of set) {
      const at = join(data, split, set.classes[sample.label]);
      mkdirSync(at, { recursive: true });
      const { data: raw, ...size } = (await sample.read()) as RawImage;
      await sharp(raw, { raw: size })
        .png()
        .toFile(join(at, `${sample.name}.png`));
    }
  }
}

interface Training {
  manifest: {
    comparison: { images: number; first: number; second: number };
    training: { steps: number; images: { train: number; valid: string }; sweep: unknown[]; recipe: object };
  };
  history: { steps: { loss: number }[]; validations: unknown[] };
}

describe("torchclip finetune", function () {
  this.timeout(240_000);
  before(writeStripes);

  const quick = ["-m", "tiny", "-s", data, "-d", "cpu", "--threads", "1", "-b", "6"];

  it("trains, tests before and after, and writes the model, curves and the report", () => {
    const out = join(folder, "image");
    const args = ["--steps", "30", "--learning-rate", "3e-4", "--wise-sweep", "--resume", "-o", out];
    const run = cli("finetune", ...quick, ...args);
    assert.equal(run.status, 0, run.stderr);
    assert.match(run.stderr, /There is no checkpoint in .*: training begins anew/);
    assert.match(run.stderr, /step 30 of 30: loss .*; validation /);
    assert.match(
      run.stdout,
      /Trained: 3,959,552 values in 55 tensors, adam, learning rate 0\.0003, 30 steps of 6/,
    );
    assert.match(run.stdout, /share 1\.0 /);
    assert.match(run.stdout, /McNemar: /);
    const training = JSON.parse(readFileSync(join(out, "training.json"), "utf8")) as Training;
    const { comparison, training: about } = training.manifest;
    assert.equal(comparison.images, 15);
    assert.ok(comparison.second > comparison.first);
    assert.deepEqual([about.steps, about.images.train, about.sweep.length], [30, 24, 11]);
    assert.equal(training.history.steps.length, 30);
    assert.equal(training.history.validations.length, 10);
    assert.equal(readFileSync(join(out, "training.csv"), "utf8").trim().split("\n").length, 31);
    const page = readFileSync(join(out, "training.html"), "utf8");
    assert.match(page, /<svg[^]*<svg/);
    assert.match(readFileSync(join(out, "report.html"), "utf8"), /fine-tuned/);
    const evaluated = cli(
      "eval",
      "-m",
      join(out, "model.pt"),
      "-s",
      data,
      "-o",
      join(folder, "eval"),
      "--json",
    );
    const { metrics } = JSON.parse(evaluated.stdout) as { metrics: { accuracy: number } };
    assert.equal(metrics.accuracy, comparison.second);
  });

  it("lora on a few shots: --json, and the adapter gives eval the same accuracy as the model", () => {
    const out = join(folder, "lora");
    const args = [
      "--method",
      "lora",
      "--shots",
      "4",
      "--steps",
      "12",
      "--learning-rate",
      "5e-3",
      "--rank",
      "4",
    ];
    const run = cli("finetune", ...quick, ...args, "--projections", "q,v,out", "--json", "-o", out);
    assert.equal(run.status, 0, run.stderr);
    const { manifest } = JSON.parse(run.stdout) as Training;
    assert.equal(manifest.training.images.train, 12);
    const adapter = ["--adapter", join(out, "adapter")];
    const evaluated = cli(
      "eval",
      "-m",
      "tiny",
      "-s",
      data,
      ...adapter,
      "--json",
      "-o",
      join(folder, "adapted"),
    );
    const { metrics } = JSON.parse(evaluated.stdout) as { metrics: { accuracy: number } };
    assert.equal(metrics.accuracy, manifest.comparison.second);
  });

  it("images in two splits are a note with their names, with --strict an error", () => {
    const twice = join(data, "test", "blap", "twice.png");
    copyFileSync(join(data, "train", "blap", "train-0.png"), twice);
    const out = join(folder, "strict");
    const noted = cli("finetune", ...quick, "--steps", "1", "-o", out);
    assert.equal(noted.status, 0, noted.stderr);
    assert.match(noted.stderr, /train-0\.png = .*twice\.png/);
    const strict = cli("finetune", ...quick, "--steps", "1", "--strict", "-o", join(folder, "none"));
    assert.equal(strict.status, 1);
    assert.match(strict.stderr, /E_DATASET_FORMAT: .*twice\.png/);
    assert.ok(!existsSync(join(folder, "none", "model.pt")));
  });

  it("too many shots, unknown projections and a bad crop are refused", () => {
    const refused = (...args: string[]) => cli("finetune", ...quick, "-o", join(folder, "none"), ...args);
    const shots = refused("--shots", "100");
    assert.equal(shots.status, 2);
    assert.match(shots.stderr, /the class "blap" has 8 training images, fewer than 100 shots/);
    assert.match(
      refused("--method", "lora", "--projections", "q,mlp").stderr,
      /projections must be some of q, k, v, out/,
    );
    assert.equal(refused("--crop-scale", "0.5").status, 2);
    assert.equal(refused("--wise", "2").status, 2);
  });

  it("without libtorch the error names the command that installs it", () => {
    const env = { TORCHCLIP_CACHE: join(folder, "cache"), TORCHCLIP_LIBTORCH: join(folder, "nowhere") };
    const run = runNode([MAIN, "finetune", ...quick, "-o", join(folder, "none")], { env });
    assert.equal(run.status, 1);
    assert.match(run.stderr, /E_ADDON: fine-tuning needs libtorch, .*torchclip setup torch/);
  });
});
