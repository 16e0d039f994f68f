import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addon } from "../../lib/addon.js";
import { load, type Preprocessed } from "../../lib/index.js";
import {
  families,
  familyImages,
  familyTokens,
  writeFamilyFolder,
  type FamilyCase,
} from "../support/families.js";
import { assertClose, assertCosine } from "../support/compare.js";
import { fixture, root, temporaryFolder } from "../support/index.js";
import { printedBy, runScript } from "../support/process.js";

const TOLERANCE = 1e-5;

/**
 * The embeddings of preprocessed images in a file, computed in a process of its own with the kernels of one
 * instruction set.
 */
function encodedWith(isa: string, model: string, file: string, pixels: Preprocessed) {
  const { rows, height, width } = pixels;
  const script = `
    import { readFileSync } from "node:fs";
    import { load } from "torchclip";
    const data = new Uint8Array(readFileSync(${JSON.stringify(file)}));
    const out = {};
    for (const precision of ["fp32", "bf16"]) {
      const clip = await load(${JSON.stringify(model)}, { device: "cpu", precision });
      const images = await clip.encodePixels({ data, rows: ${rows}, height: ${height}, width: ${width} });
      out[precision] = Array.from(images.data);
      out.runner = clip.info.imageRunner;
      await clip.close();
    }
    process.stdout.write(JSON.stringify(out));`;
  const run = runScript(script, [], { cwd: root, env: { TORCHCLIP_ISA: isa } });
  const out = JSON.parse(printedBy(run)) as { runner: string; fp32: number[]; bf16: number[] };
  assert.match(out.runner, new RegExp(`^fast bf16 \\(${isa === "none" ? "plain" : isa}`));
  return out;
}

describe("architecture families against open_clip and transformers (scripts/goldens/families.py)", () => {
  const folder = temporaryFolder();
  async function compare(c: FamilyCase, at: string): Promise<void> {
    const clip = await load(at, { cacheDir: folder, device: "cpu" });
    artifacts.push(clip.info.path);
    try {
      for (const runner of [clip.info.imageRunner, clip.info.textRunner]) assert.match(runner, /^fast fp32/);
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
    const all = join(folder, "artifacts");
    mkdirSync(all);
    for (const [i, artifact] of [...new Set(artifacts)].entries())
      copyFileSync(artifact, join(all, `${i}.pt`));
    const run = spawnSync(program, [all], { encoding: "utf8" });
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

  it("ConvNeXt and FastViT with all instruction sets: fp32 ≤ 1e-5, bf16 cosine ≥ 0.9995", async function () {
    this.timeout(600_000); // kernels without vector instructions are slow
    if (artifacts.length < families.cases.length) this.skip();
    const features = addon().systemInfo().cpuFeatures;
    const sets = ["avx2", ...(features.includes("avx512f") ? ["avx512"] : []), "none"];
    for (const [i, c] of families.cases.entries()) {
      if (!/ConvNeXt|FastViT/.test(c.name)) continue;
      const clip = await load(artifacts[i], { cacheDir: folder, device: "cpu" });
      const pixels = await clip.preprocess(familyImages);
      await clip.close();
      const file = join(folder, "pixels.bin");
      writeFileSync(file, pixels.data);
      for (const isa of sets) {
        const { fp32, bf16 } = encodedWith(isa, artifacts[i], file, pixels);
        assertClose(fp32, c.image.flat(), TOLERANCE, `${c.name}, ${isa}:`);
        assertCosine(bf16, c.image.flat(), c.image[0].length, 0.9995, `${c.name}, ${isa}`);
      }
    }
  });

  it("ConvNeXt and FastViT give an image the same bits in any batch, in fp32 and bf16", async function () {
    if (artifacts.length < families.cases.length) this.skip();
    for (const [i, c] of families.cases.entries()) {
      if (!/ConvNeXt|FastViT/.test(c.name)) continue;
      for (const precision of ["fp32", "bf16"] as const) {
        const clip = await load(artifacts[i], { cacheDir: folder, device: "cpu", precision });
        const many = Array.from({ length: 11 }, (_, k) => familyImages[k % familyImages.length]);
        const together = await clip.encodeImages(many, { batchSize: many.length });
        const alone = await clip.encodeImages([familyImages[1]]);
        assert.deepEqual(alone.data, together.data.slice(9 * together.dim, 10 * together.dim), c.name);
        await clip.close();
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
