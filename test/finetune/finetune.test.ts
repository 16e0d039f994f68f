import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "../../lib/clip/load.js";
import { Dataset } from "../../lib/datasets/dataset.js";
import { zeroShot } from "../../lib/eval/index.js";
import { checkpointFile } from "../../lib/finetune/checkpoint.js";
import { finetune, type FinetuneOptions } from "../../lib/finetune/finetune.js";
import { largestDifference } from "../support/compare.js";
import { assertMissing, rejectsWith, sha256, temporaryFolder, tinyModel } from "../support/index.js";
import { stripeSet } from "./data.js";

const train = stripeSet("train", 24, 100);
const valid = stripeSet("valid", 12, 300);
const test = stripeSet("test", 30, 500);
const texts = ["a photo of a blap", "a red circle"];

const quick: Omit<FinetuneOptions, "folder"> = {
  method: "image",
  steps: 12,
  batchSize: 6,
  learningRate: 3e-4,
  load: { device: "cpu", threads: 1 },
};

/** Accuracy of a model on the test images. */
async function accuracyOf(model: string): Promise<number> {
  await using clip = await load(model, { device: "cpu" });
  return (await zeroShot(clip, test)).metrics.accuracy;
}

/** Embeddings of texts and of the first test images. */
async function embeddingsOf(model: string, adapters?: string[]) {
  await using clip = await load(model, { device: "cpu", adapters, cacheDir: temporaryFolder() });
  const images = [await test.at(0).read(), await test.at(1).read(), await test.at(2).read()];
  return {
    texts: (await clip.encodeTexts(texts)).data,
    images: (await clip.encodeImages(images)).data,
  };
}

describe("finetune", function () {
  this.timeout(120_000);

  it("the image tower learns classes that zero-shot cannot tell apart; texts stay as they are", async () => {
    const folder = temporaryFolder();
    const options = { ...quick, steps: 40, folder, valid };
    const { saved, history, recipe, trained, taken } = await finetune(tinyModel, train, options);
    const [before, after] = [await accuracyOf(tinyModel), await accuracyOf(saved.artifact)];
    assert.ok(before <= 0.6, `zero-shot is ${before}`);
    assert.ok(after >= 0.9, `fine-tuned is ${after}`);
    assert.equal(history.steps.length, 40);
    assert.ok(history.steps[39].loss < history.steps[0].loss / 2);
    assert.equal(history.validations.at(-1)?.step, 40);
    assert.equal(taken, 40);
    assert.equal(recipe.optimizer, "adam");
    assert.ok(trained.values > 3e6);
    const [start, end] = [await embeddingsOf(tinyModel), await embeddingsOf(saved.artifact)];
    assert.deepEqual(start.texts, end.texts);
    assert.ok(largestDifference(start.images, end.images) > 1e-2);
    assertMissing(checkpointFile(folder));
  });

  it("the same seed gives the same bytes, another seed others", async () => {
    const run = async (seed: number) => {
      const folder = temporaryFolder();
      const { saved } = await finetune(tinyModel, train, { ...quick, steps: 3, seed, folder });
      return sha256(readFileSync(saved.artifact));
    };
    const first = await run(1);
    assert.equal(await run(1), first);
    assert.notEqual(await run(2), first);
  });

  for (const method of ["image", "lora", "flyp"] as const) {
    it(`${method}: a run that was stopped goes on to the same bytes as one without a stop`, async () => {
      const options = {
        ...quick,
        method,
        flip: true,
        cropScale: [0.5, 1] as const,
        warmup: 2,
        accumulate: 2,
        batchSize: 3,
        lora: { dropout: 0.25 },
        valid,
        validateEvery: 4,
        checkpointEvery: 5,
      };
      const whole = await finetune(tinyModel, train, { ...options, folder: temporaryFolder() });
      const folder = temporaryFolder();
      const controller = new AbortController();
      const stopped = finetune(tinyModel, train, {
        ...options,
        folder,
        signal: controller.signal,
        onProgress: ({ step }) => step === 8 && controller.abort(),
      });
      await rejectsWith("E_ABORTED", () => stopped);
      const steps: number[] = [];
      const resumed = await finetune(tinyModel, train, {
        ...options,
        folder,
        resume: true,
        onProgress: ({ step }) => steps.push(step),
      });
      assert.equal(steps[0], 5);
      assert.deepEqual(resumed.history, whole.history);
      const [one, other] = [whole, resumed].map(({ saved }) => sha256(readFileSync(saved.artifact)));
      assert.equal(one, other);
    });
  }

  it("LoRA: the adapter on the start gives the result, and it changes both towers", async () => {
    const folder = temporaryFolder();
    const lora = { rank: 4, dropout: 0, projections: ["q", "k", "v", "out"] as const };
    const { saved } = await finetune(tinyModel, train, { ...quick, method: "lora", lora, folder });
    const start = await embeddingsOf(tinyModel);
    const merged = await embeddingsOf(saved.artifact);
    const adapted = await embeddingsOf(tinyModel, [join(folder, "adapter")]);
    for (const part of ["images", "texts"] as const) {
      assert.ok(largestDifference(merged[part], start[part]) > 1e-4, part);
      assert.ok(largestDifference(merged[part], adapted[part]) <= 1e-6, part);
    }
  });

  it("the files for transformers are imported with the same embeddings", async () => {
    const folder = temporaryFolder();
    const { saved } = await finetune(tinyModel, train, { ...quick, steps: 2, folder });
    const one = await embeddingsOf(saved.artifact);
    const other = await embeddingsOf(join(folder, "transformers"));
    assert.ok(largestDifference(one.images, other.images) <= 1e-6);
  });

  it("WiSE-FT: share 0 is the start, share 1 the end, and the sweep tests both", async () => {
    const folder = temporaryFolder();
    const options = { ...quick, steps: 40, sweep: test };
    const { saved, sweep } = await finetune(tinyModel, train, { ...options, wise: 0, folder });
    const start = await embeddingsOf(tinyModel);
    assert.deepEqual((await embeddingsOf(saved.artifact)).images, start.images);
    assert.deepEqual(
      sweep.map(({ share }) => share),
      [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1],
    );
    assert.ok(Math.abs(sweep[0].accuracy - (await accuracyOf(tinyModel))) < 1e-9);
    assert.ok(sweep[10].accuracy >= 0.9);
  });

  it("last-layers changes the last blocks alone", async () => {
    const folder = temporaryFolder();
    const options = { ...quick, method: "last-layers" as const, layers: 1, steps: 2, folder };
    const { trained } = await finetune(tinyModel, train, options);
    assert.equal(trained.tensors, 12 + 2 + 1); // a block, the final norm, the projection
  });

  it("patience ends a run and takes the best validation", async () => {
    const folder = temporaryFolder();
    const options = { ...quick, learningRate: 0.05, steps: 30, valid, validateEvery: 1, patience: 3, folder };
    const { history, best, taken } = await finetune(tinyModel, train, options);
    assert.equal(history.steps.length, taken + 3);
    assert.equal(taken, best?.step);
    assertMissing(join(folder, "best.safetensors"));
  });

  it("a checkpoint of other settings is refused, and a damaged one", async () => {
    const folder = temporaryFolder();
    const controller = new AbortController();
    const options = { ...quick, folder, checkpointEvery: 1 };
    const onProgress = ({ step }: { step: number }) => step === 2 && controller.abort();
    await rejectsWith("E_ABORTED", () =>
      finetune(tinyModel, train, { ...options, signal: controller.signal, onProgress }),
    );
    const again = { ...options, resume: true };
    const { message } = await rejectsWith("E_ARGUMENT", () =>
      finetune(tinyModel, train, { ...again, learningRate: 1e-5 }),
    );
    assert.match(message, /another learningRate: 0\.0003, now 0\.00001/);
    const file = checkpointFile(folder);
    writeFileSync(file, readFileSync(file).subarray(0, 5000));
    await rejectsWith("E_MODEL_CORRUPT", () => finetune(tinyModel, train, again));
  });

  it("two runs into one folder exclude each other", async () => {
    const folder = temporaryFolder();
    const run = () => finetune(tinyModel, train, { ...quick, steps: 2, folder });
    const ends = await Promise.allSettled([run(), run()]);
    const failures = ends.filter((end) => end.status === "rejected").map(({ reason }) => reason as Error);
    assert.equal(failures.length, 1);
    await rejectsWith("E_LOCKED", () => Promise.reject(failures[0]));
  });

  it("bad options and a class without images are refused", async () => {
    const folder = temporaryFolder();
    const run = (options: Partial<FinetuneOptions>, data = train) =>
      finetune(tinyModel, data, { ...quick, folder, ...options });
    await rejectsWith("E_ARGUMENT", () => run({ steps: 0 }));
    await rejectsWith("E_ARGUMENT", () => run({ warmup: 12 }));
    await rejectsWith("E_ARGUMENT", () => run({ wise: 1.5 }));
    await rejectsWith("E_ARGUMENT", () => run({ method: "last-layers", layers: 5 }));
    await rejectsWith("E_ARGUMENT", () => run({ cropScale: [0.5, 0.1] }));
    await rejectsWith("E_ARGUMENT", () => run({ prompts: { templates: ["a photo"], source: "" } }));
    const { name, split, classes } = train;
    const some = new Dataset({ name, split, classes: [...classes, "void"], samples: [...train] });
    const { message } = await rejectsWith("E_DATASET_FORMAT", () => run({}, some));
    assert.match(message, /"void"/);
  });

  it("an image that cannot be read ends the run with its name", async () => {
    const { name, split, classes } = train;
    const samples = [...train].map((sample, i) =>
      i === 4 ? { ...sample, name: "bad", read: () => Buffer.from("no image") } : sample,
    );
    const folder = temporaryFolder();
    const data = new Dataset({ name, split, classes, samples });
    await rejectsWith("E_IMAGE_DECODE", () => finetune(tinyModel, data, { ...quick, folder }));
  });

  it("a loss that is no number ends the run", async () => {
    const folder = temporaryFolder();
    const options = { ...quick, optimizer: "sgd" as const, learningRate: 1e30, folder };
    const { message } = await rejectsWith("E_ARGUMENT", () => finetune(tinyModel, train, options));
    assert.match(message, /diverged/);
  });
});
