// Hostile pickles: calls, objects without end, and tensors that contradict their records.
import { pickledText } from "../../test/support/containers.js";
import { add, both, replace, type Edit, type HostileArtifact, type Make } from "./edits.js";

export const int = (n: number) => {
  const b = Buffer.alloc(5);
  b.write("J", "latin1");
  b.writeInt32LE(n, 1);
  return b;
};
const raw = (s: string) => Buffer.from(s, "latin1");

/** One more attribute of the root module, before the end of data.pkl. */
function withAttribute(value: Buffer): Edit {
  return replace("data.pkl", (pickle) => {
    const end = pickle.lastIndexOf(raw("ub")); // SETITEMS and BUILD of the root
    return Buffer.concat([pickle.subarray(0, end), pickledText("zz"), value, pickle.subarray(end)]);
  });
}

interface TensorFields {
  kind?: string;
  key?: string;
  numel?: number;
  offset?: number;
  shape?: number[];
  strides?: number[];
}

/** A tensor as the pickle writes it. */
function tensor(fields: TensorFields): Buffer {
  const { kind = "FloatStorage", key = "0", numel = 1, offset = 0, shape = [1], strides = [1] } = fields;
  const tuple = (numbers: number[]) => [raw("("), ...numbers.map(int), raw("t")];
  return Buffer.concat([
    raw("ctorch._utils\n_rebuild_tensor_v2\n(("),
    ...[
      pickledText("storage"),
      raw(`ctorch\n${kind}\n`),
      pickledText(key),
      pickledText("cpu"),
      int(numel),
      raw("tQ"),
      int(offset),
    ],
    ...[...tuple(shape), ...tuple(strides), raw("\u0089ccollections\nOrderedDict\n)RtR")],
  ]);
}

export function pickleAttacks(make: Make): HostileArtifact[] {
  return [...objectAttacks(), ...tensorAttacks(), ...streamAttacks()].map(([name, edit]) => ({
    name: `pickle: ${name}`,
    bytes: make(edit),
    expect: "E_MODEL_CORRUPT",
  }));
}

type NamedEdit = [name: string, edit: Edit];

const wholePickle = (pickle: Buffer): Edit => replace("data.pkl", () => pickle);

/** Calls, and objects that are nested, shared or without end. */
function objectAttacks(): NamedEdit[] {
  const object = raw("c__torch__\nM\n)\u0081");
  return [
    ["a call of os.system", withAttribute(raw("cos\nsystem\n(X\u0004\0\0\0truetR"))],
    [
      "a custom C++ class",
      withAttribute(raw("c__torch__.torch.classes.quantized\nEmbeddingPackedParamsBase\n)\u0081(K\u0001tb")),
    ],
    ["1,200,000 nested tuples", withAttribute(Buffer.concat([raw(")"), raw("\u0085".repeat(1_200_000))]))],
    ["1,200,000 empty dicts", wholePickle(Buffer.concat([raw("\u0080\u0002"), raw("}".repeat(1_200_000))]))],
    [
      "modules nested 5,000 deep",
      withAttribute(
        Buffer.concat([
          ...Array.from({ length: 5000 }, () => Buffer.concat([object, raw("}("), pickledText("a")])),
          raw("N"),
          raw("ub".repeat(5000)),
        ]),
      ),
    ],
    [
      "an object that holds itself",
      wholePickle(
        Buffer.concat([raw("\u0080\u0002"), object, raw("q\0}("), pickledText("a"), raw("h\0ub.")]),
      ),
    ],
    [
      "one module reached twice",
      withAttribute(Buffer.concat([object, raw("q\u00f0"), pickledText("yy"), raw("h\u00f0")])),
    ],
  ];
}

/** Tensors that contradict their records. */
function tensorAttacks(): NamedEdit[] {
  const withTensor = (fields: TensorFields): Edit => withAttribute(tensor(fields));
  return [
    ["a tensor beyond its record", withTensor({ shape: [1000], strides: [1], numel: 1000 })],
    ["a negative offset", withTensor({ offset: -4 })],
    ["a negative axis", withTensor({ shape: [-5] })],
    [
      "an axis of 2^31 - 1 and its square",
      withTensor({ shape: [0x7fffffff, 0x7fffffff], strides: [0x7fffffff, 1] }),
    ],
    ["strides of zero", withTensor({ shape: [4], strides: [0] })],
    ["twelve axes", withTensor({ shape: Array<number>(12).fill(1), strides: Array<number>(12).fill(1) })],
    ["a tensor of another type", withTensor({ kind: "QInt8Storage" })],
    ["a tensor in no record", withTensor({ key: "../../x" })],
    ["a tensor that shares a record", withTensor({})],
  ];
}

/** Pickles that are incomplete, and constants, which an artifact has none of. */
function streamAttacks(): NamedEdit[] {
  return [
    ["a text that is longer than the file", withAttribute(raw("X\xff\xff\xff\x7f"))],
    ["a memo that was never put", withAttribute(raw("jAAAA"))],
    ["a mark that is missing", wholePickle(raw("\u0080\u0002t."))],
    ["an empty pickle", wholePickle(Buffer.alloc(0))],
    [
      "a tensor as constant",
      both(
        replace("constants.pkl", () =>
          Buffer.concat([raw("\u0080\u0002"), tensor({ numel: 192, shape: [192] }), raw("\u0085.")]),
        ),
        add({ name: "constants/0", data: Buffer.alloc(64) }),
      ),
    ],
    ["a constants record beside an empty table", add({ name: "constants/0", data: Buffer.alloc(64) })],
  ];
}
