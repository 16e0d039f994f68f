import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readWeights } from "../../lib/models/formats/index.js";
import { readTorchArchive, TorchArchive } from "../../lib/models/formats/torch-zip.js";
import { unpickle } from "../../lib/models/formats/unpickler.js";
import { importModel } from "../../lib/models/import/import.js";
import { field, legacyTorch, pickle, pickledText, torchArchive, zip } from "../support/containers.js";
import { errorOf, rejectsWith, temporaryFolder, tinyModel } from "../support/index.js";
import { safetensors, tinySafetensors } from "../support/tiny.js";

const folder = temporaryFolder();

/** The error code of reading a file of these bytes, and how long that took. */
async function codeOf(name: string, bytes: Buffer): Promise<string> {
  const file = join(folder, name);
  writeFileSync(file, bytes);
  const error = await errorOf(() => readWeights(file));
  assert.equal(error.name, "TorchclipError", `${error.name}: ${error.message}`);
  assert.ok(error.message.length < 2000, "the message is short");
  return error.code!;
}

async function readWideArchive(bytes: Buffer): Promise<unknown> {
  const file = join(folder, "wide.bin");
  writeFileSync(file, torchArchive(bytes, [{ name: "archive/data/0", bytes: Buffer.alloc(4) }]));
  return readWeights(file);
}

describe("untrusted pickles", () => {
  /** A list that holds the one before twice, `times` over: as a string it would have 2^times letters. */
  const doubled = (times: number) =>
    "]" +
    Array.from(
      { length: times },
      (_, i) => `q${String.fromCharCode(i)}](h${String.fromCharCode(i)}h${String.fromCharCode(i)}e`,
    ).join("");

  const cases: [string, Buffer][] = [
    ["a key of doubled lists", pickle("\x80\x02}", doubled(60), "Ns.")],
    ["a STACK_GLOBAL of doubled lists", pickle("\x80\x02", doubled(60), pickledText("x"), "\x93.")],
    ["a key that is a dictionary", pickle("\x80\x02}}Ns.")],
    ["40 MB of EMPTY_DICT", Buffer.alloc(40 << 20, "}")],
    ["60 MB of NONE", Buffer.alloc(60 << 20, "N")],
    ["60 MB of MARK", Buffer.alloc(60 << 20, "(")],
    ["20 MB of EMPTY_LIST in a list", pickle("](", Buffer.alloc(20 << 20, "]"), "e.")],
    ["a call of a list", pickle("\x80\x02])R.")],
    ["a call without arguments", pickle("\x80\x02ccollections\nOrderedDict\nNR.")],
    ["an object of a list", pickle("\x80\x02])\x81.")],
    ["a storage of numbers", pickle("\x80\x02(K\x01K\x02K\x03K\x04K\x05tQ.")],
    ["a key without a value", pickle("\x80\x02}(K\x01u.")],
    ["POP below a mark", pickle("\x80\x02N(0.")],
    ["nothing", Buffer.alloc(0)],
    ["a name without end", pickle("\x80\x02c", Buffer.alloc(100_000, "a"), "\nb\n.")],
  ];
  for (const [what, bytes] of cases) {
    it(`${what}: E_MODEL_CORRUPT, in an archive and in the old format`, async () => {
      const start = process.cpuUsage().user;
      await rejectsWith("E_MODEL_CORRUPT", () => unpickle(bytes, "pickle"));
      assert.equal(await codeOf("p.bin", torchArchive(bytes)), "E_MODEL_CORRUPT");
      assert.equal(await codeOf("p.bin", legacyTorch(bytes)), "E_MODEL_CORRUPT");
      assert.ok(process.cpuUsage().user - start < 5e6, `${(process.cpuUsage().user - start) / 1000} ms`);
    });
  }

  it("200 MB of NONE are refused by their size", async () => {
    assert.equal(await codeOf("none.bin", torchArchive(Buffer.alloc(200 << 20, "N"))), "E_MODEL_CORRUPT");
  });

  it("dictionaries nested 100,000 deep: E_MODEL_CORRUPT, no stack overflow", async () => {
    const deep = pickle(
      "\x80\x02",
      pickle("}", pickledText("k")).toString("latin1").repeat(100_000),
      "}",
      "s".repeat(100_000),
      ".",
    );
    assert.equal(await codeOf("deep.bin", torchArchive(deep)), "E_MODEL_CORRUPT");
  });

  it("names that are built of long names around them are paid for", async () => {
    const storage = pickle(
      "(",
      pickledText("storage"),
      "ctorch\nFloatStorage\n",
      pickledText("0"),
      pickledText("cpu"),
      "K\x01tQ",
    );
    const tensor = pickle("ctorch._utils\n_rebuild_tensor_v2\n(", storage, "K\x00K\x01\x85K\x01\x85tRq\x01");
    const names = Array.from({ length: 50_000 }, (_, i) => pickle(pickledText(`x${i}`), "h\x01"));
    const wide = pickle(
      "\x80\x02}",
      pickledText("k".repeat(4000)),
      "}(",
      pickledText("first"),
      tensor,
      ...names,
      "us.",
    );
    assert.match((await errorOf(() => readWideArchive(wide))).message, /more objects than weights need/);
  });

  it("a dictionary in itself ends", async () => {
    const file = join(folder, "cycle.bin");
    writeFileSync(file, torchArchive(pickle("\x80\x02}q\x00", pickledText("a"), "h\x00s.")));
    assert.equal((await readTorchArchive(file)).tensors.size, 0);
  });

  it("integer keys, as optimizers have them, are read", () => {
    assert.deepEqual(
      unpickle(pickle("\x80\x02}(K\x00NK\x01\x88u."), "p"),
      new Map<number, unknown>([
        [0, null],
        [1, true],
      ]),
    );
  });
});

describe("untrusted archives", () => {
  it("200,000 records are read in seconds", async function () {
    this.timeout(60_000);
    const records = Array.from({ length: 200_000 }, (_, i) => ({
      name: `archive/data/${i}`,
      bytes: Buffer.alloc(0),
    }));
    const file = join(folder, "many.bin");
    writeFileSync(file, zip([{ name: "archive/data.pkl", bytes: pickle("\x80\x02}.") }, ...records]));
    const start = process.cpuUsage().user;
    assert.equal((await readTorchArchive(file)).tensors.size, 0);
    assert.ok(process.cpuUsage().user - start < 5e6, `${(process.cpuUsage().user - start) / 1e3} ms`);
  });

  it("two records of one name, also by case, are refused", async () => {
    for (const name of ["archive/data.pkl", "archive/DATA.PKL", "other/data.pkl"]) {
      assert.equal(
        await codeOf("twice.bin", torchArchive(pickle("}."), [{ name, bytes: pickle("}.") }])),
        "E_MODEL_CORRUPT",
      );
    }
  });

  it("a whole archive verifies, a changed one names the record", async () => {
    const bytes = readFileSync(tinyModel);
    await (await TorchArchive.open(tinyModel)).verify();
    const file = join(folder, "changed.pt");
    bytes[bytes.indexOf("torchclip.json") + 100] ^= 1;
    writeFileSync(file, bytes);
    assert.match(
      (await errorOf(async () => (await TorchArchive.open(file)).verify())).message,
      /does not match its checksum|torchclip\.json/,
    );
  });
});

describe("untrusted safetensors", () => {
  const good = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
  const cases: [string, unknown][] = [
    ["a header that is null", null],
    ["a header that is a list", []],
    ["__metadata__: null", { __metadata__: null }],
    ["__metadata__ of numbers", { __metadata__: { a: 1 } }],
    ["an entry that is null", { a: null }],
    ["an entry that is a string", { a: "F32" }],
    ["a dtype that is an object", { a: { ...good, dtype: {} } }],
    ["a dtype of Object's", { a: { ...good, dtype: "constructor" } }],
    ["a shape that is an object", { a: { ...good, shape: { length: 1 } } }],
    ["a negative size", { a: { ...good, shape: [-1] } }],
    ["sizes beyond numbers", { a: { ...good, shape: [2 ** 40, 2 ** 40] } }],
    ["a shape of 10,000 axes", { a: { ...good, shape: Array.from({ length: 10_000 }, () => 1) } }],
    ["offsets that are strings", { a: { ...good, data_offsets: ["0", "4"] } }],
    ["offsets that are null", { a: { ...good, data_offsets: null } }],
  ];
  for (const [what, header] of cases) {
    it(`${what}: E_MODEL_CORRUPT`, async () => {
      assert.equal(
        await codeOf("h.safetensors", safetensors(header as object, Buffer.alloc(4))),
        "E_MODEL_CORRUPT",
      );
    });
  }

  const raw = (text: string): Buffer => {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([length, Buffer.from(text)]);
  };

  it("a header nested 1,000,000 deep, or of 10,000,000 lists: E_MODEL_CORRUPT before anything is built", async () => {
    assert.equal(
      await codeOf("deep.safetensors", raw(`{"a":${"[".repeat(1e6)}${"]".repeat(1e6)}}`)),
      "E_MODEL_CORRUPT",
    );
    assert.equal(await codeOf("wide.safetensors", raw(`{"a":[${"[],".repeat(1e7)}[]]}`)), "E_MODEL_CORRUPT");
  });

  it("metadata that is no JSON: E_MODEL_CORRUPT at import", async () => {
    const bytes = await tinySafetensors();
    const length = Number(bytes.readBigUInt64LE());
    const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<string, unknown>;
    for (const config of [
      "{",
      "null",
      "[]",
      '{"activation":"relu"}',
      '{"vision_heads":-4,"activation":"gelu"}',
      '{"text_heads":0.5,"activation":"gelu"}',
    ]) {
      const file = join(folder, "meta.safetensors");
      writeFileSync(file, safetensors({ ...header, __metadata__: { config } }, bytes.subarray(8 + length)));
      await rejectsWith(
        "E_MODEL_CORRUPT",
        () => importModel({ weights: file }, join(folder, "meta.pt")),
        config,
      );
    }
  });
});

describe("untrusted indexes", () => {
  const index = async (name: string, content: unknown) =>
    codeOf(name, Buffer.from(typeof content === "string" ? content : JSON.stringify(content)));

  it("an index that names itself, or one that names it: E_MODEL_CORRUPT at once", async () => {
    assert.equal(await index("self.index.json", { weight_map: { a: "self.index.json" } }), "E_MODEL_CORRUPT");
    writeFileSync(join(folder, "b.index.json"), JSON.stringify({ weight_map: { a: "a.index.json" } }));
    assert.equal(await index("a.index.json", { weight_map: { a: "b.index.json" } }), "E_MODEL_CORRUPT");
  });

  for (const name of ["..", ".", "../x.safetensors", "/etc/passwd", "a\\b", "a/b"]) {
    it(`a shard named ${JSON.stringify(name)}: E_MODEL_UNSAFE`, async () => {
      assert.equal(await index("m.index.json", { weight_map: { a: name } }), "E_MODEL_UNSAFE");
    });
  }

  for (const content of [
    "",
    "null",
    "[]",
    "{}",
    { weight_map: null },
    { weight_map: [] },
    { weight_map: { a: 1 } },
    { weight_map: { a: null } },
    { weight_map: { a: "none.bin" } },
  ]) {
    it(`${JSON.stringify(content)}: E_MODEL_CORRUPT`, async () => {
      assert.equal(await index("m.index.json", content), "E_MODEL_CORRUPT");
    });
  }

  it("a shard that is a folder or a pipe: E_MODEL_CORRUPT, without waiting", async function () {
    if (process.platform === "win32") this.skip();
    mkdirSync(join(folder, "folder.safetensors"), { recursive: true });
    execFileSync("mkfifo", [join(folder, "pipe.safetensors")]);
    for (const name of ["folder.safetensors", "pipe.safetensors"]) {
      assert.equal(await index("m.index.json", { weight_map: { a: name } }), "E_MODEL_CORRUPT");
    }
  });

  it("a file that is not there: E_MODEL_NOT_FOUND with the system's reason", async () => {
    const error = await rejectsWith("E_MODEL_NOT_FOUND", () => readWeights(join(folder, "none.safetensors")));
    assert.match(error.message, /ENOENT/);
  });
});

describe("untrusted ONNX", () => {
  const tensor = (...fields: Buffer[]) => field(7, field(5, Buffer.concat(fields)));
  const F32 = field(2, 1n);
  const external = (key: string, value: string) => field(13, Buffer.concat([field(1, key), field(2, value)]));
  const cases: [string, Buffer][] = [
    ["a negative size", tensor(field(1, -1n), F32, field(8, "a"), field(9, Buffer.alloc(4)))],
    [
      "sizes whose product is 0 and that are no numbers",
      tensor(field(1, 0n), field(1, -1n), F32, field(8, "a"), field(9, Buffer.alloc(0))),
    ],
    [
      "1,000,000 axes",
      tensor(field(1, Buffer.alloc(1_000_000, 1)), F32, field(8, "a"), field(9, Buffer.alloc(4))),
    ],
    [
      "a name of 100,000 letters",
      tensor(field(1, 1n), F32, field(8, "a".repeat(100_000)), field(9, Buffer.alloc(4))),
    ],
    [
      "an external length that is no number",
      tensor(field(1, 1n), F32, field(8, "a"), external("location", "x.onnx"), external("length", "x")),
    ],
    [
      "a negative external length",
      tensor(field(1, 1n), F32, field(8, "a"), external("location", "x.onnx"), external("length", "-1")),
    ],
    [
      "an external location with a zero",
      tensor(field(1, 1n), F32, field(8, "a"), external("location", "x\0y")),
    ],
    ["10,000,000 nodes", field(7, Buffer.alloc(20_000_000, Buffer.from([0x0a, 0])))],
    [
      "messages nested deep",
      Array.from({ length: 200 }).reduce<Buffer>((inner) => field(7, inner), Buffer.alloc(1)),
    ],
    ["nothing", Buffer.alloc(0)],
  ];
  for (const [what, bytes] of cases) {
    it(`${what}: E_MODEL_CORRUPT`, async function () {
      this.timeout(60_000);
      assert.equal(await codeOf("x.onnx", bytes), "E_MODEL_CORRUPT");
    });
  }
});
