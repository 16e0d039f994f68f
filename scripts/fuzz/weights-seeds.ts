// Seeds of the readers of weights.
import { pickle, pickledText } from "../../test/support/containers.js";
import { message, type Message } from "./mutators.js";

export const small = {
  a: { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] },
  b: { dtype: "F16", shape: [4], data_offsets: [16, 24] },
};
export const withMetadata = { __metadata__: { format: "pt", config: '{"activation":"gelu"}' }, ...small };

function storage(key: string): Buffer {
  return pickle(
    "(",
    pickledText("storage"),
    "ctorch\nFloatStorage\n",
    pickledText(key),
    pickledText("cpu"),
    "K\x04tQ",
  );
}
const tensor = (key: string) =>
  pickle(
    "ctorch._utils\n_rebuild_tensor_v2\n(",
    storage(key),
    "K\x00K\x02K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtR",
  );
export const stateDict = pickle(
  "\x80\x02}q\x00(",
  pickledText("a"),
  tensor("0"),
  pickledText("b"),
  "}(",
  pickledText("c"),
  tensor("1"),
  "K\x00Nuu.",
);
export const archiveObject = pickle(
  "\x80\x02c__torch__.M\nN\n)\x81}(",
  pickledText("a"),
  tensor("0"),
  pickledText("b"),
  tensor("1"),
  "ub.",
);
const FLOATS = Buffer.alloc(16, 1);
export const records = ["0", "1"].map((key) => ({ name: `archive/data/${key}`, bytes: FLOATS }));
export const storages = Buffer.concat([
  Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]),
  FLOATS,
  Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]),
  FLOATS,
]);
export const storageKeys = pickle("\x80\x02](", pickledText("0"), pickledText("1"), "e.");

const initializer = (name: string, ...more: Message[]) =>
  message(5, [
    message(1, 2n),
    message(1, 2n),
    message(2, 1n),
    message(8, name),
    ...(more.length ? more : [message(9, FLOATS)]),
  ]);
const entry = (key: string, value: string) => message(13, [message(1, key), message(2, value)]);
export const onnx = [
  message(1, 8n),
  message(7, [
    message(1, [
      message(1, "x"),
      message(1, "onnx::MatMul_1"),
      message(3, "/text_model/layers.0/fc1/MatMul"),
      message(4, "MatMul"),
    ]),
    initializer("text_model.a"),
    initializer("onnx::MatMul_1"),
    initializer(
      "text_model.b",
      entry("location", "model.onnx"),
      entry("offset", "0"),
      entry("length", "16"),
      message(14, 1n),
    ),
  ]),
];
