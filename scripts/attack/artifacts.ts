// Hostile model artifacts, each made of a whole one by changing one thing.
import { readZip, writeZip, type Entry } from "./zip.js";

export interface HostileArtifact {
  name: string;
  bytes: () => Buffer;
  /**
   * What must happen: a code of TorchclipError, or "same": the file loads and gives the embeddings of the
   * whole one, because what was changed is never read.
   */
  expect: "E_MODEL_CORRUPT" | "E_MODEL_UNSAFE" | "E_MODEL_UNSUPPORTED" | "same";
}

type Edit = (entries: Entry[], folder: string) => Entry[];

const SOURCE = "code/__torch__/torchclip.py";

/** Hostile artifacts of every kind that is known, made of `whole`, the bytes of an artifact of torchclip. */
export function hostileArtifacts(whole: Buffer): HostileArtifact[] {
  const original = readZip(whole);
  const folder = original[0].name.slice(0, original[0].name.indexOf("/") + 1);
  const make = (edit: Edit) => () =>
    writeZip(
      edit(
        original.map((e) => ({ ...e })),
        folder,
      ),
    );
  const cut = (bytes: number) => () => whole.subarray(0, bytes);
  return [
    ...codeAttacks(make),
    ...zipAttacks(make, whole),
    ...pickleAttacks(make),
    ...attributeAttacks(make),
    ...settingsAttacks(make),
    ...[0, 10, 22, 1000, whole.length - 5000, whole.length - 1].map((bytes): HostileArtifact => ({
      name: `cut to ${bytes} bytes`,
      bytes: cut(bytes),
      expect: "E_MODEL_CORRUPT",
    })),
  ];
}

const replace =
  (name: string, change: (data: Buffer) => Buffer, more: Partial<Entry> = {}): Edit =>
  (entries, folder) =>
    entries.map((e) => (e.name === folder + name ? { name: e.name, data: change(e.data), ...more } : e));
const add =
  (...added: Entry[]): Edit =>
  (entries, folder) => [...entries, ...added.map((e) => ({ ...e, name: folder + e.name }))];
const addMany =
  (count: number): Edit =>
  (entries, folder) =>
    entries.concat(
      Array.from({ length: count }, (_, i) => ({ name: `${folder}data/9${i}`, data: Buffer.alloc(0) })),
    );
const both =
  (first: Edit, second: Edit): Edit =>
  (entries, folder) =>
    second(first(entries, folder), folder);

type Make = (edit: Edit) => () => Buffer;

/** Programs that read and write files, overflow memory or never end: nothing of them may run. */
function codeAttacks(make: Make): HostileArtifact[] {
  const program = (body: string) =>
    Buffer.from(
      `class CLIP(Module):\n  def encode_image(self: __torch__.torchclip.CLIP, image: Tensor) -> Tensor:\n${body}\n  def encode_text(self: __torch__.torchclip.CLIP, text: Tensor) -> Tensor:\n${body}\n`,
    );
  const bodies: Record<string, string> = {
    "getattr of an operator that reads files":
      '    return getattr(torch, "from_file")("/etc/hostname", False, 8, dtype=0)',
    "getattr of an operator that writes files":
      '    _0 = getattr(torch, "save")([torch.ones([1])], "owned-by-a-model")\n    return torch.ones([1])',
    "an endless loop": "    while True:\n      y = torch.ones([1])\n    return y",
    "a result of four million numbers": "    return torch.zeros([1, 4000000])",
    "uninitialised memory": "    return torch.empty([1, 192], dtype=6)",
    "an unchecked cast": "    q = unchecked_cast(__torch__.torchclip.CLIP, self)\n    return torch.ones([1])",
    "200,000 nested parentheses": `    return ${"(".repeat(200000)}torch.ones([1])${")".repeat(200000)}`,
    "a sum of 300,000 terms": `    return torch.ones([1])${"+1".repeat(300000)}`,
  };
  const attacks = Object.entries(bodies).map(([name, body]): HostileArtifact => ({
    name: `code: ${name}`,
    bytes: make(replace(SOURCE, () => program(body), { deflate: true })),
    expect: "same",
  }));
  const hook = program("    return torch.ones([1])");
  const setState = Buffer.concat([
    hook,
    Buffer.from("  def __setstate__(self, s: Tensor) -> NoneType:\n    return None\n"),
  ]);
  attacks.push(
    {
      name: "code: none at all",
      bytes: make((entries) => entries.filter((e) => !e.name.includes("/code/"))),
      expect: "same",
    },
    { name: "code: a __setstate__", bytes: make(replace(SOURCE, () => setState)), expect: "same" },
    {
      name: "code: not deflated at all",
      bytes: make(replace(SOURCE, () => Buffer.from([0xff, 0xff]), { lie: { method: 8 } })),
      expect: "same",
    },
    {
      name: "code: a bomb of 1 GB",
      bytes: make(add({ name: "code/bomb.py", data: Buffer.alloc(1 << 26), deflate: true })),
      expect: "same",
    },
  );
  return attacks;
}

/** Directories that lie. */
function zipAttacks(make: Make, whole: Buffer): HostileArtifact[] {
  const lie = (name: string, lies: Entry["lie"]): Edit => replace(name, (d) => d, { lie: lies });
  const attack = (name: string, edit: Edit): HostileArtifact => ({
    name: `zip: ${name}`,
    bytes: make(edit),
    expect: "E_MODEL_CORRUPT",
  });
  const settings = { name: "extra/torchclip.json", data: Buffer.from("{}") };
  return [
    attack("two records of one name", add(settings)),
    attack("two records whose names differ by case", add({ ...settings, name: "extra/TORCHCLIP.json" })),
    attack("data.pkl by another case alone", (entries, folder) =>
      entries.map((e) => (e.name === `${folder}data.pkl` ? { ...e, name: `${folder}DATA.PKL` } : e)),
    ),
    attack("a record of an unknown kind", add({ name: "payload.bin", data: Buffer.alloc(8) })),
    attack("a record in another folder", (entries) => [
      ...entries,
      { name: "other/data/0", data: Buffer.alloc(8) },
    ]),
    attack("a name that leaves the folder", (entries) => [
      ...entries,
      { name: "../data/0", data: Buffer.alloc(8) },
    ]),
    attack("an empty name", (entries) => [...entries, { name: "", data: Buffer.alloc(0) }]),
    attack("a name with NUL", add({ name: "extra/a\0b", data: Buffer.alloc(0) })),
    attack("a record larger than the file", lie("data/0", { bytes: 0x7fffffff })),
    attack("a record that overlaps the next", lie("data/1", { bytes: 600 })),
    attack("a record outside the file", lie("data/0", { offset: 0x7fffffff })),
    attack("another name in the record's own header", lie("data/0", { name: "x/data/0" })),
    attack("an encrypted record", lie("data/0", { flags: 0x801 })),
    attack(
      "data.pkl that is compressed",
      replace("data.pkl", (d) => d, { deflate: true }),
    ),
    attack(
      "a tensor that is compressed",
      replace("data/0", (d) => d, { deflate: true }),
    ),
    attack("settings with a wrong checksum", lie("extra/torchclip.json", { crc: 1 })),
    attack(
      "big-endian numbers",
      replace("byteorder", () => Buffer.from("big")),
    ),
    // Without settings it is no artifact of torchclip but an archive of weights in no known layout.
    {
      ...attack("no settings", (entries) => entries.filter((e) => !e.name.endsWith("torchclip.json"))),
      expect: "E_MODEL_UNSUPPORTED",
    },
    attack("no pickle", (entries) => entries.filter((e) => !e.name.endsWith("data.pkl"))),
    attack("no tensor", (entries) => entries.filter((e) => !/\/data\/\d+$/.test(e.name))),
    attack("70,000 records", addMany(70_000)),
    {
      name: "zip: a directory that counts more records than it has",
      bytes: () => writeZip(readZip(whole), { records: 60_000 }),
      expect: "E_MODEL_CORRUPT",
    },
    { name: "zip: not a zip", bytes: () => Buffer.alloc(1 << 20, 0x50), expect: "E_MODEL_CORRUPT" },
  ];
}

const int = (n: number) => {
  const b = Buffer.alloc(5);
  b.write("J", "latin1");
  b.writeInt32LE(n, 1);
  return b;
};
const text = (s: string) => {
  const b = Buffer.alloc(5);
  b.write("X", "latin1");
  b.writeUInt32LE(s.length, 1);
  return Buffer.concat([b, Buffer.from(s, "latin1")]);
};
const raw = (s: string) => Buffer.from(s, "latin1");

/** One more attribute of the root module, before the end of data.pkl. */
function withAttribute(value: Buffer): Edit {
  return replace("data.pkl", (pickle) => {
    const end = pickle.lastIndexOf(raw("ub")); // SETITEMS and BUILD of the root
    return Buffer.concat([pickle.subarray(0, end), text("zz"), value, pickle.subarray(end)]);
  });
}

/** A tensor as the pickle writes it. */
function tensor(o: {
  kind?: string;
  key?: string;
  numel?: number;
  offset?: number;
  shape?: number[];
  strides?: number[];
}): Buffer {
  const { kind = "FloatStorage", key = "0", numel = 1, offset = 0, shape = [1], strides = [1] } = o;
  const tuple = (numbers: number[]) => [raw("("), ...numbers.map(int), raw("t")];
  return Buffer.concat([
    raw("ctorch._utils\n_rebuild_tensor_v2\n(("),
    ...[
      text("storage"),
      raw(`ctorch\n${kind}\n`),
      text(key),
      text("cpu"),
      int(numel),
      raw("tQ"),
      int(offset),
    ],
    ...[...tuple(shape), ...tuple(strides), raw("\u0089ccollections\nOrderedDict\n)RtR")],
  ]);
}

function pickleAttacks(make: Make): HostileArtifact[] {
  const attack = (name: string, edit: Edit): HostileArtifact => ({
    name: `pickle: ${name}`,
    bytes: make(edit),
    expect: "E_MODEL_CORRUPT",
  });
  const whole = (pickle: Buffer): Edit => replace("data.pkl", () => pickle);
  const object = raw("c__torch__\nM\n)\u0081");
  return [
    attack("a call of os.system", withAttribute(raw("cos\nsystem\n(X\u0004\0\0\0truetR"))),
    attack(
      "a custom C++ class",
      withAttribute(raw("c__torch__.torch.classes.quantized\nEmbeddingPackedParamsBase\n)\u0081(K\u0001tb")),
    ),
    attack(
      "1,200,000 nested tuples",
      withAttribute(Buffer.concat([raw(")"), raw("\u0085".repeat(1_200_000))])),
    ),
    attack("1,200,000 empty dicts", whole(Buffer.concat([raw("\u0080\u0002"), raw("}".repeat(1_200_000))]))),
    attack(
      "modules nested 5,000 deep",
      withAttribute(
        Buffer.concat([
          ...Array.from({ length: 5000 }, () => Buffer.concat([object, raw("}("), text("a")])),
          raw("N"),
          raw("ub".repeat(5000)),
        ]),
      ),
    ),
    attack(
      "an object that holds itself",
      whole(Buffer.concat([raw("\u0080\u0002"), object, raw("q\0}("), text("a"), raw("h\0ub.")])),
    ),
    attack(
      "one module reached twice",
      withAttribute(Buffer.concat([object, raw("q\u00f0"), text("yy"), raw("h\u00f0")])),
    ),
    attack("a tensor beyond its record", withAttribute(tensor({ shape: [1000], strides: [1], numel: 1000 }))),
    attack("a negative offset", withAttribute(tensor({ offset: -4 }))),
    attack("a negative axis", withAttribute(tensor({ shape: [-5] }))),
    attack(
      "an axis of 2^31 - 1 and its square",
      withAttribute(tensor({ shape: [0x7fffffff, 0x7fffffff], strides: [0x7fffffff, 1] })),
    ),
    attack("strides of zero", withAttribute(tensor({ shape: [4], strides: [0] }))),
    attack(
      "twelve axes",
      withAttribute(tensor({ shape: Array<number>(12).fill(1), strides: Array<number>(12).fill(1) })),
    ),
    attack("a tensor of another type", withAttribute(tensor({ kind: "QInt8Storage" }))),
    attack("a tensor in no record", withAttribute(tensor({ key: "../../x" }))),
    attack("a tensor that shares a record", withAttribute(tensor({}))),
    attack("a text that is longer than the file", withAttribute(raw("X\xff\xff\xff\x7f"))),
    attack("a memo that was never put", withAttribute(raw("jAAAA"))),
    attack("a mark that is missing", whole(raw("\u0080\u0002t."))),
    attack("an empty pickle", whole(Buffer.alloc(0))),
    attack(
      "a tensor as constant",
      both(
        replace("constants.pkl", () =>
          Buffer.concat([raw("\u0080\u0002"), tensor({ numel: 192, shape: [192] }), raw("\u0085.")]),
        ),
        add({ name: "constants/0", data: Buffer.alloc(64) }),
      ),
    ),
    attack("a constants record beside an empty table", add({ name: "constants/0", data: Buffer.alloc(64) })),
  ];
}

/** Each integer attribute with values that contradict the weights. */
function attributeAttacks(make: Make): HostileArtifact[] {
  const attacks: HostileArtifact[] = [];
  for (const name of [
    "embed_dim",
    "image_size",
    "vocab_size",
    "context_length",
    "pad_id",
    "image_filter",
    "image_resize",
  ]) {
    for (const value of [-7, -1, 1, 8, 2_000_000_000]) {
      const edit = replace("data.pkl", (pickle) => {
        const at = pickle.indexOf(text(name)) + 5 + name.length + 2; // its name, and the memo's two bytes
        const bytes = { K: 2, M: 3, J: 5 }[String.fromCharCode(pickle[at])] ?? 0;
        return Buffer.concat([pickle.subarray(0, at), int(value), pickle.subarray(at + bytes)]);
      });
      attacks.push({ name: `attribute: ${name} = ${value}`, bytes: make(edit), expect: "E_MODEL_CORRUPT" });
    }
  }
  return attacks;
}

type Settings = Record<string, Record<string, unknown>> & Record<string, unknown>;

function settingsAttacks(make: Make): HostileArtifact[] {
  const change = (edit: (settings: Settings) => void): Edit =>
    replace("extra/torchclip.json", (data) => {
      const settings = JSON.parse(data.toString()) as Settings;
      edit(settings);
      return Buffer.from(JSON.stringify(settings));
    });
  const attack = (
    name: string,
    edit: Edit,
    expect: HostileArtifact["expect"] = "E_MODEL_CORRUPT",
  ): HostileArtifact => ({
    name: `settings: ${name}`,
    bytes: make(edit),
    expect,
  });
  const set = (half: "image" | "text" | "preprocessing" | "tokenizer", field: string, value: unknown) =>
    attack(
      `${half}.${field} = ${JSON.stringify(value)?.slice(0, 40)}`,
      change((s) => (s[half][field] = value)),
    );
  const raws: [string, string][] = [
    ["null", "null"],
    ["empty", "{}"],
    ["no JSON", "{{{"],
    ["a list", "[]"],
    ["nested 100,000 deep", "[".repeat(100_000)],
    ["two megabytes", `{"formatVersion":2,"x":"${"a".repeat(2 << 20)}"}`],
  ];
  return [
    ...raws.map(([name, json]) =>
      attack(
        name,
        replace("extra/torchclip.json", () => Buffer.from(json)),
      ),
    ),
    ...[0, -1, 0.5, 1e300, "4", null, 2000].map((value) => set("image", "layers", value)),
    ...[0, 3, 7, -4, 1e9].map((value) => set("image", "heads", value)),
    ...[0, 1, 64, 1e9, "32"].map((value) => set("image", "patchSize", value)),
    ...[0, 32, 256, 1e9].map((value) => set("image", "imageSize", value)),
    ...[0, 8, 1e9].map((value) => set("image", "width", value)),
    ...[0, 2_000_000_000, -3].map((value) => set("text", "vocabSize", value)),
    ...[0, -3, 2_000_000_000].map((value) => set("text", "contextLength", value)),
    ...["x", null].flatMap((value) => [
      set("text", "kind", value),
      set("image", "kind", value),
      set("image", "pool", value),
    ]),
    ...[0, -1, 2, "1e-5"].map((value) => set("image", "eps", value)),
    set("text", "endId", 1e9),
    set("text", "padId", -1),
    set("tokenizer", "padId", 1e9),
    set("preprocessing", "mean", [0, 0]),
    set("preprocessing", "std", [0, 0, 0]),
    set("preprocessing", "fill", 300),
    set("image", "somethingNew", 1),
    attack(
      "embedDim 8",
      change((s) => (s.embedDim = 8 as never)),
    ),
    attack(
      "a third-party export",
      change((s) => {
        s.image = { kind: "torchscript", imageSize: 224 };
        s.text = { kind: "torchscript", contextLength: 32, vocabSize: 822 };
      }),
      "E_MODEL_UNSAFE",
    ),
  ];
}
