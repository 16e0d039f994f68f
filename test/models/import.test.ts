import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { addon } from "../../lib/addon.js";
import { load } from "../../lib/index.js";
import { readSafetensors } from "../../lib/models/formats/safetensors.js";
import { readTorchArchive } from "../../lib/models/formats/torch-zip.js";
import { unpickle } from "../../lib/models/formats/unpickler.js";
import { importModel } from "../../lib/models/import.js";
import { errorOf, temporaryFolder, tinyModel } from "../support/index.js";

const folder = temporaryFolder();

function safetensors(header: object, data: Uint8Array): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

/** The tensors of the tiny artifact as one .safetensors file in OpenAI's layout. */
async function tinyAsSafetensors(file: string): Promise<void> {
  const weights = await readTorchArchive(tinyModel);
  const bytes = readFileSync(tinyModel);
  const header: Record<string, unknown> = { __metadata__: { config: JSON.stringify({ activation: "quick_gelu", vision_heads: 4, text_heads: 2 }) } };
  const parts: Buffer[] = [];
  let at = 0;
  for (const [name, t] of weights.tensors) {
    header[name] = { dtype: t.dtype, shape: t.shape, data_offsets: [at, at + t.bytes] };
    parts.push(bytes.subarray(t.offset, t.offset + t.bytes));
    at += t.bytes;
  }
  writeFileSync(file, safetensors(header, Buffer.concat(parts)));
}

async function tokenizerOf(model: string): Promise<string> {
  const engine = new (addon().Engine)();
  const { extra } = await engine.load(model, "cpu", "fp32", 0);
  await engine.close();
  return extra["tokenizer.json"];
}

describe("import", () => {
  it("reads a TorchScript .pt as data and safetensors to the same embeddings", async () => {
    const tokenizer = join(folder, "tokenizer.json");
    writeFileSync(tokenizer, await tokenizerOf(tinyModel));
    const weights = join(folder, "model.safetensors");
    await tinyAsSafetensors(weights);
    await importModel({ weights, tokenizer }, join(folder, "a.pt"));
    await importModel({ weights: tinyModel, tokenizer }, join(folder, "b.pt"));
    const texts = ["a red circle", "superb film"];
    const results = [];
    for (const model of [tinyModel, join(folder, "a.pt"), join(folder, "b.pt")]) {
      const clip = await load(model);
      results.push((await clip.encodeTexts(texts)).data);
      await clip.close();
    }
    assert.deepEqual(results[1], results[0]);
    assert.deepEqual(results[2], results[0]);
  });

  it("a folder is imported once, and nothing is written beside the user's files", async () => {
    const before = readdirSync(folder);
    const cacheDir = temporaryCache();
    const first = await load(folder, { cacheDir });
    const second = await load(folder, { cacheDir });
    await Promise.all([first.close(), second.close()]);
    assert.equal(first.info.path, second.info.path);
    assert.equal(basename(dirname(first.info.path)), "imports");
    assert.deepEqual(readdirSync(folder).sort(), before.sort());
  });

  it("an unknown activation is asked for, never guessed", async () => {
    const weights = join(folder, "bare.safetensors");
    const { tensors } = await readSafetensors(join(folder, "model.safetensors"));
    const bytes = readFileSync(join(folder, "model.safetensors"));
    const header: Record<string, unknown> = {};
    const base = Math.min(...[...tensors.values()].map((t) => t.offset));
    for (const [name, t] of tensors) header[name] = { dtype: t.dtype, shape: t.shape, data_offsets: [t.offset - base, t.offset - base + t.bytes] };
    writeFileSync(weights, safetensors(header, bytes.subarray(base)));
    const source = { weights, tokenizer: join(folder, "tokenizer.json") };
    const error = await errorOf(() => importModel(source, join(folder, "c.pt")));
    assert.equal(error.code, "E_MODEL_UNSUPPORTED");
    assert.match(error.message, /QuickGELU or GELU/);
    assert.ok(!readdirSync(folder).some((f) => f.startsWith("c.pt")), "nothing half-written stays");
  });

  it("a missing tensor is named", async () => {
    const weights = join(folder, "short.safetensors");
    writeFileSync(
      weights,
      safetensors(
        {
          "visual.conv1.weight": { dtype: "F32", shape: [0, 3, 2, 2], data_offsets: [0, 0] },
          "visual.class_embedding": { dtype: "F32", shape: [0], data_offsets: [0, 0] },
        },
        Buffer.alloc(0),
      ),
    );
    const error = await errorOf(() => importModel({ weights }, join(folder, "d.pt"), { activation: "gelu" }));
    assert.equal(error.code, "E_MODEL_CORRUPT");
    assert.match(error.message, /positional_embedding is missing/);
  });
});

let caches = 0;
function temporaryCache(): string {
  return join(folder, "..", `${basename(folder)}-cache-${caches++}`);
}

describe("untrusted weight files", () => {
  const entry = (shape: number[], offsets: [number, number]) => ({ dtype: "F32", shape, data_offsets: offsets });
  const cases: [string, Buffer][] = [
    ["a header longer than the file", Buffer.from([255, 255, 255, 0, 0, 0, 0, 0, 123])],
    ["a header that is no JSON", Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 0, 0, 0]), Buffer.from("abc")])],
    ["ranges that overlap", safetensors({ a: entry([2], [0, 8]), b: entry([2], [4, 12]) }, Buffer.alloc(12))],
    ["a range beyond the file", safetensors({ a: entry([4], [0, 16]) }, Buffer.alloc(8))],
    ["a shape that does not fit", safetensors({ a: entry([3], [0, 8]) }, Buffer.alloc(8))],
    ["too few bytes for anything", Buffer.from([1, 2])],
  ];
  for (const [what, bytes] of cases) {
    it(`safetensors with ${what}: E_MODEL_CORRUPT`, async () => {
      const file = join(folder, "bad.safetensors");
      writeFileSync(file, bytes);
      assert.equal((await errorOf(() => readSafetensors(file))).code, "E_MODEL_CORRUPT");
    });
  }

  it("a pickle that names os.system: E_MODEL_UNSAFE with the name", async () => {
    const error = await errorOf(() => unpickle(Buffer.from("\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.", "latin1"), "evil"));
    assert.equal(error.code, "E_MODEL_UNSAFE");
    assert.match(error.message, /os\.system/);
  });

  it("a pickle with another opcode: E_MODEL_UNSAFE; a cut one: E_MODEL_CORRUPT", async () => {
    assert.equal((await errorOf(() => unpickle(Buffer.from("\x80\x02i", "latin1"), "x"))).code, "E_MODEL_UNSAFE");
    assert.equal((await errorOf(() => unpickle(Buffer.from("\x80\x02X\xff\0\0\0a", "latin1"), "x"))).code, "E_MODEL_CORRUPT");
  });

  it("a truncated artifact: E_MODEL_CORRUPT", async () => {
    const file = join(folder, "cut.pt");
    const bytes = readFileSync(tinyModel);
    writeFileSync(file, bytes.subarray(0, bytes.length - 5000));
    assert.equal((await errorOf(() => load(file))).code, "E_MODEL_CORRUPT");
  });

  it("an artifact whose code was damaged never loads: E_MODEL_CORRUPT", async () => {
    const changed = Buffer.from(readFileSync(tinyModel));
    const at = changed.indexOf(Buffer.from("code/__torch__"));
    assert.ok(at > 0, "the archive has code");
    changed.fill(0x5a, at + 120, at + 180);
    const file = join(folder, "changed.pt");
    writeFileSync(file, changed);
    assert.equal((await errorOf(() => load(file))).code, "E_MODEL_CORRUPT");
  });

  it("an artifact that calls another operator: E_MODEL_UNSAFE, before any of it runs", async () => {
    const file = join(folder, "unsafe.pt");
    await addon().writeArtifact(
      {
        modules: [{ path: "", source: '\ndef encode_image(self, x: Tensor) -> Tensor:\n    torch.save([x], "/tmp/torchclip-owned")\n    return x\n' }],
        tensors: [],
        attributes: { image_size: 1 },
        extraFiles: { "torchclip.json": "{}", "tokenizer.json": "{}" },
      },
      file,
    );
    const error = await errorOf(() => load(file));
    assert.equal(error.code, "E_MODEL_UNSAFE");
    assert.match(error.message, /save/);
  });

  it("a model that is neither name nor path: E_MODEL_NOT_FOUND with the names", async () => {
    const error = await errorOf(() => load("ViT-Z/99"));
    assert.equal(error.code, "E_MODEL_NOT_FOUND");
    assert.match(error.message, /ViT-B\/32/);
  });

  it("offline and not in the cache: E_OFFLINE", async () => {
    const error = await errorOf(() => load("ViT-B/32", { offline: true, cacheDir: join(folder, "empty") }));
    assert.equal(error.code, "E_OFFLINE");
  });
});
