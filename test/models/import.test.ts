import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { addon } from "../../lib/addon.js";
import { load } from "../../lib/index.js";
import { readSafetensors } from "../../lib/models/formats/safetensors.js";
import { unpickle } from "../../lib/models/formats/unpickler.js";
import { importModel } from "../../lib/models/import/import.js";
import { assertMissing, rejectsWith, temporaryFolder, tinyModel } from "../support/index.js";
import { safetensors, tinySafetensors, tinyTokenizer } from "../support/tiny.js";

const folder = temporaryFolder();

describe("import", () => {
  it("reads a TorchScript .pt as data and safetensors to the same embeddings", async () => {
    const tokenizer = join(folder, "tokenizer.json");
    writeFileSync(tokenizer, await tinyTokenizer());
    const weights = join(folder, "model.safetensors");
    writeFileSync(weights, await tinySafetensors());
    await importModel({ weights, tokenizer }, join(folder, "a.pt"));
    await importModel({ weights: tinyModel, tokenizer }, join(folder, "b.pt"), { activation: "quick_gelu" });
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
    writeFileSync(weights, await tinySafetensors(false));
    const source = { weights, tokenizer: join(folder, "tokenizer.json") };
    const error = await rejectsWith("E_MODEL_UNSUPPORTED", () => importModel(source, join(folder, "c.pt")));
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
          "token_embedding.weight": { dtype: "F32", shape: [0, 2], data_offsets: [0, 0] },
        },
        Buffer.alloc(0),
      ),
    );
    const error = await rejectsWith("E_MODEL_CORRUPT", () =>
      importModel({ weights }, join(folder, "d.pt"), { activation: "gelu" }),
    );
    assert.match(error.message, /positional_embedding is missing/);
  });
});

let caches = 0;
function temporaryCache(): string {
  return join(folder, "..", `${basename(folder)}-cache-${caches++}`);
}

describe("untrusted weight files", () => {
  const entry = (shape: number[], offsets: [number, number]) => ({
    dtype: "F32",
    shape,
    data_offsets: offsets,
  });
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
      await rejectsWith("E_MODEL_CORRUPT", () => readSafetensors(file));
    });
  }

  it("a pickle that names os.system: E_MODEL_UNSAFE with the name", async () => {
    const error = await rejectsWith("E_MODEL_UNSAFE", () =>
      unpickle(Buffer.from("\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.", "latin1"), "evil"),
    );
    assert.match(error.message, /os\.system/);
  });

  it("a zip64 locator that points beyond the file: E_MODEL_CORRUPT, not an uncaught error", async () => {
    const locator = Buffer.alloc(20);
    locator.write("PK\x06\x07", 0, "latin1");
    locator.writeBigUInt64LE(1n << 63n, 8);
    const end = Buffer.alloc(22);
    end.write("PK\x05\x06", 0, "latin1");
    const file = join(folder, "zip64.bin");
    writeFileSync(file, Buffer.concat([Buffer.from("PK\x03\x04"), Buffer.alloc(100), locator, end]));
    const error = await rejectsWith("E_MODEL_CORRUPT", () =>
      importModel({ weights: file }, join(folder, "zip64.pt")),
    );
    assert.match(error.message, /zip64 locator/);
  });

  it("a zip that lies about a record's size: E_MODEL_CORRUPT, and nothing is written", async () => {
    const file = join(folder, "lying.pt");
    const output = join(folder, "lying-out.pt");
    for (const [record, size] of [
      ["data.pkl", 0x7fffff00],
      ["data.pkl", 3],
      ["data/52", 4],
      ["data/52", 0x7fffff00],
    ] as const) {
      const bytes = readFileSync(tinyModel);
      let changed = 0;
      for (let at = bytes.indexOf("PK\x01\x02"); at >= 0; at = bytes.indexOf("PK\x01\x02", at + 4)) {
        const name = bytes.toString("latin1", at + 46, at + 46 + bytes.readUInt16LE(at + 28));
        if (!name.endsWith(`/${record}`)) continue;
        bytes.writeUInt32LE(size, at + 20);
        bytes.writeUInt32LE(size, at + 24);
        changed++;
      }
      assert.equal(changed, 1);
      writeFileSync(file, bytes);
      const source = { weights: file, tokenizer: join(folder, "tokenizer.json") };
      await rejectsWith(
        "E_MODEL_CORRUPT",
        () => importModel(source, output, { activation: "quick_gelu" }),
        `${record} ${size}`,
      );
      assertMissing(output);
      await rejectsWith(
        "E_MODEL_CORRUPT",
        async () => (await load(file, { device: "cpu" })).close(),
        `load: ${record} ${size}`,
      );
    }
  });

  it("ONNX weights in a file outside the model's folder: E_MODEL_UNSAFE; in one that is not there: E_MODEL_CORRUPT", async () => {
    const field = (number: number, wire: number, payload: Buffer) =>
      Buffer.concat([Buffer.from([(number << 3) | wire]), payload]);
    const bytes = (number: number, data: Buffer | string) => {
      const b = Buffer.from(data);
      return field(
        number,
        2,
        Buffer.concat([
          Buffer.from(b.length < 128 ? [b.length] : [(b.length & 127) | 128, b.length >> 7]),
          b,
        ]),
      );
    };
    const entry = (key: string, value: string) => bytes(13, Buffer.concat([bytes(1, key), bytes(2, value)]));
    const model = (location: string) => {
      const tensor = [
        field(1, 0, Buffer.from([2])),
        field(2, 0, Buffer.from([1])),
        bytes(8, "visual.proj"),
        entry("location", location),
        field(14, 0, Buffer.from([1])),
      ];
      return bytes(7, bytes(5, Buffer.concat(tensor)));
    };
    const inside = join(folder, "onnx-model");
    mkdirSync(inside);
    writeFileSync(join(folder, "secret.bin"), Buffer.alloc(64));
    symlinkSync(join(folder, "secret.bin"), join(inside, "link.bin"));
    for (const [location, code] of [
      ["../secret.bin", "E_MODEL_UNSAFE"],
      [join(folder, "secret.bin").slice(1).replace(/^/, "../".repeat(20)), "E_MODEL_UNSAFE"],
      ["link.bin", "E_MODEL_UNSAFE"],
      ["nowhere.bin", "E_MODEL_CORRUPT"],
    ]) {
      const file = join(inside, "model.onnx");
      writeFileSync(file, model(location));
      await rejectsWith(code, () => importModel({ weights: file }, join(folder, "onnx-out.pt")), location);
    }
  });

  it("a pickle with another opcode: E_MODEL_UNSAFE; a cut one: E_MODEL_CORRUPT", async () => {
    await rejectsWith("E_MODEL_UNSAFE", () => unpickle(Buffer.from("\x80\x02i", "latin1"), "x"));
    await rejectsWith("E_MODEL_CORRUPT", () => unpickle(Buffer.from("\x80\x02X\xff\0\0\0a", "latin1"), "x"));
  });

  it("a truncated artifact: E_MODEL_CORRUPT", async () => {
    const file = join(folder, "cut.pt");
    const bytes = readFileSync(tinyModel);
    writeFileSync(file, bytes.subarray(0, bytes.length - 5000));
    await rejectsWith("E_MODEL_CORRUPT", () => load(file));
  });

  it("code in an artifact is never read: one whose code was damaged loads and gives the same, and `verify` refuses it", async () => {
    const changed = Buffer.from(readFileSync(tinyModel));
    const at = changed.indexOf(Buffer.from("code/__torch__"));
    assert.ok(at > 0, "the archive has code");
    changed.fill(0x5a, at + 120, at + 180);
    const file = join(folder, "changed.pt");
    writeFileSync(file, changed);
    for (const runner of ["auto", "generic"] as const) {
      const [mine, whole] = await Promise.all(
        [file, "tiny"].map((model) => load(model, { device: "cpu", runner })),
      );
      assert.deepEqual(
        (await mine.encodeTexts(["a red circle"])).data,
        (await whole.encodeTexts(["a red circle"])).data,
      );
      await Promise.all([mine.close(), whole.close()]);
    }
    await assert.rejects(addon().verifyArtifact(file), { code: /^E_MODEL_/ });
    await addon().verifyArtifact(tinyModel);
  });

  it("a model that is neither name nor path: E_MODEL_NOT_FOUND with the names", async () => {
    const error = await rejectsWith("E_MODEL_NOT_FOUND", () => load("ViT-Z/99"));
    assert.match(error.message, /ViT-B\/32/);
  });

  it("offline and not in the cache: E_OFFLINE", async () => {
    await rejectsWith("E_OFFLINE", () =>
      load("ViT-B/32", { offline: true, cacheDir: join(folder, "empty") }),
    );
  });
});
