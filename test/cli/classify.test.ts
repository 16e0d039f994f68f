import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fixture, temporaryFolder } from "../support/index.js";
import { commandLine, MAIN, runNode } from "../support/process.js";

const image = fixture("images/rgb.png");

interface Entry {
  image: string;
  predictions?: { label: string; probability: number; negativeCosine?: number }[];
  error?: { code: string; message: string };
}

describe("torchclip classify", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const cache = join(folder, "cache");
  const cli = commandLine(cache);
  const photos = join(folder, "photos");

  before(() => {
    mkdirSync(join(photos, "below"), { recursive: true });
    for (const name of ["c.png", "a.png", join("below", "b.png"), "d[1].png"])
      copyFileSync(image, join(photos, name));
    writeFileSync(join(photos, "notes.md"), "not an image");
    writeFileSync(join(photos, "raw.heic"), "not decoded");
  });

  const run = (args: string[], input?: string) =>
    runNode([MAIN, "classify", ...args], { env: { TORCHCLIP_CACHE: cache }, input });

  /** The entries of --json, with the exit status and standard error. */
  function classify(args: string[], input?: string) {
    const { status, stdout, stderr } = run([...args, "-m", "tiny", "--json"], input);
    return { status, stderr, entries: stdout ? (JSON.parse(stdout) as Entry[]) : [] };
  }

  const names = (entries: Entry[]) => entries.map((entry) => entry.image);

  it("a folder: its images in order of their paths; what is left out is told", () => {
    const { status, entries, stderr } = classify([photos, "-l", "a,b"]);
    assert.equal(status, 0, stderr);
    const expected = ["a.png", join("below", "b.png"), "c.png", "d[1].png"].map((name) => join(photos, name));
    assert.deepEqual(names(entries), expected);
    assert.match(stderr, /left out 1 \.heic/);
    assert.deepEqual(
      entries.map((entry) => entry.predictions!.length),
      [2, 2, 2, 2],
    );
  });

  it("files, patterns, lists and folders side by side, in the order of the arguments", () => {
    const list = join(folder, "list.txt");
    writeFileSync(list, `${join("photos", "c.png")}\n`);
    const literal = join(photos, "d[1].png");
    const { status, entries, stderr } = classify([
      literal,
      join(photos, "[ac].png"),
      list,
      "-l",
      "a,b",
      "-b",
      "2",
    ]);
    assert.equal(status, 0, stderr);
    assert.deepEqual(names(entries), [
      literal,
      join(photos, "a.png"),
      join(photos, "c.png"),
      join("photos", "c.png"),
    ]);
    const deep = classify([join(photos, "**", "*"), "-l", "a,b"]);
    assert.deepEqual(names(deep.entries).sort(), names(classify([photos, "-l", "a,b"]).entries).sort());
  });

  it("an argument that does not exist is an error that names it, before anything is printed", () => {
    for (const [missing, message] of [
      [join(photos, "none.png"), /E_IMAGE_READ: cannot read \S+none\.png: ENOENT/],
      [
        join(photos, "*.none"),
        /E_IMAGE_READ: cannot read \S+\*\.none: there is no such file, and as a pattern it matches none/,
      ],
      [join(photos, "*.heic"), /E_DATASET_EMPTY: \S+\*\.heic names no images that can be decoded.*1 \.heic/],
    ] as const) {
      const { status, stdout, stderr } = run([image, missing, "-l", "a,b"]);
      assert.deepEqual([status, stdout], [1, ""], missing);
      assert.match(stderr, message);
    }
  });

  it("-: paths on standard input; goes on after a bad image, with its error, exit status 3", () => {
    const bad = join(folder, "bad.png");
    writeFileSync(bad, "this is text");
    const { status, entries, stderr } = classify(
      ["-", "-l", "a,b", "-k", "1"],
      `${bad}\n\n${image}\r\nnone.png\n`,
    );
    assert.equal(status, 3);
    assert.deepEqual(names(entries), [bad, image, "none.png"]);
    assert.deepEqual(
      entries.map((entry) => [entry.error?.code, entry.predictions?.length]),
      [
        ["E_IMAGE_DECODE", undefined],
        [undefined, 1],
        ["E_IMAGE_READ", undefined],
      ],
    );
    assert.match(entries[0].error!.message, /^(?!image \d).*bad\.png/);
    assert.match(stderr, /^E_IMAGE_DECODE: .*bad\.png/m);
    assert.match(stderr, /^E_IMAGE_READ: .*none\.png/m);
    assert.equal(run(["-", "-", "-l", "a"]).status, 2);
    const nothing = classify(["-", "-l", "a,b"], "");
    assert.deepEqual([nothing.status, nothing.entries], [1, []]);
  });

  it("prints each image as it is done; Ctrl-C ends it with what is done as JSON", async () => {
    const args = [MAIN, "classify", "-", "-l", "a,b", "-b", "1", "-m", "tiny", "--json"];
    const child = spawn(process.execPath, args, { env: { ...process.env, TORCHCLIP_CACHE: cache } });
    let printed = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (printed += text));
    child.stdin.write(`${image}\n`.repeat(4));
    await once(child.stdout, "data"); // standard input is still open
    child.kill("SIGINT");
    const [status] = (await once(child, "close")) as [number];
    child.stdin.destroy();
    assert.equal(status, 130);
    assert.ok((JSON.parse(printed) as Entry[]).length >= 1);
  });

  it("text: the name before the labels, unless the image is the only argument", () => {
    assert.match(run([image, "-l", "a,b", "-m", "tiny"]).stdout, /^Top predictions:\n\n +[ab]: \d+\.\d\d%\n/);
    const { stdout } = run([join(photos, "[ac].png"), "-l", "a,b", "-m", "tiny"]);
    assert.deepEqual(stdout.match(/^.*[ac]\.png\nTop predictions:$/gm)?.length, 2);
    const none = run([image, "-l", "a,b", "-m", "tiny", "--threshold", "1"]);
    assert.match(none.stdout, /^No label reaches the threshold\.\n/);
  });

  it("--labels-file: one a line, after those of --labels", () => {
    const file = join(folder, "labels.txt");
    writeFileSync(file, "\uFEFFred circle\r\n\r\n  blue, square \n");
    const labels = (args: string[]) => classify([image, ...args]).entries[0].predictions!.map((p) => p.label);
    assert.deepEqual(labels(["--labels-file", file]).sort(), ["blue, square", "red circle"]);
    assert.deepEqual(labels(["--labels-file", file, "-l", "dog"]).sort(), [
      "blue, square",
      "dog",
      "red circle",
    ]);
    writeFileSync(file, "\n");
    const empty = run([image, "--labels-file", file]);
    assert.equal(empty.status, 2);
    assert.match(empty.stderr, /labels\.txt holds no label/);
    assert.match(run([image, "--labels-file", join(folder, "none")]).stderr, /E_READ: .*none/);
    assert.match(run([image, "-l", "a,a"]).stderr, /E_ARGUMENT: label 1 is the same as label 0/);
    assert.match(run([image, "-l", ","]).stderr, /--labels holds no label/);
    assert.match(run([image]).stderr, /--labels or --labels-file/);
  });

  it("--multi-label with --negative-template, --threshold", () => {
    const args = [image, "-l", "red circle,blue square,dog", "--multi-label"];
    const refused = run([...args, "-m", "tiny"]);
    assert.equal(refused.status, 2);
    assert.match(refused.stderr, /needs negativeTemplates \(--negative-template\)/);
    const { status, entries, stderr } = classify([...args, "--negative-template", "a photo"]);
    assert.equal(status, 0, stderr);
    const all = entries[0].predictions!;
    assert.ok(all.length === 3 && all.every((p) => p.negativeCosine !== undefined));
    const threshold = String((all[0].probability + all[1].probability) / 2);
    const kept = classify([...args, "--negative-template", "a photo", "--threshold", threshold]).entries[0]
      .predictions!;
    assert.deepEqual(kept, all.slice(0, 1));
    for (const wrong of ["2", "-0.1", "x", ""])
      assert.equal(run([image, "-l", "a", `--threshold=${wrong}`]).status, 2);
  });

  it("says that tiny is a toy where no --model was given, in every command with that default", () => {
    const toy = /no --model was given, so this uses tiny, a toy/;
    const told = (...args: string[]) => cli(...args).stderr;
    assert.match(run([image, "-l", "a,b"]).stderr, toy);
    assert.doesNotMatch(run([image, "-l", "a,b", "-m", "tiny"]).stderr, toy);
    assert.match(told("embed", photos, "-o", join(folder, "e.npy")), toy);
    assert.match(told("bench", "--devices", "abacus"), toy);
    assert.match(told("eval", "-s", join(folder, "no-set")), toy);
    assert.doesNotMatch(told("eval", "--models", "tiny", "-s", join(folder, "no-set")), toy);
  });

  it("a folder that links lead back to is read once", () => {
    const looped = join(folder, "looped");
    mkdirSync(looped);
    copyFileSync(image, join(looped, "a.png"));
    symlinkSync(looped, join(looped, "again"), "dir");
    assert.deepEqual(names(classify([looped, "-l", "a,b"]).entries), [join(looped, "a.png")]);
  });
});
