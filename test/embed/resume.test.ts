import assert from "node:assert/strict";
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { loadDataset } from "../../lib/datasets/index.js";
import { embedImages, embedTexts } from "../../lib/embed/embed.js";
import { imageSource } from "../../lib/embed/sources.js";
import { zeroShot } from "../../lib/eval/index.js";
import { load, type Clip } from "../../lib/index.js";
import { rejectsWith, temporaryFolder, tinyModel } from "../support/index.js";

const COUNT = 12;

/** Grey noise without compression: every file has the same size. */
async function makeImage(file: string, seed: number): Promise<void> {
  const data = Uint8Array.from({ length: 30 * 30 * 3 }, (_, i) => (i * seed * 37 + (i >> 4) * seed) & 255);
  await sharp(data, { raw: { width: 30, height: 30, channels: 3 } })
    .png({ compressionLevel: 0 })
    .toFile(file);
}

/** Runs until `count` items are done, then stops. */
async function stoppedAfter(
  count: number,
  work: (signal: AbortSignal, onProgress: (done: number) => void) => Promise<unknown>,
): Promise<void> {
  const controller = new AbortController();
  await rejectsWith("E_ABORTED", () =>
    work(controller.signal, (done) => done >= count && controller.abort()),
  );
}

/** What can change between two runs: each gets the folder of the images. */
const CHANGES: [string, (folder: string) => Promise<void> | void, least: number][] = [
  ["nothing", () => undefined, 8],
  ["an image added before the others", (folder) => makeImage(join(folder, "a.png"), 99), 8],
  ["an image removed", (folder) => rmSync(join(folder, "m01.png")), 7],
  ["an image replaced by one of the same size and time", replaceUnseen, 7],
  ["an image with another name", (folder) => renameSync(join(folder, "m02.png"), join(folder, "z.png")), 7],
  ["two images exchanged", exchange, 6],
  [
    "an image that is damaged, and one that is added",
    (folder) => (writeFileSync(join(folder, "m00.png"), "no image"), makeImage(join(folder, "m00a.png"), 98)),
    7,
  ],
];

async function replaceUnseen(folder: string): Promise<void> {
  const file = join(folder, "m01.png");
  const { size, atime, mtime } = statSync(file);
  await makeImage(file, 97);
  utimesSync(file, atime, mtime);
  assert.equal(statSync(file).size, size);
}

function exchange(folder: string): void {
  renameSync(join(folder, "m01.png"), join(folder, "x"));
  renameSync(join(folder, "m03.png"), join(folder, "m01.png"));
  renameSync(join(folder, "x"), join(folder, "m03.png"));
}

describe("going on after a stop", () => {
  const work = temporaryFolder();
  const original = join(work, "original");
  let clip: Clip;
  let generic: Clip;
  before(async () => {
    mkdirSync(original);
    for (let i = 0; i < COUNT; i++)
      await makeImage(join(original, `m${String(i).padStart(2, "0")}.png`), i + 1);
    writeFileSync(join(original, "n-bad.png"), "not an image");
    clip = await load(tinyModel, { device: "cpu", threads: 1 });
    generic = await load(tinyModel, { device: "cpu", threads: 1, runner: "generic" });
  });
  after(() => Promise.all([clip.close(), generic.close()]));

  it("embed: the model under another name goes on; the record has the name of the last run, run.json none", async () => {
    const folder = join(work, "renamed");
    mkdirSync(folder);
    const out = join(folder, "a.npy");
    const source = await imageSource(original);
    const options = { input: original, batchSize: 2 };
    await stoppedAfter(4, (signal, onProgress) =>
      embedImages(clip, source, out, { ...options, signal, onProgress, model: "one" }),
    );
    const settings = JSON.parse(readFileSync(join(`${out}.partial`, "run.json"), "utf8")) as {
      model: object;
    };
    assert.deepEqual(
      Object.keys(settings.model),
      ["name", "weights"],
      "the settings of the model stand beside its name",
    );
    const { resumed } = await embedImages(clip, source, out, { ...options, model: "two" });
    assert.ok(resumed >= 4, `${resumed} rows were taken over`);
    const { model } = JSON.parse(readFileSync(`${out}.json`, "utf8")) as {
      model: { requested: string; name: string };
    };
    assert.deepEqual([model.requested, model.name], ["two", "tiny"]);
  });

  for (const [what, change, least] of CHANGES) {
    it(`embed: ${what}: the bytes of a run without a stop, and no row is computed twice`, async () => {
      // TorchScript takes over whole batches alone, and Parquet is another writer: seen by two of the
      // changes.
      const more = ["an image added before the others", "an image removed"].includes(what);
      const runs = [
        [clip, "npy"],
        [clip, "parquet"],
        [generic, "npy"],
      ] as const;
      for (const [model, extension] of more ? runs : runs.slice(0, 1)) {
        const folder = join(work, "in");
        rmSync(folder, { recursive: true, force: true });
        cpSync(original, folder, { recursive: true });
        const [stopped, whole] = ["stopped", "whole"].map((name) => join(work, `${name}.${extension}`));
        const embed = async (out: string, signal?: AbortSignal, onProgress?: (done: number) => void) =>
          embedImages(model, await imageSource(folder), out, {
            input: "in",
            batchSize: 4,
            signal,
            onProgress,
          });
        await stoppedAfter(8, (signal, onProgress) => embed(stopped, signal, onProgress));
        await change(folder);
        const { resumed } = await embed(stopped);
        if (model === clip) assert.ok(resumed >= least && resumed < COUNT, `${resumed} rows were taken over`);
        await embed(whole);
        for (const end of extension === "npy" ? ["", ".json"] : [""])
          assert.ok(
            readFileSync(stopped + end).equals(readFileSync(whole + end)),
            `${model === clip ? "fast" : "generic"} ${extension}${end}`,
          );
        assert.deepEqual(
          readdirSync(work).filter((name) => /partial|tmp|lock/.test(name)),
          [],
        );
      }
    });
  }

  it("embed: progress is reported before the first image is read", async () => {
    const calls: [done: number, total: number | undefined][] = [];
    const source = await imageSource(original);
    const watched: typeof source = {
      ...source,
      async *images(skip) {
        assert.deepEqual(calls, [[0, source.count]]);
        yield* source.images(skip);
      },
    };
    const onProgress = (done: number, total: number | undefined) => calls.push([done, total]);
    await embedImages(clip, watched, join(work, "progress.npy"), { input: "in", batchSize: 4, onProgress });
    assert.deepEqual(calls.at(-1), [source.count, source.count]);
  });

  it("embed: a partial whose bytes were lost (a power cut) is not believed", async () => {
    const out = join(work, "cut.npy");
    const embed = async (to: string, signal?: AbortSignal, onProgress?: (done: number) => void) =>
      embedImages(clip, await imageSource(original), to, { input: "in", batchSize: 4, signal, onProgress });
    await stoppedAfter(8, (signal, onProgress) => embed(out, signal, onProgress));
    const rows = join(`${out}.partial`, "rows.f32");
    const { size } = statSync(rows);
    truncateSync(rows, 3 * clip.info.embedDim * 4);
    truncateSync(rows, size); // zeros in place of rows
    const { resumed } = await embed(out);
    assert.equal(resumed, 3);
    await embed(join(work, "sound.npy"));
    assert.deepEqual(readFileSync(out), readFileSync(join(work, "sound.npy")));
  });

  it("embed: texts go on by their content", async () => {
    const out = join(work, "t.npy");
    const texts = Array.from({ length: 12 }, (_, i) => `a photo of ${i} cats`);
    await stoppedAfter(4, (signal, onProgress) =>
      embedTexts(clip, texts, out, { input: "t", batchSize: 4, signal, onProgress }),
    );
    const changed = ["a new one", ...texts.slice(0, 2), ...texts.slice(3)];
    assert.equal((await embedTexts(clip, changed, out, { input: "t", batchSize: 4 })).resumed, 3);
    await embedTexts(clip, changed, join(work, "u.npy"), { input: "t", batchSize: 4 });
    assert.deepEqual(readFileSync(out), readFileSync(join(work, "u.npy")));
  });

  it("embed: the same output twice at once: one is E_LOCKED, the other is whole", async () => {
    const out = join(work, "both.npy");
    const one = async () =>
      embedImages(clip, await imageSource(original), out, { input: "in", batchSize: 4 });
    const results = await Promise.allSettled([one(), one()]);
    const refused = results.filter((r) => r.status === "rejected");
    assert.equal(refused.length, 1);
    assert.equal((refused[0].reason as { code: string }).code, "E_LOCKED");
  });

  it("eval --resume: changed images, the results of a run without a stop; other settings are refused by name", async () => {
    const folder = join(work, "classes");
    for (const [i, name] of readdirSync(original).entries()) {
      mkdirSync(join(folder, i % 2 ? "odd" : "even"), { recursive: true });
      cpSync(join(original, name), join(folder, i % 2 ? "odd" : "even", name));
    }
    for (const model of [clip, generic]) {
      const journal = join(work, "evaluation.journal");
      rmSync(journal, { force: true });
      const evaluate = async (options: object) =>
        zeroShot(model, await loadDataset(folder), { batchSize: 4, ...options });
      await stoppedAfter(8, (signal, onProgress) => evaluate({ journal, signal, onProgress }));
      const refused = await rejectsWith("E_ARGUMENT", () =>
        evaluate({ journal, resume: true, classNames: ["a", "b"] }),
      );
      assert.match(refused.message, /classNames was .* and is \["a","b"\]/);
      await makeImage(join(folder, "even", "a.png"), 90 + (model === clip ? 0 : 1));
      await makeImage(join(folder, "even", "m02.png"), 92 + (model === clip ? 0 : 1));
      let first: number | undefined;
      const resumed = await evaluate({
        journal,
        resume: true,
        onProgress: (done: number) => (first ??= done || undefined),
      });
      if (model === clip) assert.equal(first, 1, "rows are taken over");
      const whole = await evaluate({});
      assert.deepEqual(resumed.predictions, whole.predictions);
      assert.deepEqual(resumed.skipped, whole.skipped);
    }
  });
});
