// Hostile model artifacts, each made of a whole one by changing one thing.
import { add, addMany, replace, type Edit, type HostileArtifact, type Make } from "./edits.js";
import { pickledText } from "../../test/support/containers.js";
import { int, pickleAttacks } from "./pickles.js";
import { readZip, writeZip, type Entry } from "./zip.js";

const SOURCE = "code/__torch__/torchclip.py";
const SETTINGS = "extra/torchclip.json";

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

/** Programs that read and write files, overflow memory or never end: nothing of them may run. */
function codeAttacks(make: Make): HostileArtifact[] {
  const method = (name: string, input: string, body: string) =>
    `  def ${name}(self: __torch__.torchclip.CLIP, ${input}: Tensor) -> Tensor:\n${body}\n`;
  const program = (body: string) =>
    Buffer.from(
      `class CLIP(Module):\n${method("encode_image", "image", body)}${method("encode_text", "text", body)}`,
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
  const settings = { name: SETTINGS, data: Buffer.from("{}") };
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
        const at = pickle.indexOf(pickledText(name)) + 5 + name.length + 2; // its name, and the memo's two bytes
        const bytes = { K: 2, M: 3, J: 5 }[String.fromCharCode(pickle[at])] ?? 0;
        return Buffer.concat([pickle.subarray(0, at), int(value), pickle.subarray(at + bytes)]);
      });
      attacks.push({ name: `attribute: ${name} = ${value}`, bytes: make(edit), expect: "E_MODEL_CORRUPT" });
    }
  }
  return attacks;
}

type Settings = Record<string, Record<string, unknown>> & Record<string, unknown>;

type NamedSettings = [name: string, change: (settings: Settings) => void];

function settingsAttacks(make: Make): HostileArtifact[] {
  const attack = (name: string, edit: Edit): HostileArtifact => ({
    name: `settings: ${name}`,
    bytes: make(edit),
    expect: "E_MODEL_CORRUPT",
  });
  const changed = [...fieldChanges(), ...valueChanges()];
  return [
    ...settingsTexts().map(([name, json]) =>
      attack(
        name,
        replace(SETTINGS, () => Buffer.from(json)),
      ),
    ),
    ...changed.map(([name, change]) => attack(name, withSettings(change))),
    { ...attack("a third-party export", withSettings(claimExport)), expect: "E_MODEL_UNSAFE" },
  ];
}

function withSettings(change: (settings: Settings) => void): Edit {
  return replace(SETTINGS, (data) => {
    const settings = JSON.parse(data.toString()) as Settings;
    change(settings);
    return Buffer.from(JSON.stringify(settings));
  });
}

/** Settings that are no settings at all. */
const settingsTexts = (): [name: string, json: string][] => [
  ["null", "null"],
  ["empty", "{}"],
  ["no JSON", "{{{"],
  ["a list", "[]"],
  ["nested 100,000 deep", "[".repeat(100_000)],
  ["two megabytes", `{"formatVersion":2,"x":"${"a".repeat(2 << 20)}"}`],
];

function set(
  half: "image" | "text" | "preprocessing" | "tokenizer",
  field: string,
  value: unknown,
): NamedSettings {
  const shown = JSON.stringify(value).slice(0, 40);
  return [`${half}.${field} = ${shown}`, (settings) => (settings[half][field] = value)];
}

/** The towers' sizes, one at a time. */
const fieldChanges = (): NamedSettings[] => [
  ...[0, -1, 0.5, 1e300, "4", null, 2000].map((value) => set("image", "layers", value)),
  ...[0, 3, 7, -4, 1e9].map((value) => set("image", "heads", value)),
  ...[0, 1, 64, 1e9, "32"].map((value) => set("image", "patchSize", value)),
  ...[0, 32, 256, 1e9].map((value) => set("image", "imageSize", value)),
  ...[0, 8, 1e9].map((value) => set("image", "width", value)),
  ...[0, 2_000_000_000, -3].map((value) => set("text", "vocabSize", value)),
  ...[0, -3, 2_000_000_000].map((value) => set("text", "contextLength", value)),
];

/** The other settings, one at a time. */
const valueChanges = (): NamedSettings[] => [
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
  ["embedDim 8", (settings) => (settings.embedDim = 8 as never)],
];

/** Settings that say of an artifact that it runs its own code. */
function claimExport(settings: Settings): void {
  settings.image = { kind: "torchscript", imageSize: 224 };
  settings.text = { kind: "torchscript", contextLength: 32, vocabSize: 822 };
}
