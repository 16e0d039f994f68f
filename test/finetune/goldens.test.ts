import assert from "node:assert/strict";
import type { NativeTrainingBatch } from "../../lib/addon.js";
import {
  changedRecipe,
  OPTIMIZERS,
  type FinetuneMethod,
  type RecipeChanges,
} from "../../lib/finetune/recipes.js";
import { nativeLora, trainedTensors, trainsTexts } from "../../lib/finetune/parameters.js";
import { learningRateAt } from "../../lib/finetune/schedule.js";
import { Trainer } from "../../lib/finetune/trainer.js";
import { readArtifact } from "../../lib/models/import/rewrite.js";
import { families } from "../support/families.js";
import { golden, temporaryFolder, tinyModel } from "../support/index.js";
import { noise } from "../support/noise.js";
import { familyArtifact } from "./models.js";

interface Case extends RecipeChanges {
  model: string;
  method: FinetuneMethod;
  losses: number[];
  norms: number[];
  ids: number[][];
  classEmbeddings: number[];
  changes: Record<string, { norm: number; products: number[] }>;
}

interface Goldens {
  torch: string;
  steps: number;
  rows: number;
  classes: number;
  products: number;
  cases: Case[];
}

const { steps, rows, classes, products, cases } = golden("finetune") as Goldens;
/** Bounds of the relative difference of a tensor's change in twenty steps. */
const SAME_CHANGE = { adamw: 1e-3, adam: 1e-3, sgd: 1e-5 } as const;
const SAME_LOSS = 1e-5;

/** The batch of a pass, as scripts/finetune/goldens.py makes it. */
function batchOf(given: Case, pass: number, size: number, weight: number): NativeTrainingBatch {
  const pixels = Uint8Array.from({ length: rows * size * size * 3 }, (_, i) => noise(5000 + pass, i) & 255);
  const labels = Int32Array.from({ length: rows }, (_, i) => noise(6000 + pass, i) % classes);
  const length = given.ids[0].length;
  if (given.method === "flyp") {
    const tokens = Int32Array.from([...labels].flatMap((label) => given.ids[label]));
    return { pixels, rows, classes: rows, tokens, length, weight };
  }
  if (given.method === "lora" && given.lora?.towers !== "image")
    return { pixels, rows, labels, classes, tokens: Int32Array.from(given.ids.flat()), length, weight };
  return { pixels, rows, labels, classes, classEmbeddings: Float32Array.from(given.classEmbeddings), weight };
}

/** The artifact of a case's model. */
async function artifactOf(name: string, folder: string): Promise<string> {
  if (name === "tiny") return tinyModel;
  return familyArtifact(
    families.cases.find((one) => one.name === name)!,
    folder,
  );
}

/** The start of adapters as the script sets it. */
async function startAdapters(trainer: Trainer): Promise<void> {
  const names = [...trainer.shapes.keys()].filter((name) => name.endsWith(".a")).sort();
  for (const [i, name] of names.entries()) {
    const [rank, width] = trainer.shapeOf(name);
    const values = Float32Array.from(
      { length: rank * width },
      (_, k) => (noise(8000 + i, k) / 2 ** 31 - 1) / 8,
    );
    await trainer.write(name, values);
  }
}

/** Products of a change with vectors of random signs. */
function productsOf(change: Float64Array, seed: number): number[] {
  return Array.from({ length: products }, (_, k) => {
    let sum = 0;
    change.forEach((value, i) => (sum += (noise(9000 + products * seed + k, i) >>> 7) & 1 ? -value : value));
    return sum;
  });
}

const valuesOf = async (trainer: Trainer) =>
  new Map(
    await Promise.all(
      [...trainer.shapes.keys()].map(async (name) => [name, await trainer.read(name)] as const),
    ),
  );

describe("fine-tuning gives PyTorch's results", function () {
  this.timeout(120_000);
  let folder: string;
  const artifacts = new Map<string, string>();
  before(async () => {
    folder = temporaryFolder();
    for (const { model } of cases)
      if (!artifacts.has(model)) artifacts.set(model, await artifactOf(model, folder));
  });

  for (const given of cases) {
    const { model, method, optimizer = "adamw", accumulate = 1 } = given;
    const bound = SAME_CHANGE[optimizer];
    it(`${model}, ${method}, ${optimizer}: losses to ${SAME_LOSS}, changes to ${bound}`, async () => {
      const { config, path } = await readArtifact(artifacts.get(model)!);
      const changes = { ...given, accumulate, steps };
      const recipe = changedRecipe(method, rows, {
        ...pickRecipe(changes),
        leastLearningRate: 0,
        warmup: 0,
      });
      const trainer = await Trainer.load(path, {
        device: "cpu",
        threads: 1,
        bf16: false,
        text: trainsTexts(method, recipe),
        trained: trainedTensors(config, method, recipe),
        optimizer: OPTIMIZERS.indexOf(recipe.optimizer) as 0 | 1 | 2,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        momentum: recipe.momentum,
        weightDecay: given.weightDecay ?? 0,
        largestNorm: recipe.largestNorm,
        seed: 0,
        ...(method === "lora" ? { lora: nativeLora(recipe.lora) } : {}),
      });
      try {
        if (method === "lora") await startAdapters(trainer);
        const before = await valuesOf(trainer);
        for (let step = 0; step < steps; step++) {
          let loss = 0;
          for (let i = 0; i < accumulate; i++) {
            const batch = batchOf(given, step * accumulate + i, config.image.imageSize, 1 / accumulate);
            loss += (await trainer.train(batch)).loss / accumulate;
          }
          const norm = await trainer.update(learningRateAt(step, recipe));
          assertRelative(loss, given.losses[step], SAME_LOSS, `the loss of step ${step + 1}`);
          assertRelative(norm, given.norms[step], 1e-3, `the norm of step ${step + 1}`);
        }
        await assertChanges(given, before, trainer, bound);
      } finally {
        await trainer.close();
      }
    });
  }
});

/** The fields of a case that are the recipe's. */
function pickRecipe({
  optimizer,
  learningRate,
  weightDecay,
  momentum,
  ...rest
}: RecipeChanges): RecipeChanges {
  const { accumulate, largestNorm, layers, lora, steps: all } = rest;
  return {
    optimizer,
    learningRate,
    weightDecay,
    momentum,
    accumulate,
    largestNorm,
    layers,
    lora,
    steps: all,
  };
}

function assertRelative(found: number, expected: number, bound: number, what: string): void {
  const difference = Math.abs(found - expected) / Math.abs(expected);
  assert.ok(difference <= bound, `${what} is ${found}, PyTorch's ${expected}: ${difference}`);
}

async function assertChanges(
  { changes, optimizer }: Case,
  before: Map<string, Float32Array>,
  trainer: Trainer,
  bound: number,
): Promise<void> {
  const names = [...before.keys()].sort();
  assert.deepEqual(names, Object.keys(changes).sort());
  for (const [seed, name] of names.entries()) {
    const start = before.get(name)!;
    const change = Float64Array.from(await trainer.read(name), (value, i) => Math.fround(value - start[i]));
    if (optimizer !== "sgd" && name.endsWith("in_proj_bias"))
      change.fill(0, change.length / 3, (2 * change.length) / 3);
    const expected = changes[name];
    const found = productsOf(change, seed);
    const squares = found.reduce((sum, value, k) => sum + (value - expected.products[k]) ** 2, 0);
    const difference = Math.sqrt(squares / products) / expected.norm;
    assert.ok(
      difference <= bound,
      `${name} changed by another vector: ${difference} of its norm ${expected.norm}`,
    );
  }
}
