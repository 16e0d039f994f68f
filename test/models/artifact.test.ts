import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addon, type ArtifactSpec, type TensorPart } from "../../lib/addon.js";
import { readTorchArchive, TorchArchive } from "../../lib/models/formats/torch-zip.js";
import type { StoredTensor, WeightFile } from "../../lib/models/formats/types.js";
import { importModel } from "../../lib/models/import/import.js";
import { findSource } from "../../lib/models/import/source.js";
import { readArtifactConfig } from "../../lib/models/config.js";
import { families, writeFamilyFolder } from "../support/families.js";
import { readZip, writeZip } from "../../scripts/attack/zip.js";
import { assertMissing, rejectsWith, sha256, temporaryFolder, tinyModel } from "../support/index.js";
import { tinyTokenizer } from "../support/tiny.js";

function tensorOf(weights: WeightFile, name: string): StoredTensor {
  const tensor = weights.tensors.get(name);
  assert.ok(tensor, name);
  return tensor;
}

/** The bytes of a tensor of an artifact. */
function valuesOf(file: string, weights: WeightFile, name: string): Buffer {
  const { offset, bytes } = tensorOf(weights, name);
  return readFileSync(file).subarray(offset, offset + bytes);
}

/** What the artifact `tiny` is made of, each tensor from its place in that file. */
async function tinySpec(): Promise<ArtifactSpec> {
  const weights = await readTorchArchive(tinyModel);
  const tensors = [...weights.tensors].map(([name, { offset, bytes, dtype, shape }]) => ({
    name,
    parts: [{ file: tinyModel, offset, bytes, dtype, shape }],
    dtype: dtype as "F16",
  }));
  const config = JSON.stringify(await readArtifactConfig(tinyModel));
  return { config, tokenizer: await tinyTokenizer(), tensors };
}

describe("the writer of artifacts", () => {
  const folder = temporaryFolder();
  const write = async (spec: ArtifactSpec, name: string) => {
    const file = join(folder, name);
    await addon().writeArtifact(spec, file);
    return { file, weights: await readTorchArchive(file) };
  };

  for (const [i, c] of families.cases.entries()) {
    it(`${c.name}: the same bytes each time, and the code that the settings generate`, async () => {
      const source = await findSource(writeFamilyFolder(c, join(folder, String(i)), true));
      const files = [join(folder, `${i}-first.pt`), join(folder, `${i}-second.pt`)];
      for (const file of files) await importModel(source, file, { name: "some" });
      const [first, second] = files.map((file) => sha256(readFileSync(file)));
      assert.equal(second, first);
      await addon().verifyArtifact(files[0]);
      await (await TorchArchive.open(files[0])).verify();
    });
  }

  it("writes the tensors that libtorch's writer wrote into tiny.pt, bit for bit", async () => {
    const { file, weights } = await write(await tinySpec(), "tiny.pt");
    const before = await readTorchArchive(tinyModel);
    assert.deepEqual([...weights.tensors.keys()].sort(), [...before.tensors.keys()].sort());
    for (const [name, { dtype, shape }] of before.tensors) {
      assert.equal(tensorOf(weights, name).dtype, dtype, name);
      assert.deepEqual(tensorOf(weights, name).shape, shape, name);
      assert.ok(valuesOf(file, weights, name).equals(valuesOf(tinyModel, before, name)), name);
    }
    await addon().verifyArtifact(file);
  });

  it("begins the values of each tensor at a multiple of 64 bytes", async () => {
    const { weights } = await write(await tinySpec(), "aligned.pt");
    for (const [name, { offset }] of weights.tensors) assert.equal(offset % 64, 0, name);
  });

  describe("conversion", () => {
    const NAME = "visual.proj"; // [256, 192]
    const [ROWS, COLUMNS] = [256, 192];
    const numbers = Float64Array.from({ length: ROWS * COLUMNS }, (_, i) => Math.sin(i) * 4 ** ((i % 9) - 6));
    const transposed = numbers.map((_, i) => numbers[(i % ROWS) * COLUMNS + Math.floor(i / ROWS)]);
    const wholes = BigInt64Array.from(numbers, (_, i) => BigInt(i) * 987_654_321n);

    /** Writes tiny with other values in one tensor; returns what is then stored there. */
    async function stored(parts: [ArrayBufferView, Partial<TensorPart>][], dtype: "F32" | "F16" | "BF16") {
      const data = join(folder, "numbers.bin");
      const pieces = parts.map(([values]) =>
        Buffer.from(values.buffer, values.byteOffset, values.byteLength),
      );
      writeFileSync(data, Buffer.concat(pieces));
      let offset = 0;
      const made = parts.map(([values, more]): TensorPart => {
        const part = { file: data, offset, bytes: values.byteLength, dtype: "F64", shape: [ROWS, COLUMNS] };
        offset += values.byteLength;
        return { ...part, ...more };
      });
      const spec = await tinySpec();
      const at = spec.tensors.findIndex(({ name }) => name === NAME);
      spec.tensors[at] = { name: NAME, parts: made, dtype };
      const { file, weights } = await write(spec, "converted.pt");
      assert.equal(tensorOf(weights, NAME).dtype, dtype);
      return valuesOf(file, weights, NAME);
    }
    const bytes = (values: Float32Array | Uint16Array) => Buffer.from(values.buffer);

    it("of float64 and of int64 to float32 rounds to the nearest", async () => {
      assert.ok((await stored([[numbers, {}]], "F32")).equals(bytes(Float32Array.from(numbers))));
      const expected = Float32Array.from(wholes, Number);
      assert.ok((await stored([[wholes, { dtype: "I64" }]], "F32")).equals(bytes(expected)));
    });

    it("to bfloat16 rounds to the nearest, ties to even", async () => {
      const floats = Float32Array.from(numbers);
      const bits = new Uint32Array(floats.buffer).map((b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16);
      assert.ok((await stored([[floats, { dtype: "F32" }]], "BF16")).equals(bytes(Uint16Array.from(bits))));
    });

    it("to float16 and back gives what float16 holds", async () => {
      const half = await stored([[numbers, {}]], "F16");
      const read = new Uint16Array(Uint8Array.from(half).buffer);
      const back = await stored([[read, { dtype: "F16" }]], "F32");
      const floats = new Float32Array(Uint8Array.from(back).buffer);
      floats.forEach((value, i) => {
        const exact = Math.fround(numbers[i]);
        const step = Math.max(2 ** (Math.floor(Math.log2(Math.abs(exact))) - 10), 2 ** -24);
        assert.ok(exact === 0 || Math.abs(value - exact) <= step / 2, `${value} for ${exact}`);
      });
      assert.ok((await stored([[floats, { dtype: "F32" }]], "F16")).equals(half));
    });

    it("transposes matrices and joins parts along the first axis", async () => {
      const expected = bytes(Float32Array.from(numbers));
      const sideways = { shape: [COLUMNS, ROWS], transpose: true };
      assert.ok((await stored([[transposed, sideways]], "F32")).equals(expected));
      const half = (ROWS / 2) * COLUMNS;
      const shape = [ROWS / 2, COLUMNS];
      const upper: [Float64Array, object] = [numbers.subarray(0, half), { shape }];
      const lower: [Float32Array, object] = [
        Float32Array.from(numbers.subarray(half)),
        { shape, dtype: "F32" },
      ];
      assert.ok((await stored([upper, lower], "F32")).equals(expected));
    });

    it("of parts that fit neither each other, their file nor their type: E_MODEL_CORRUPT", async () => {
      const cases: [RegExp, [ArrayBufferView, Partial<TensorPart>][]][] = [
        [/393208 bytes in .* do not make its shape \(393216\)/, [[numbers, { bytes: 393208 }]]],
        [/numbers\.bin ends before visual\.proj/, [[numbers, { offset: 8 }]]],
        [/numbers\.bin ends before visual\.proj/, [[numbers, { offset: 2 ** 52 }]]],
        [/do not make its shape/, [[numbers, { shape: [2 ** 40, 2 ** 40] }]]],
        [/unknown element type U8/, [[numbers, { dtype: "U8" }]]],
        [/has shape \[192, 256\], the settings call for \[256, 192\]/, [[numbers, { shape: [192, 256] }]]],
        [/only a matrix can be transposed/, [[numbers, { shape: [2, 128, 192], transpose: true }]]],
        [
          /parts have shapes that cannot be joined/,
          [
            [numbers, {}],
            [numbers, { shape: [192, 256] }],
          ],
        ],
        [/has no parts/, []],
      ];
      for (const [message, parts] of cases) {
        const error = await rejectsWith("E_MODEL_CORRUPT", () => stored(parts, "F32"), String(message));
        assert.match(error.message, message);
      }
    });
  });

  it("refuses tensors that the settings do not call for, before a file is made", async () => {
    const spec = await tinySpec();
    const output = join(folder, "never.pt");
    const refused = async (tensors: ArtifactSpec["tensors"], message: RegExp) => {
      const error = await rejectsWith("E_MODEL_CORRUPT", () =>
        addon().writeArtifact({ ...spec, tensors }, output),
      );
      assert.match(error.message, message);
      assertMissing(output);
    };
    const without = spec.tensors.filter(({ name }) => name !== "visual.proj");
    await refused(without, /visual\.proj is missing/);
    await refused([...spec.tensors, { ...spec.tensors[0], name: "more" }], /more belongs to no setting/);
    await refused([...spec.tensors, spec.tensors[0]], /is given twice/);
  });

  it("reports a file that cannot be made, or a full disk, as E_WRITE with the system's reason", async () => {
    const spec = await tinySpec();
    const failures: [string, RegExp][] = [[join(folder, "no-folder", "a.pt"), /No such file or directory/]];
    if (existsSync("/dev/full")) failures.push(["/dev/full", /No space left on device/]);
    for (const [output, reason] of failures) {
      const error = await rejectsWith("E_WRITE", () => addon().writeArtifact(spec, output));
      assert.match(error.message, /could not be written: /);
      assert.match(error.message, reason);
    }
  });

  it("writes code of which `verify` refuses every change: of a number, a method, a class", async () => {
    const { file } = await write(await tinySpec(), "whole.pt");
    const changed = join(folder, "changed.pt");
    const changes: [string, string][] = [
      ["x = x.select(1, 0)", "x = x.select(1, 1)"],
      ["a.transpose(1, 2)", "a.transpose(2, 1).sin()"],
      ["def encode_text", "def more(self, x: Tensor) -> Tensor:\n      return x\n  def encode_text"],
      ["class m_visual(", "class other("],
    ];
    for (const [from, to] of changes) {
      const entries = readZip(readFileSync(file)).map((entry) => {
        if (!entry.name.endsWith("/code/__torch__/torchclip.py")) return entry;
        const text = entry.data.toString();
        assert.ok(text.includes(from), from);
        return { ...entry, data: Buffer.from(text.replace(from, to)) };
      });
      writeFileSync(changed, writeZip(entries));
      await rejectsWith("E_MODEL_UNSAFE", () => addon().verifyArtifact(changed), to);
    }
  });
});
