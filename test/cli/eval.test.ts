import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Origin } from "../../lib/datasets/index.js";
import { CLIP_PROMPTS } from "../../lib/datasets/clip-sets/prompts.js";
import { fixture, temporaryFolder } from "../support/index.js";
import { commandLine, commandLineBeside } from "../support/process.js";

const folder = temporaryFolder();
const cli = commandLine(join(folder, "cache"));

interface Manifest {
  model: { weights: { sha256: string; origin: Origin } };
  prompts: { classNames: string[]; templates: string[] };
  dataset: { name: string; source: Origin; notes: string[]; classes: string[] };
  counts: { evaluated: number };
}

function manifestIn(out: string): Manifest {
  return (JSON.parse(readFileSync(join(out, "results.json"), "utf8")) as { manifest: Manifest }).manifest;
}

/** A folder with these files; images where the name says so. */
function tree(name: string, ...paths: string[]): string {
  for (const path of paths) {
    const file = join(folder, name, path);
    mkdirSync(join(file, ".."), { recursive: true });
    if (path.endsWith(".png")) copyFileSync(fixture("images/rgb.png"), file);
    else writeFileSync(file, "");
  }
  return join(folder, name);
}

describe("torchclip eval: notes, manifest and options of data sets", function () {
  this.timeout(120_000);

  it("what is left out of a data set is a note, and stands in the manifest and in the report", () => {
    const data = tree(
      "mixed",
      "test/cat/1.png",
      "test/cat/2.heic",
      "test/cat/3.heic",
      "test/dog/1.png",
      "test/dog/.hidden",
      "annotations/list.xml",
    );
    const out = join(folder, "mixed-out");
    const { status, stderr, stdout } = cli("eval", "-m", "tiny", "-s", data, "-o", out);
    assert.equal(status, 0, stderr);
    const expected = [
      /left out the folders annotations, which are no splits/,
      /left out 2 \.heic, which cannot be decoded/,
      /hidden files and folders: 1 \(\.hidden\)/,
    ];
    for (const part of expected) {
      assert.match(stderr, new RegExp(`^Note: .*${part.source}`, "m"));
      assert.match(manifestIn(out).dataset.notes.join("\n"), part);
      assert.match(readFileSync(join(out, "report.html"), "utf8"), part);
      assert.doesNotMatch(stdout, part);
    }
    assert.deepEqual(manifestIn(out).dataset.source, { kind: "path", location: data, hashKnown: false });
    const show = cli("datasets", "show", data);
    assert.match(show.stderr, /^Note: .*left out 2 \.heic/m);
    assert.doesNotMatch(show.stdout, /left out/);
    const clean = cli("datasets", "show", tree("clean", "cat/1.png", "dog/1.png"));
    assert.deepEqual([clean.status, clean.stderr], [0, ""]);
  });

  it("the manifest says where model and data set came from: a folder given as --root has no known hash", () => {
    const data = tree("cifar", "cifar-10-batches-bin/x");
    writeFileSync(
      join(data, "cifar-10-batches-bin", "batches.meta.txt"),
      `${CLIP_PROMPTS.cifar10.classes.join("\n")}\n`,
    );
    writeFileSync(join(data, "cifar-10-batches-bin", "test_batch.bin"), Buffer.alloc(2 * 3073, 1));
    const out = join(folder, "cifar-out");
    const { status, stderr } = cli("eval", "-m", "tiny", "-s", "cifar10", "--root", data, "-o", out);
    assert.equal(status, 0, stderr);
    const { dataset, model } = manifestIn(out);
    assert.deepEqual(dataset.source, { kind: "root", location: data, hashKnown: false });
    assert.deepEqual(model.weights.origin, { kind: "package", location: "models/tiny.pt", hashKnown: false });
    assert.match(model.weights.sha256, /^[0-9a-f]{64}$/);
  });

  it("--mirror is the only address of a data set, and a failure says what else may be done", async () => {
    const requests: string[] = [];
    const server = createServer((request, response) => {
      requests.push(request.url ?? "");
      response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const where = ["--mirror", url, "--cache-dir", join(folder, "empty"), "-o", join(folder, "none")];
    const beside = commandLineBeside(join(folder, "cache"));
    const failed = await beside("eval", "-m", "tiny", "-s", "rendered-sst2", ...where);
    server.close();
    assert.equal(failed.status, 1);
    assert.deepEqual(requests, ["/clip/data/rendered-sst2.tgz"]);
    assert.match(
      failed.stderr,
      /E_DOWNLOAD[^]*--mirror-fallback[^]*also on the hub: `--dataset "https:[^]*--root/,
    );
  });

  it("--limit: the first images of each class; a note where classes are left without one", () => {
    const data = tree("three", "a/1.png", "a/2.png", "b/1.png", "b/2.png", "c/1.png");
    const out = join(folder, "three-out");
    const few = cli("eval", "-m", "tiny", "-s", data, "--limit", "2", "-o", out);
    assert.equal(few.status, 0, few.stderr);
    assert.match(
      few.stderr,
      /^Note: --limit 2 leaves 1 of 3 classes without an image; they stay among the prompts\.$/m,
    );
    assert.equal(manifestIn(out).counts.evaluated, 2);
    assert.deepEqual(manifestIn(out).prompts.classNames, ["a", "b", "c"]);
    assert.deepEqual(
      readFileSync(join(out, "predictions.csv"), "utf8")
        .trim()
        .split("\n")
        .slice(1)
        .map((line) => line.split(",")[1]),
      [join("a", "1.png"), join("b", "1.png")],
    );
    const enough = cli("eval", "-m", "tiny", "-s", data, "--limit", "3", "-o", out);
    assert.doesNotMatch(enough.stderr, /--limit/);
    assert.equal(cli("eval", "-s", data, "--limit", "0", "-o", out).status, 2);
  });

  it("--classes: the set's own names in another order, or other names by their places; from a file too", () => {
    const data = tree("two", "cat/1.png", "dog/1.png");
    const out = join(folder, "two-out");
    const run = (classes: string) => cli("eval", "-m", "tiny", "-s", data, "--classes", classes, "-o", out);
    const ordered = run("dog,cat");
    assert.equal(ordered.status, 0, ordered.stderr);
    assert.deepEqual(
      [manifestIn(out).dataset.classes, manifestIn(out).prompts.classNames],
      [
        ["dog", "cat"],
        ["dog", "cat"],
      ],
    );
    const names = join(folder, "names.txt");
    writeFileSync(names, "a small cat\na big dog\n");
    assert.equal(run(names).status, 0);
    assert.deepEqual(manifestIn(out).dataset.classes, ["cat", "dog"]);
    assert.deepEqual(manifestIn(out).prompts.classNames, ["a small cat", "a big dog"]);
    const three = run("x,y,z");
    assert.equal(three.status, 2);
    assert.match(three.stderr, /E_ARGUMENT: 3 class names for the 2 classes/);
  });

  it('--keep-underscores: "_" of class names stays in the prompts; without it, it is a space', () => {
    const data = tree("underscores", "polar_bear/1.png", "sea_lion/1.png");
    const out = join(folder, "underscores-out");
    assert.equal(cli("eval", "-m", "tiny", "-s", data, "-o", out).status, 0);
    assert.deepEqual(manifestIn(out).prompts.classNames, ["polar bear", "sea lion"]);
    assert.equal(cli("eval", "-m", "tiny", "-s", data, "--keep-underscores", "-o", out).status, 0);
    assert.deepEqual(manifestIn(out).prompts.classNames, ["polar_bear", "sea_lion"]);
    assert.deepEqual(manifestIn(out).dataset.classes, ["polar_bear", "sea_lion"]);
  });
});
