import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadDataset } from "../../lib/datasets/index.js";
import { readProbe, writeProbe } from "../../lib/learn/index.js";
import { temporaryFolder } from "../support/index.js";
import { commandLine } from "../support/process.js";

const folder = temporaryFolder();
const cacheDir = join(folder, "cache");
const cli = commandLine(cacheDir);
const out = join(folder, "probe");
const probeFile = join(out, "probe.safetensors");

interface Results {
  manifest: {
    classifier: {
      features: string;
      lambda: number;
      search?: { tried: unknown[] };
      fit: { converged: boolean };
    };
    comparison: { images: number; first: number; second: number; p: number };
    prompts: { source: string };
    dataset: { classes: string[] };
  };
  metrics: { accuracy: number; count: number };
}

const resultsIn = (place: string) => JSON.parse(readFileSync(join(place, "results.json"), "utf8")) as Results;

/** Paths of the images of a split of scenes, by class. */
async function scenes(split: string): Promise<Map<string, string[]>> {
  const data = await loadDataset("scenes", { cacheDir, split });
  const paths = new Map<string, string[]>();
  for (const sample of data) {
    const name = data.classes[sample.label];
    paths.set(name, [...(paths.get(name) ?? []), (await sample.read()) as string]);
  }
  return paths;
}

/** A folder data set of links to images: SPLIT/CLASS/NAME. */
function tree(name: string, files: Record<string, string>): string {
  for (const [path, source] of Object.entries(files)) {
    const file = join(folder, name, path);
    mkdirSync(join(file, ".."), { recursive: true });
    copyFileSync(source, file);
  }
  return join(folder, name);
}

describe("torchclip probe, eval --probe, teach and classify --probe", function () {
  this.timeout(240_000);

  it("probe: λ by the protocol, the results of the test split beside zero-shot, a file of the probe", () => {
    const run = cli("probe", "-m", "tiny", "-s", "scenes", "-o", out);
    assert.equal(run.status, 0, run.stderr);
    assert.match(run.stdout, /λ on the validation split: .*fits/);
    assert.match(run.stdout, /Fit: 360 images × 192 features, 24 classes/);
    assert.match(run.stdout, /McNemar: /);
    assert.match(run.stderr, /Features of 0 images came from the cache/);
    const { manifest, metrics } = resultsIn(out);
    assert.ok(manifest.classifier.fit.converged);
    assert.equal(manifest.comparison.images, metrics.count);
    assert.equal(manifest.comparison.second, metrics.accuracy);
    assert.equal(manifest.prompts.source, "Linear probe");
    const page = readFileSync(join(out, "report.html"), "utf8");
    assert.match(page, /Linear probe, split test/);
    assert.match(page, /λ on the validation split: [^]*Fit: 360 images[^]*McNemar: /);
    for (const file of ["predictions.csv", "grid.png", "example.png"]) assert.ok(existsSync(join(out, file)));
  });

  it("a second probe takes all features from the cache; λ can be given; k-NN on the same features", () => {
    const again = join(folder, "again");
    const fixed = cli("probe", "-m", "tiny", "-s", "scenes", "--lambda", "0.5", "--standardize", "-o", again);
    assert.equal(fixed.status, 0, fixed.stderr);
    assert.match(fixed.stderr, /Features of 840 images came from the cache/);
    const { classifier } = resultsIn(again).manifest;
    assert.deepEqual([classifier.lambda, classifier.search], [0.5, undefined]);
    const knn = cli("probe", "-m", "tiny", "-s", "scenes", "--method", "knn", "-k", "5", "-o", again);
    assert.equal(knn.status, 0, knn.stderr);
    assert.match(knn.stdout, /k-NN: the 5 nearest of 360 images vote/);
    assert.equal(cli("probe", "--lambda", "0", "-o", again).status, 2);
  });

  it("--features pooled: probe, k-NN, eval --probe, classify --probe and teach", async () => {
    const pooled = join(folder, "pooled");
    const flags = ["-m", "tiny", "-s", "scenes", "--features", "pooled", "-o", pooled];
    const run = cli("probe", ...flags, "--lambda", "0.1");
    assert.equal(run.status, 0, run.stderr);
    const width = /Fit: 360 images × (\d+) pooled features/.exec(run.stdout)?.[1];
    const file = join(pooled, "probe.safetensors");
    const { probe, model } = await readProbe(file);
    assert.deepEqual([String(probe.dim), model.features], [width, "pooled"]);
    const { manifest, metrics } = resultsIn(pooled);
    assert.equal(manifest.classifier.features, "pooled");
    assert.ok(metrics.accuracy > 0.5, `accuracy ${metrics.accuracy}`);
    // Zero-shot is that of the embeddings, which the projection makes of the pooled features.
    assert.equal(manifest.comparison.first, resultsIn(out).manifest.comparison.first);

    const evaluated = join(folder, "pooled-evaluated");
    const again = cli("eval", "-m", "tiny", "-s", "scenes", "--probe", file, "-o", evaluated);
    assert.equal(again.status, 0, again.stderr);
    assert.equal(resultsIn(evaluated).metrics.accuracy, metrics.accuracy);
    assert.equal(resultsIn(evaluated).manifest.comparison.first, manifest.comparison.first);
    const test = await scenes("test");
    const names = [...test.keys()];
    const images = names.slice(0, 5).map((name) => test.get(name)?.[0] ?? "");
    const classified = cli("classify", ...images, "-m", "tiny", "--probe", file, "--json");
    assert.equal(classified.status, 0, classified.stderr);
    const found = JSON.parse(classified.stdout) as { predictions: { label: string }[] }[];
    const rows = readFileSync(join(evaluated, "predictions.csv"), "utf8").split("\n");
    for (const [i, { predictions }] of found.entries()) {
      const row = rows.find((line) => line.includes(images[i].split("/").slice(-1)[0])) ?? "";
      assert.ok(row.includes(predictions[0].label), `${row}: ${predictions[0].label}`);
    }

    const knn = cli("probe", ...flags, "--method", "knn");
    assert.equal(knn.status, 0, knn.stderr);
    assert.match(knn.stdout, /by the cosines of pooled features/);
    assert.match(knn.stderr, /Features of 840 images came from the cache/);
    assert.equal(resultsIn(pooled).manifest.classifier.features, "pooled");
    assert.equal(cli("probe", ...flags.slice(0, 4), "--features", "raw").status, 2);

    const train = await scenes("train");
    const taughtFile = join(folder, "pooled.probe");
    const classes = names
      .slice(0, 2)
      .flatMap((name) => ["--class", `${name}=${train.get(name)?.slice(0, 3).join(",")}`]);
    const taught = cli("teach", taughtFile, "-m", "tiny", "--features", "pooled", ...classes);
    assert.equal(taught.status, 0, taught.stderr);
    assert.equal((await readProbe(taughtFile)).model.features, "pooled");
  });

  it("few-shot with ProLIP, and the linear probe on pooled features", () => {
    const few = join(folder, "prolip");
    const flags = ["-m", "tiny", "-s", "scenes", "--shots", "1", "--seeds", "1", "-o", few];
    const methods = ["--methods", "probe,tip-adapter,prolip"];
    const run = cli("probe", ...flags, ...methods);
    assert.equal(run.status, 0, run.stderr);
    for (const name of ["Zero-shot", "Linear probe", "Tip-Adapter", "ProLIP"]) {
      assert.match(run.stdout, new RegExp(`^\\| ${name} \\|`, "m"));
    }
    interface Saved {
      features: string;
      zeroShot: number;
      runs: { method: string; accuracy: number }[];
    }
    const saved = () => JSON.parse(readFileSync(join(few, "few-shot.json"), "utf8")) as Saved;
    const embedded = saved();
    const accuracyOf = ({ runs }: Saved, name: string) =>
      runs.find(({ method }) => method === name)?.accuracy;
    assert.equal(embedded.features, "embedding");
    assert.ok((accuracyOf(embedded, "prolip") ?? 0) >= embedded.zeroShot - 0.05);
    assert.match(readFileSync(join(few, "few-shot.html"), "utf8"), /arXiv:2410\.05270/);
    const pooled = cli("probe", ...flags, "--methods", "probe,tip-adapter", "--features", "pooled");
    assert.equal(pooled.status, 0, pooled.stderr);
    assert.match(pooled.stdout, /linear probe on pooled features/);
    assert.equal(saved().features, "pooled");
    assert.equal(accuracyOf(saved(), "tip-adapter"), accuracyOf(embedded, "tip-adapter"));
    assert.notEqual(accuracyOf(saved(), "probe"), accuracyOf(embedded, "probe"));
  });

  it("eval --probe: the accuracy of the fit, also with the classes in another order", () => {
    const evaluated = join(folder, "evaluated");
    const run = cli("eval", "-m", "tiny", "-s", "scenes", "--probe", probeFile, "-o", evaluated);
    assert.equal(run.status, 0, run.stderr);
    assert.equal(resultsIn(evaluated).metrics.accuracy, resultsIn(out).metrics.accuracy);
    assert.equal(resultsIn(evaluated).manifest.comparison.first, resultsIn(out).manifest.comparison.first);
    assert.match(run.stdout, /Zero-shot: .*\nLinear probe: /);
  });

  it("a probe of another model is refused, by both names; other classes and files too", async () => {
    const stored = await readProbe(probeFile);
    const other = join(folder, "other.safetensors");
    await writeProbe(other, {
      ...stored,
      model: { ...stored.model, name: "ViT-X", fingerprint: "0".repeat(32) },
    });
    const [image] = [...(await scenes("test")).values()][0];
    for (const args of [
      ["eval", "-s", "scenes", "-o", folder],
      ["classify", image],
    ]) {
      const run = cli(...args, "-m", "tiny", "--probe", other);
      assert.equal(run.status, 2, run.stderr);
      assert.match(run.stderr, /was fitted on features of ViT-X, and the model is tiny/);
    }
    const demo = cli("eval", "-m", "tiny", "-s", "rendered-demo", "--probe", probeFile, "-o", folder);
    assert.equal(demo.status, 2);
    assert.match(demo.stderr, /which is none of them/);
    const labels = cli("classify", image, "-m", "tiny", "--probe", probeFile, "--labels", "a,b");
    assert.equal(labels.status, 2);
    assert.match(labels.stderr, /--labels cannot be given with --probe/);
    const models = cli("eval", "--models", "tiny", "--probe", probeFile, "-o", folder);
    assert.match(models.stderr, /--probe belongs to one model/);
  });

  it("eval --probe --classes: the names stand in the prompts of zero-shot, in the order of the probe", () => {
    const { classes } = resultsIn(out).manifest.dataset;
    const evaluate = (...args: string[]) => {
      const place = join(folder, "renamed");
      const run = cli("eval", "-m", "tiny", "-s", "scenes", "--probe", probeFile, "-o", place, ...args);
      assert.equal(run.status, 0, run.stderr);
      return resultsIn(place);
    };
    const same = resultsIn(out).metrics.accuracy;
    const nonsense = evaluate("--classes", classes.map((_, id) => `word ${id}`).join(","));
    assert.equal(nonsense.metrics.accuracy, same);
    assert.ok(nonsense.manifest.comparison.first < 0.5, "zero-shot cannot find the classes by such names");
    const turned = evaluate("--classes", classes.toReversed().join(","));
    assert.equal(turned.manifest.comparison.first, resultsIn(out).manifest.comparison.first);
    const few = cli(
      "eval",
      "-m",
      "tiny",
      "-s",
      "scenes",
      "--probe",
      probeFile,
      "--classes",
      "a,b",
      "-o",
      folder,
    );
    assert.match(few.stderr, /E_ARGUMENT.*--classes has 2 names, and scenes has 24 classes/);
  });

  it("an option that would have no effect is refused", () => {
    const cases: [string[], string][] = [
      [
        ["classify", "x.png", "--probe", probeFile, "--template", "a {}"],
        "--template cannot be given with --probe",
      ],
      [["probe", "-k", "5"], "--neighbours has no meaning without --method knn"],
      [["probe", "--method", "knn", "--lambda", "1"], "--lambda has no meaning with --method knn"],
      [["probe", "--template", "a {}"], "--template is an option of few-shot"],
      [["probe", "--shots", "1", "--lambda", "1"], "--lambda has no meaning in few-shot"],
      [["probe", "--split-file", "x.jsonl", "--seeds", "1"], "--seeds cannot be given with --split-file"],
    ];
    for (const [args, message] of cases) {
      const run = cli(...args, "-m", "tiny");
      assert.equal(run.status, 2, run.stderr);
      assert.ok(run.stderr.includes(`E_ARGUMENT: ${message}`), run.stderr);
    }
  });

  it("teach: an image of two classes is told", async () => {
    const [[image], [other]] = [...(await scenes("train")).values()];
    const run = cli(
      ...["teach", join(folder, "two.probe"), "-m", "tiny"],
      ...["--class", `a=${image}`, "--class", `b=${other},${image}`],
    );
    assert.equal(run.status, 0, run.stderr);
    assert.ok(run.stderr.includes(`${image} (a) and ${image} (b)`), run.stderr);
  });

  it("teach: five images of each class in one command, then classify --probe", async () => {
    const train = await scenes("train");
    const test = await scenes("test");
    const names = [...train.keys()].slice(0, 3);
    const file = join(folder, "scenes.probe");
    const flags = names.flatMap((name) => ["--class", `${name}=${train.get(name)?.slice(0, 5).join(",")}`]);
    const taught = cli("teach", file, "-m", "tiny", ...flags);
    assert.equal(taught.status, 0, taught.stderr);
    assert.match(taught.stdout, /\(5\).*\n.*% of the images are right when they are held out \(5 folds\)/);
    const images = names.flatMap((name) => test.get(name)?.slice(0, 5) ?? []);
    const run = cli("classify", ...images, "-m", "tiny", "--probe", file, "--json");
    assert.equal(run.status, 0, run.stderr);
    const found = JSON.parse(run.stdout) as { predictions: { label: string; probability: number }[] }[];
    const right = found.filter(({ predictions }, i) => predictions[0].label === names[Math.floor(i / 5)]);
    assert.ok(right.length >= 13, `${right.length} of 15 are right`);
    const sums = found.map(({ predictions }) => predictions.reduce((sum, one) => sum + one.probability, 0));
    assert.ok(sums.every((sum) => Math.abs(sum - 1) < 1e-9));
  });

  it("teach: wrong classes are told apart", async () => {
    const [image] = [...(await scenes("train")).values()][0];
    const file = join(folder, "bad.probe");
    const cases: [string[], RegExp][] = [
      [["--class", `a=${image}`], /at least two classes/],
      [["--class", image, "--class", `b=${image}`], /not of the form name=image/],
      [["--class", `a=${image}`, "--class", `a=${image}`], /names "a" twice/],
    ];
    for (const [args, message] of cases) {
      const run = cli("teach", file, "-m", "tiny", ...args);
      assert.equal(run.status, 2, run.stderr);
      assert.match(run.stderr, message);
    }
    assert.equal(cli("teach", file, "-m", "tiny").status, 2);
    const missing = cli("teach", file, "-m", "tiny", "--class", "a=none.jpg", "--class", `b=${image}`);
    assert.match(missing.stderr, /E_IMAGE_READ.*none\.jpg/);
    assert.ok(!existsSync(file));
  });

  it("few-shot: a table of methods and shots, and too many shots are refused by the class", () => {
    const few = join(folder, "few");
    const run = cli("probe", "-m", "tiny", "-s", "scenes", "--shots", "1,4", "--seeds", "1,2", "-o", few);
    assert.equal(run.status, 0, run.stderr);
    assert.match(run.stdout, /\| method \| 1 shot \| 4 shots \|/);
    for (const name of ["Zero-shot", "Linear probe", "Tip-Adapter", "LP\\+\\+"]) {
      assert.match(run.stdout, new RegExp(`^\\| ${name} \\|`, "m"));
    }
    const saved = JSON.parse(readFileSync(join(few, "few-shot.json"), "utf8")) as { runs: unknown[] };
    assert.equal(saved.runs.length, 12);
    assert.match(
      readFileSync(join(few, "few-shot.html"), "utf8"),
      /<svg[^]*images of each class[^]*arXiv:2404\.02285/,
    );
    assert.equal(readFileSync(join(few, "few-shot.csv"), "utf8").trim().split("\n").length, 7);
    const many = cli("probe", "-m", "tiny", "-s", "scenes", "--shots", "11", "-o", few);
    assert.equal(many.status, 2);
    assert.match(many.stderr, /the class ".*" has 10 training images, fewer than 11 shots/);
    const twice = cli("probe", "-m", "tiny", "-s", "scenes", "--shots", "1,1", "-o", few);
    assert.deepEqual([twice.status, twice.stderr.includes("a number stands twice")], [2, true]);
    const unknown = cli("probe", "-m", "tiny", "--shots", "1", "--methods", "coop", "-o", few);
    assert.match(unknown.stderr, /"coop" is no few-shot method/);
  });

  it("few-shot: the images of a .jsonl list, found by the end of their paths", async () => {
    const train = await scenes("train");
    const file = join(folder, "draw.jsonl");
    const lines = [...train.values()]
      .flatMap((paths) => paths.slice(0, 2))
      .map((path) => {
        return JSON.stringify({ path: path.split("/").slice(-2).join("/") });
      });
    writeFileSync(file, `${lines.join("\n")}\n`);
    const few = join(folder, "listed");
    const options = ["-m", "tiny", "-s", "scenes", "--split-file", file, "--methods", "probe", "-o", few];
    const run = cli("probe", ...options);
    assert.equal(run.status, 0, run.stderr);
    assert.match(run.stdout, /\| method \| 2 shots \|/);
    writeFileSync(file, `${lines.slice(2).join("\n")}\n`);
    assert.match(cli("probe", ...options).stderr, /has no image of the class/);
    writeFileSync(file, `${JSON.stringify({ path: "nowhere.png" })}\n`);
    assert.match(
      cli("probe", ...options).stderr,
      /draw\.jsonl:1: nowhere\.png is no image of the training split/,
    );
  });

  it("an image in two splits is a note with its names, and an error with --strict", async () => {
    const [first, second] = [...(await scenes("train")).values()];
    const data = tree("overlap", {
      "train/a/1.png": first[0],
      "train/a/2.png": first[1],
      "train/b/1.png": second[0],
      "train/b/2.png": second[1],
      "test/a/copy.png": first[1],
      "test/b/3.png": second[2],
    });
    const run = cli("probe", "-m", "tiny", "-s", data, "--lambda", "1", "-o", join(folder, "overlap-out"));
    assert.equal(run.status, 0, run.stderr);
    assert.match(run.stderr, /an image is in train and in test: a.2\.png = a.copy\.png/);
    const strict = cli("probe", "-m", "tiny", "-s", data, "--strict", "-o", join(folder, "strict-out"));
    assert.equal(strict.status, 1);
    assert.match(strict.stderr, /E_DATASET_FORMAT.*an image is in train and in test/);
  });

  it("a data set without splits says what is missing", async () => {
    const [first, second] = [...(await scenes("train")).values()];
    const data = tree("plain", { "a/1.png": first[0], "b/1.png": second[0] });
    const run = cli("probe", "-m", "tiny", "-s", data, "-o", join(folder, "plain-out"));
    assert.notEqual(run.status, 0);
    assert.match(run.stderr, /split/);
  });
});
