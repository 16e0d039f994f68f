import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { addon } from "../../lib/addon.js";
import { golden } from "../support/index.js";

interface SourceCase {
  config: Record<string, unknown> & { kind: string };
  embedDim: number;
  modules: number;
  /** SHA-256 of path, newline, source of each module, joined by newlines. */
  sources: string;
  tensors: number;
  /** SHA-256 of "name axis,axis" of each tensor, sorted, joined by newlines. */
  shapes: string;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const TEXT_KINDS = ["transformer", "roberta"];

/** torchclip.json with the tower of a case beside a small one of the other half. */
function settingsOf({ config, embedDim }: SourceCase): string {
  const isText = TEXT_KINDS.includes(config.kind);
  const blocks = {
    width: 64,
    layers: 1,
    heads: 1,
    mlpWidth: 64,
    activation: "gelu",
    eps: 1e-5,
    layerScale: false,
  };
  const image = {
    ...{
      kind: "vit",
      ...blocks,
      patchSize: 8,
      imageSize: 16,
      patchBias: false,
      classToken: true,
      preNorm: true,
      pool: "token",
    },
    ...{ normAfterPool: false, poolHeads: 1, poolMlpWidth: 0, projection: true, projectionBias: false },
  };
  const text = {
    ...{
      kind: "transformer",
      ...blocks,
      contextLength: 8,
      vocabSize: 16,
      causal: true,
      pool: "argmax",
      endId: 15,
    },
    ...{ appendedToken: false, padId: 0, projection: true, projectionBias: false },
  };
  return JSON.stringify({
    formatVersion: 2,
    embedDim,
    loss: "softmax",
    image: isText ? image : config,
    text: isText ? config : text,
    preprocessing: { resize: "shortest", interpolation: "bicubic", mean: [0, 0, 0], std: [1, 1, 1], fill: 0 },
    tokenizer: { kind: "clip", clean: "openai", padId: 0, endId: 1 },
  });
}

describe("layouts and TorchScript of the towers (native/core/model/config)", () => {
  const cases = golden("sources") as SourceCase[];

  it("83 towers of 7 kinds: the generated text and the shapes are those of the TypeScript generator before it, byte for byte", () => {
    assert.equal(cases.length, 83);
    assert.equal(new Set(cases.map((c) => c.config.kind)).size, 7);
    for (const c of cases) {
      const prefix = TEXT_KINDS.includes(c.config.kind) ? "text" : "visual";
      const layout = addon().modelLayout(settingsOf(c));
      const modules = layout.modules.filter((m) => m.path === prefix || m.path.startsWith(`${prefix}.`));
      const shapes = layout.shapes.filter(([name]) => name.startsWith(`${prefix}.`));
      assert.equal(modules.length, c.modules, JSON.stringify(c.config));
      assert.equal(
        sha256(modules.map((m) => `${m.path}\n${m.source}`).join("\n")),
        c.sources,
        JSON.stringify(c.config),
      );
      const text = shapes
        .map(([name, shape]) => `${name} ${shape.join(",")}`)
        .sort()
        .join("\n");
      assert.equal(shapes.length, c.tensors, JSON.stringify(c.config));
      assert.equal(sha256(text), c.shapes, JSON.stringify(c.config));
    }
  });

  it("every field of every kind: missing, null, of another type, NaN-like, negative and huge values are refused or harmless", () => {
    const odd = [
      undefined,
      null,
      "x",
      -1,
      0.5,
      1e300,
      true,
      [],
      {},
      [[]],
      Array.from({ length: 5000 }, () => 1),
    ];
    const kinds = new Map(cases.map((c) => [c.config.kind, c]));
    let refused = 0;
    for (const c of kinds.values()) {
      for (const field of Object.keys(c.config)) {
        for (const value of odd) {
          const config = { ...c.config, [field]: value };
          try {
            addon().modelLayout(settingsOf({ ...c, config }));
          } catch (error) {
            assert.equal((error as { code?: string }).code, "E_MODEL_CORRUPT", `${field}: ${String(error)}`);
            assert.match((error as Error).message, /^torchclip\.json: /);
            refused++;
          }
        }
      }
    }
    assert.ok(refused > 700, `${refused} refused`);
  });

  it("a tower without a projection has the embedding's width, and no bias of one", () => {
    for (const c of cases.filter(({ config }) => config.projection === false)) {
      assert.throws(
        () => addon().modelLayout(settingsOf({ ...c, embedDim: c.embedDim / 2 })),
        /has no projection and the width/,
      );
      const config = { ...c.config, projectionBias: true };
      if ("projectionBias" in c.config)
        assert.throws(
          () => addon().modelLayout(settingsOf({ ...c, config })),
          /projectionBias needs a projection/,
        );
    }
  });

  it("a field that this version does not know is refused by its name", () => {
    const [c] = cases;
    const error = (() => {
      try {
        addon().modelLayout(settingsOf({ ...c, config: { ...c.config, newField: 1 } }));
      } catch (e) {
        return e as Error;
      }
    })();
    assert.match(error?.message ?? "", /image\.newField is unknown/);
  });
});
