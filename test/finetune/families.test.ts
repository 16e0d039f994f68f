import assert from "node:assert/strict";
import type { NativeTraining } from "../../lib/addon.js";
import { trainedTensors } from "../../lib/finetune/parameters.js";
import { recipeOf, type FinetuneMethod } from "../../lib/finetune/recipes.js";
import { Trainer } from "../../lib/finetune/trainer.js";
import { readArtifact } from "../../lib/models/import/rewrite.js";
import { families } from "../support/families.js";
import { errorOf, temporaryFolder } from "../support/index.js";
import { noise } from "../support/noise.js";
import { familyArtifact } from "./models.js";

const SETTINGS: Omit<NativeTraining, "trained" | "text"> = {
  ...{ device: "cpu", threads: 1, bf16: false, optimizer: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  ...{ momentum: 0, weightDecay: 0, largestNorm: 1, seed: 0 },
};
const ROWS = 3;

describe("every architecture can be fine-tuned", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();

  for (const family of families.cases) {
    it(`${family.name}: the loss of one batch falls, of the image tower alone and of both`, async () => {
      const { path, config } = await readArtifact(await familyArtifact(family, folder));
      const size = config.image.imageSize;
      const pixels = Uint8Array.from({ length: ROWS * size * size * 3 }, (_, i) => noise(77, i) & 255);
      const tokens = Int32Array.from(family.ids.slice(0, ROWS).flat());
      const batch = { pixels, rows: ROWS, classes: ROWS, tokens, length: family.ids[0].length, weight: 1 };
      for (const method of ["image", "flyp"] as const) {
        const trained = trainedTensors(config, method, recipeOf(method, 1));
        const trainer = await Trainer.load(path, { ...SETTINGS, text: true, trained });
        try {
          const { loss } = await trainer.train(batch);
          const norm = await trainer.update(1e-4);
          assert.ok(norm > 0 && Number.isFinite(loss), `${method}: loss ${loss}, gradient ${norm}`);
          for (let step = 0; step < 4; step++) {
            await trainer.train(batch);
            await trainer.update(1e-4);
          }
          const after = await trainer.test(batch);
          assert.ok(after.loss < loss, `${method}: the loss went from ${loss} to ${after.loss}`);
        } finally {
          await trainer.close();
        }
      }
    });
  }

  it("lora and last-layers name a tower without Transformer blocks of CLIP's kind", async () => {
    const family = families.cases.find(({ name }) => name === "ResNet")!;
    const { config } = await readArtifact(await familyArtifact(family, temporaryFolder()));
    for (const method of ["lora", "last-layers"] as FinetuneMethod[]) {
      const { message } = await errorOf(() => trainedTensors(config, method, recipeOf(method, 1)));
      assert.match(message, /the image tower of .* is of the kind "resnet"/);
    }
  });
});
