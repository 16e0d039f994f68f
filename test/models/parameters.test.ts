import assert from "node:assert/strict";
import { join } from "node:path";
import { importModel } from "../../lib/models/import/import.js";
import { findSource } from "../../lib/models/import/source.js";
import { countParameters } from "../../lib/models/parameters.js";
import { families, writeFamilyFolder } from "../support/families.js";
import { temporaryFolder, tinyModel } from "../support/index.js";

/** Buffers of PyTorch's modules, which `sum(p.numel() for p in model.parameters())` leaves out. */
const BUFFERS = /running_(mean|var)$|num_batches_tracked$|position_ids$/;

describe("parameters of an artifact", () => {
  const folder = temporaryFolder();

  it("tiny has 4,737,665", async () => {
    assert.equal(await countParameters(tinyModel), 4_737_665);
  });

  // CoCa's decoder is left out of the artifact: it takes no part in embeddings.
  for (const [i, c] of families.cases.filter(({ name }) => name !== "CoCa").entries()) {
    it(`${c.name}: as many as PyTorch counts`, async () => {
      const artifact = join(folder, `${i}.pt`);
      await importModel(await findSource(writeFamilyFolder(c, join(folder, String(i)), true)), artifact);
      const sizes = c.shapes
        .filter(([name]) => !BUFFERS.test(name))
        .map(([, shape]) => shape.reduce((a, b) => a * b, 1));
      assert.equal(
        await countParameters(artifact),
        sizes.reduce((a, b) => a + b, 0),
      );
    });
  }
});
