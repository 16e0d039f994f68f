import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { load } from "../../lib/index.js";
import {
  families,
  familyImages,
  familyTokens,
  writeFamilyFolder,
  type FamilyCase,
} from "../support/families.js";
import { assertClose, assertCosine } from "../support/compare.js";
import { fixture, root, temporaryFolder } from "../support/index.js";

const TOLERANCE = 1e-5;

describe("architecture families against open_clip and transformers (scripts/goldens/families.py)", () => {
  const folder = temporaryFolder();
  async function compare(c: FamilyCase, at: string): Promise<void> {
    const clip = await load(at, { cacheDir: folder, device: "cpu" });
    artifacts.push(clip.info.path);
    try {
      const image = await clip.encodeImages(familyImages);
      assertClose(image.data, c.image.flat(), TOLERANCE, "images:");
      if (families.tokenizers[c.tokenizer])
        assert.deepEqual([...clip.tokenize(families.texts).data], c.ids.flat());
      const text = await clip.encodeTokens(familyTokens(c));
      assertClose(text.data, c.text.flat(), TOLERANCE, "texts:");
    } finally {
      await clip.close();
    }
  }

  const folderOf = (name: string) => join(folder, name.replace(/\W+/g, "-"));
  const artifacts: string[] = [];

  for (const c of families.cases) {
    it(`${c.name}: tokens identical, embeddings ≤ 1e-5`, async () => {
      await compare(c, writeFamilyFolder(c, folderOf(c.name), true));
    });
  }

  it("the CUDA towers agree with TorchScript for every family that they know: fp32 ≤ 1e-5, fp16 cosine ≥ 0.9999, bf16 ≥ 0.9995", function () {
    if (artifacts.length < families.cases.length) this.skip(); // another test was asked for by name
    const program = join(root, "build/native/test/cuda/cuda_families_test");
    const run = spawnSync(program, [...new Set(artifacts)], { encoding: "utf8" });
    assert.equal(run.status, 0, run.stdout + run.stderr);
    assert.ok((run.stdout.match(/fp16: images' cosine/g)?.length ?? 0) >= 4, run.stdout);
  });

  it("fast text encoders give TorchScript's embeddings wherever padding lies: ≤ 1e-5", async function () {
    this.timeout(600_000); // kernels without vector instructions are slow
    if (artifacts.length < families.cases.length) this.skip();
    for (const [i, c] of families.cases.entries()) {
      const [fast, generic] = [
        await load(artifacts[i], { cacheDir: folder, device: "cpu" }),
        await load(artifacts[i], { cacheDir: folder, device: "cpu", runner: "generic" }),
      ];
      const { padId } = fast.info.config.tokenizer;
      const { contextLength, vocabSize } = fast.info.config.text;
      const row = (...ids: number[]) => Array.from({ length: contextLength }, (_, k) => ids[k] ?? padId);
      const full = Array.from({ length: contextLength }, (_, k) => 3 + ((k * 37) % (vocabSize - 5)));
      const rows = [
        row(5, 9, padId, padId, 7, 8, padId, 2),
        full,
        row(4),
        row(padId, 6, 2),
        [...full.slice(1), padId],
      ];
      const tokens = {
        data: Int32Array.from(rows.flat()),
        rows: rows.length,
        length: contextLength,
        truncated: [],
      };
      const [mine, theirs] = [await fast.encodeTokens(tokens), await generic.encodeTokens(tokens)];
      assertClose(mine.data, theirs.data, TOLERANCE, `${c.name}:`);
      await fast.close();
      await generic.close();
    }
  });

  it("fast bf16 and fp16: cosine at least 0.9995, int8: at least 0.999, of every family that has these towers", async function () {
    this.timeout(600_000); // kernels without vector instructions are slow
    if (artifacts.length < families.cases.length) this.skip();
    for (const c of families.cases) {
      for (const [precision, least] of [
        ["bf16", 0.9995],
        ["fp16", 0.9995],
        ["int8", 0.999],
      ] as const) {
        const clip = await load(artifacts[families.cases.indexOf(c)], {
          cacheDir: folder,
          device: "cpu",
          precision,
        });
        const rows: [boolean, Float32Array, number[][]][] = [
          [clip.info.imageRunner.startsWith("fast"), (await clip.encodeImages(familyImages)).data, c.image],
          [clip.info.textRunner.startsWith("fast"), (await clip.encodeTokens(familyTokens(c))).data, c.text],
        ];
        const { embedDim } = clip.info;
        await clip.close();
        for (const [fast, mine, theirs] of rows) {
          if (fast) assertCosine(mine, theirs.flat(), embedDim, least, `${c.name} ${precision}`);
        }
      }
    }
  });

  const same = families.cases.find((c) => c.name === "transformers CLIP, narrow")!;
  for (const [file, what, target] of [
    ["zip.bin", "a state dict in PyTorch's zip format", "pytorch_model.bin"],
    [
      "legacy.bin",
      "a training checkpoint in PyTorch's old format, its keys below state_dict.module",
      "pytorch_model.bin",
    ],
    ["columns.bin", "matrices stored column by column", "pytorch_model.bin"],
    ["model.onnx", "an ONNX export with nameless MatMul weights", "model.onnx"],
  ]) {
    it(`${what} gives the same embeddings`, async () => {
      const at = writeFamilyFolder(same, folderOf(what), false);
      cpSync(fixture(`models/${file}`), join(at, target));
      await compare(same, at);
    });
  }
});
