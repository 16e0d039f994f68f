import assert from "node:assert/strict";
import { join } from "node:path";
import { load, similarity, type Classifier, type Clip, type ClassifierOptions } from "../lib/index.js";
import { families, writeFamilyFolder } from "./support/families.js";
import { assertNear, largestDifference } from "./support/compare.js";
import { errorOf, fixture, rejectsWith, temporaryFolder, tinyModel } from "./support/index.js";
import { noiseImage } from "./support/noise.js";

const LABELS = ["red circle", "blue square", "green star", "dog", "great film", "bad film"];
const images = [...Array(7).keys()].map((seed) => noiseImage(seed, 50 + seed, 40, 3));
const missing = "/nowhere/x.jpg";
const sigmoid = (logit: number) => 1 / (1 + Math.exp(-logit));

describe("clip.classifier", () => {
  let clip: Clip;
  let classifier: Classifier;
  before(async () => {
    clip = await load(tinyModel);
    classifier = await clip.classifier(LABELS);
  });
  after(() => clip.close());

  it("gives what clip.classify gives, which is the softmax of the logits", async () => {
    const predictions = await classifier.classify(images[0], { topK: 6 });
    assert.deepEqual(await clip.classify(images[0], LABELS, { topK: 6 }), predictions);
    const prompts = await clip.encodeTexts(LABELS.map((label) => `a photo of a ${label}`));
    const cosines = similarity(await clip.encodeImages([images[0]]), prompts);
    const weights = Array.from(cosines, (cosine) => Math.exp(cosine * clip.info.logitScale));
    const sum = weights.reduce((a, b) => a + b, 0);
    const order = [...LABELS.keys()].sort((a, b) => cosines[b] - cosines[a]);
    assert.deepEqual(
      predictions.map((p) => [p.label, p.index, p.cosine]),
      order.map((index) => [LABELS[index], index, cosines[index]]),
    );
    for (const { index, logit, probability } of predictions) {
      assert.equal(logit, cosines[index] * clip.info.logitScale);
      assertNear(probability, weights[index] / sum, 1e-9);
    }
  });

  it("encodes the labels once", async () => {
    let calls = 0;
    const encodeTexts = clip.encodeTexts.bind(clip);
    clip.encodeTexts = (...args) => {
      calls++;
      return encodeTexts(...args);
    };
    try {
      const made = await clip.classifier(LABELS, { templates: ["a {}", "a photo of a {}"] });
      assert.equal(calls, 1);
      await made.classify(images[0]);
      await made.classifyAll(images);
      assert.equal(calls, 1);
    } finally {
      clip.encodeTexts = encodeTexts;
    }
  });

  it("several templates: the classes of encodeClasses", async () => {
    const templates = ["a {}", "a photo of a {}"];
    const made = await clip.classifier(LABELS, { templates });
    const cosines = similarity(
      await clip.encodeImages([images[1]]),
      await clip.encodeClasses(LABELS, templates),
    );
    for (const { index, cosine } of await made.classify(images[1])) assert.equal(cosine, cosines[index]);
    const single = await classifier.classify(images[1]);
    assert.ok(
      single.every(({ index, cosine }) => cosine !== cosines[index]),
      "one template gives other embeddings",
    );
  });

  it("classifyAll and stream: each image as it is alone, in order, from every kind of list and batch", async () => {
    const alone = await Promise.all(images.map((image) => classifier.classify(image)));
    const asynchronous = async function* () {
      for (const image of images) yield await Promise.resolve(image);
    };
    const streamed = [];
    for await (const result of classifier.stream(asynchronous(), { batchSize: 3 })) streamed.push(result);
    for (const all of [
      streamed,
      await classifier.classifyAll(images),
      await classifier.classifyAll(new Set(images), { batchSize: 2 }),
    ]) {
      assert.deepEqual(
        all.map(({ index, predictions }) => [index, predictions.map((p) => p.label)]),
        alone.map((predictions, index) => [index, predictions.map((p) => p.label)]),
      );
      for (const [i, { predictions }] of all.entries()) {
        const difference = largestDifference(
          predictions.map((p) => p.probability),
          alone[i].map((p) => p.probability),
        );
        assert.ok(difference < 1e-5, `difference: ${difference}`);
      }
    }
    assert.deepEqual(await classifier.classifyAll([]), []);
  });

  it("topK is 5 by default, all labels with a threshold, which leaves out what is below it", async () => {
    const all = await classifier.classify(images[0], { threshold: 0 });
    assert.equal(all.length, LABELS.length);
    assert.deepEqual(await classifier.classify(images[0]), all.slice(0, 5));
    assert.deepEqual(
      await classifier.classify(images[0], { threshold: all[1].probability }),
      all.slice(0, 2),
    );
    assert.deepEqual(
      await classifier.classify(images[0], { threshold: all[1].probability, topK: 1 }),
      all.slice(0, 1),
    );
    assert.deepEqual(await classifier.classify(images[0], { threshold: 1 }), []);
    const [{ predictions }] = await classifier.classifyAll([images[0]], { topK: 2 });
    assert.deepEqual(predictions, all.slice(0, 2));
  });

  it('a bad image rejects with its index and name; with "collect" it alone has an error', async () => {
    const list = [
      images[0],
      images[1],
      missing,
      images[2],
      Buffer.from("no image"),
      fixture("images/rgb.png"),
    ];
    const error = await errorOf(() => classifier.classifyAll(list, { batchSize: 2 }));
    assert.deepEqual([error.code, error.index, error.subject], ["E_IMAGE_READ", 2, missing]);
    const all = await classifier.classifyAll(list, { batchSize: 2, onError: "collect", topK: 1 });
    assert.deepEqual(
      all.map((result) => [result.index, result.error?.code, result.error?.index, result.predictions.length]),
      [
        [0, undefined, undefined, 1],
        [1, undefined, undefined, 1],
        [2, "E_IMAGE_READ", 2, 0],
        [3, undefined, undefined, 1],
        [4, "E_IMAGE_DECODE", 4, 0],
        [5, undefined, undefined, 1],
      ],
    );
    await rejectsWith("E_IMAGE_READ", () => classifier.classify(missing));
  });

  it("stream reads no further than the next batches and ends its source", async () => {
    let read = 0;
    let ended = false;
    const endless = function* () {
      try {
        for (;;) {
          read++;
          yield images[0];
        }
      } finally {
        ended = true;
      }
    };
    for await (const { index } of classifier.stream(endless(), { batchSize: 2 })) if (index === 2) break;
    assert.ok(read <= 8, `${read} images were read for 3`);
    assert.ok(ended);
  });

  it("decode options and limits reach the decoder", async () => {
    await rejectsWith("E_IMAGE_TOO_LARGE", () =>
      classifier.classify(fixture("images/rgb.png"), { maxPixels: 100 }),
    );
    const turned = await classifier.classify(fixture("images/exif6.jpg"), { autoRotate: true });
    assert.notDeepEqual(turned, await classifier.classify(fixture("images/exif6.jpg")));
  });

  it("a signal that fired: E_ABORTED", async () => {
    const signal = AbortSignal.abort();
    const calls = [
      () => clip.classifier(LABELS, { signal }),
      () => classifier.classify(images[0], { signal }),
      () => classifier.classifyAll(images, { signal }),
    ];
    for (const call of calls) await rejectsWith("E_ABORTED", call);
  });

  const make = (labels: unknown, options?: unknown) => () =>
    clip.classifier(labels as string[], options as ClassifierOptions);
  const wrong: [string, () => unknown, string, RegExp][] = [
    ["labels that are no array", make("cat"), "labels", /labels must be an array/],
    ["no labels", make([]), "labels", /no labels were given/],
    ["an empty label", make(["cat", " "]), "labels", /label 1 is empty/],
    ["a label that is no string", make(["cat", 3]), "labels", /label 1 is not a string/],
    [
      "a label that stands twice",
      make(["cat", "dog", "cat"]),
      "labels",
      /label 2 is the same as label 0: "cat"/,
    ],
    [
      "a label twice in clip.classify",
      () => clip.classify(images[0], ["a", "a"]),
      "labels",
      /label 1 is the same/,
    ],
    ["a template without {}", make(["cat"], { templates: "a photo" }), "a photo", /has no \{\}/],
    ["templates of numbers", make(["cat"], { templates: [3] }), "templates", /a text or a list of texts/],
    ["multiLabel of a number", make(["cat"], { multiLabel: 1 }), "multiLabel", /true or false/],
    ["topK 0", () => classifier.classify(images[0], { topK: 0 }), "topK", /at least 1, not 0/],
    [
      "topK 0 in clip.classify",
      () => clip.classify(images[0], ["a"], { topK: 0 }),
      "topK",
      /at least 1, not 0/,
    ],
    ["threshold 2", () => classifier.classify(images[0], { threshold: 2 }), "threshold", /in 0 to 1, not 2/],
    [
      "threshold NaN",
      () => classifier.classifyAll(images, { threshold: NaN }),
      "threshold",
      /in 0 to 1, not NaN/,
    ],
    ["one path for a list", () => classifier.classifyAll("a.jpg"), "images", /not one image/],
    [
      "normalize: false",
      () => classifier.classifyAll(images, { normalize: false } as object),
      "normalize",
      /normalised/,
    ],
    ["batchSize 0", () => classifier.classifyAll(images, { batchSize: 0 }), "batchSize", /1 to 65536/],
  ];
  for (const [what, call, subject, message] of wrong) {
    it(`${what}: E_ARGUMENT`, async () => {
      const error = await errorOf(call);
      assert.deepEqual([error.code, error.subject], ["E_ARGUMENT", subject], String(error.stack));
      assert.match(error.message, message);
    });
  }

  it("the labels cannot change later", async () => {
    const given = ["cat", "dog"];
    const made = await clip.classifier(given);
    given[0] = "bird";
    assert.deepEqual(made.labels, ["cat", "dog"]);
    assert.throws(() => (made.labels as string[]).push("bird"));
  });
});

describe("multiLabel", () => {
  let clip: Clip;
  before(async () => (clip = await load(tinyModel)));
  after(() => clip.close());

  it("of a model with the softmax loss needs negative templates, which nothing else takes", async () => {
    const error = await errorOf(() => clip.classifier(LABELS, { multiLabel: true }));
    assert.deepEqual([error.code, error.subject], ["E_ARGUMENT", "negativeTemplates"]);
    assert.match(
      error.message,
      /multiLabel needs negativeTemplates .* with tiny: a model with the softmax loss/,
    );
    for (const options of [
      { negativeTemplates: "a photo" },
      { multiLabel: true, negativeTemplates: [] },
      { multiLabel: true, negativeTemplates: " " },
    ])
      await rejectsWith("E_ARGUMENT", () => clip.classifier(LABELS, options));
  });

  const negatives: [string, string[], (label: string) => string[]][] = [
    ["one for all labels", ["a photo"], () => ["a photo"]],
    ["one for each label", ["a photo without a {}"], (label) => [`a photo without a ${label}`]],
    ["several", ["a photo", "no {}"], (label) => ["a photo", `no ${label}`]],
  ];
  for (const [what, negativeTemplates, promptsOf] of negatives) {
    it(`negative templates, ${what}: the softmax over label and negative, all labels, best first`, async () => {
      const classifier = await clip.classifier(LABELS, { multiLabel: true, negativeTemplates });
      const predictions = await classifier.classify(images[0]);
      assert.equal(predictions.length, LABELS.length);
      const image = await clip.encodeImages([images[0]]);
      for (const { label, cosine, negativeCosine, probability } of predictions) {
        const against = await clip.encodeClasses(promptsOf(label), ["{}"]);
        const mean = Float64Array.from({ length: against.dim }, (_, i) =>
          promptsOf(label).reduce((sum, _prompt, row) => sum + against.data[row * against.dim + i], 0),
        );
        const norm = Math.hypot(...mean);
        const expected = mean.reduce((sum, value, i) => sum + (value / norm) * image.data[i], 0);
        assertNear(negativeCosine!, expected, 1e-5);
        assertNear(probability, sigmoid(clip.info.logitScale * (cosine - negativeCosine!)), 1e-9);
      }
      assert.ok(predictions.every((p, i) => i === 0 || p.probability <= predictions[i - 1].probability));
    });
  }

  it("judges each label by itself: others change nothing; a threshold leaves out the rest", async () => {
    const options = { multiLabel: true, negativeTemplates: "a photo" };
    const [one] = await (await clip.classifier(["dog"], options)).classify(images[0]);
    const among = await (await clip.classifier(LABELS, options)).classify(images[0]);
    const same = among.find((p) => p.label === "dog")!;
    assertNear(same.probability, one.probability, 1e-4);
    const kept = await clip.classify(images[0], LABELS, { ...options, threshold: among[2].probability });
    assert.deepEqual(kept, among.slice(0, 3));
  });
});

describe("multiLabel of a model with the sigmoid loss", () => {
  const folder = temporaryFolder();
  let clip: Clip;
  before(async () => {
    const family = families.cases.find((c) => c.shapes.some(([name]) => name === "logit_bias"));
    assert.ok(family, "no family of the goldens has a logit_bias");
    const model = writeFamilyFolder(family, join(folder, "sigmoid"), true);
    clip = await load(model, { cacheDir: folder, device: "cpu" });
    assert.equal(clip.info.config.loss, "sigmoid");
  });
  after(() => clip.close());

  it("the sigmoid of each label's own logit, with and without multiLabel; then all labels are given", async () => {
    const options = { templates: "{}" };
    const single = await (await clip.classifier(LABELS, options)).classify(images[0]);
    const multiple = await (
      await clip.classifier(LABELS, { ...options, multiLabel: true })
    ).classify(images[0]);
    assert.deepEqual([single.length, multiple.length], [5, LABELS.length]);
    assert.deepEqual(multiple.slice(0, 5), single);
    for (const { cosine, logit, probability } of multiple) {
      assertNear(logit, cosine * clip.info.logitScale + clip.info.logitBias, 1e-9);
      assertNear(probability / sigmoid(logit), 1, 1e-6);
    }
  });

  it("negative templates are refused", async () => {
    const error = await rejectsWith("E_ARGUMENT", () =>
      clip.classifier(LABELS, { multiLabel: true, negativeTemplates: "a photo" }),
    );
    assert.match(error.message, /the sigmoid loss judges each label by itself/);
  });
});

describe("a classifier of a closed model", () => {
  it("answers E_CLOSED", async () => {
    const clip = await load(tinyModel);
    const classifier = await clip.classifier(["a", "b"]);
    await clip.close();
    const calls = [
      () => classifier.classify(images[0]),
      () => classifier.classifyAll([]),
      () => classifier.stream(images).next(),
      () => clip.classifier(["a", "b"]),
    ];
    for (const call of calls) await rejectsWith("E_CLOSED", call);
  });
});
