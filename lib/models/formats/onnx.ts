import { realpath, stat } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { TorchclipError } from "../../errors.js";
import { shown, Untrusted } from "../../util/untrusted.js";
import { OBJECT_BYTES, SLOT_BYTES } from "./budget.js";
import { ProtobufFile, type Field } from "./protobuf.js";
import { elements, ELEMENT_BYTES, type WeightFile } from "./types.js";

// onnx/onnx.proto: TensorProto.DataType
const TYPES: Record<number, string | undefined> = {
  1: "F32",
  2: "U8",
  3: "I8",
  5: "I16",
  6: "I32",
  7: "I64",
  9: "BOOL",
  10: "F16",
  11: "F64",
  16: "BF16",
};

interface Initializer {
  name: string;
  dtype: string;
  shape: number[];
  file: string;
  offset: number;
  bytes: number;
}

interface Node {
  name: string;
  type: string;
  inputs: string[];
}

/**
 * The weights of an ONNX export as transformers.js uses them: the graph's initialisers by the names of the
 * PyTorch parameters. The exporter renames the matrices of Linear layers (onnx::MatMul_123, transposed); the
 * node that uses such a one says whose it is: /vision_model/encoder/layers.0/mlp/fc1/MatMul.
 */
export async function readOnnx(file: string): Promise<WeightFile> {
  const input = await ProtobufFile.open(file);
  try {
    const { initializers, nodes } = await readGraph(input);
    const weights: WeightFile = { format: "onnx", tensors: new Map(), metadata: {} };
    const anonymous = new Map<string, Initializer>();
    for (const tensor of initializers) {
      if (/^onnx::|^_v_|^val_/.test(tensor.name)) anonymous.set(tensor.name, tensor);
      else weights.tensors.set(tensor.name.replace(/^model\./, ""), { ...part(tensor) });
    }
    for (const node of nodes) {
      if (node.type !== "MatMul" && node.type !== "Gemm") continue;
      const tensor = node.inputs.map((name) => anonymous.get(name)).find((t) => t);
      const scope = /^\/(.+)\/(?:MatMul|Gemm)(?:_\d+)?$/.exec(node.name)?.[1];
      if (!tensor || scope === undefined) continue;
      const owner = scope.replaceAll("/", ".").replace(/^model\./, "");
      weights.tensors.set(`${dropRepeats(owner)}.weight`, { ...part(tensor), stored: "transposed" });
      anonymous.delete(tensor.name);
    }
    return weights;
  } catch (error) {
    if (error instanceof TorchclipError) throw error;
    const why = shown((error as Error).message);
    throw new TorchclipError("E_MODEL_CORRUPT", `${file} is no readable ONNX file: ${why}`, {
      subject: file,
      cause: error,
    });
  } finally {
    await input.close();
  }
}

/** /encoder/layers.0/self_attn/q_proj: a scope says its own name again where modules are in a list. */
function dropRepeats(path: string): string {
  return path.replace(/(^|\.)(\w+)\.\2\.(\d+)/g, "$1$2.$3");
}

function part(t: Initializer) {
  return { file: t.file, offset: t.offset, bytes: t.bytes, dtype: t.dtype, shape: t.shape };
}

async function readGraph(input: ProtobufFile): Promise<{ initializers: Initializer[]; nodes: Node[] }> {
  const initializers: Initializer[] = [];
  const nodes: Node[] = [];
  // ModelProto: graph = 7; GraphProto: node = 1, initializer = 5
  for await (const field of input.fields(0, input.size)) {
    if (field.number !== 7 || field.wire !== 2) continue;
    for await (const inner of input.fields(field.offset, field.bytes)) {
      if (inner.wire !== 2) continue;
      if (inner.number === 1 || inner.number === 5) input.budget.take(3 * OBJECT_BYTES);
      if (inner.number === 1) nodes.push(await readNode(input, inner));
      else if (inner.number === 5) initializers.push(await readTensor(input, inner));
    }
  }
  if (!initializers.length) throw new Error("it has no initialisers");
  return { initializers, nodes };
}

/** NodeProto: input = 1, name = 3, op_type = 4 */
async function readNode(input: ProtobufFile, at: Field): Promise<Node> {
  const node: Node = { name: "", type: "", inputs: [] };
  for await (const field of input.fields(at.offset, at.bytes)) {
    if (field.number === 1) node.inputs.push(await input.text(field));
    else if (field.number === 3) node.name = await input.text(field);
    else if (field.number === 4) node.type = await input.text(field);
  }
  return node;
}

/**
 * TensorProto: dims = 1, data_type = 2, float_data = 4, name = 8, raw_data = 9, external_data = 13,
 * data_location = 14
 */
async function readTensor(input: ProtobufFile, at: Field): Promise<Initializer> {
  const tensor: Initializer = { name: "", dtype: "", shape: [], file: input.file, offset: 0, bytes: -1 };
  const external = new Map<string, string>();
  for await (const field of input.fields(at.offset, at.bytes)) {
    if (field.number === 1) addSizes(tensor.shape, await input.numbers(field), input);
    else if (field.number === 2) tensor.dtype = TYPES[Number(field.value)] ?? `type ${String(field.value)}`;
    else if (field.number === 8) tensor.name = await input.text(field);
    else if (field.number === 9 || (field.number === 4 && field.wire === 2))
      [tensor.offset, tensor.bytes] = [field.offset, field.bytes];
    else if (field.number === 13) await readEntry(input, field, external);
  }
  new Untrusted("E_MODEL_CORRUPT", input.file).shape(tensor.shape, `the shape of ${shown(tensor.name)}`);
  if (external.size) await placeExternal(tensor, external);
  const expected = elements(tensor.shape) * (ELEMENT_BYTES[tensor.dtype] ?? NaN);
  if (tensor.bytes < 0) tensor.bytes = expected === 0 ? 0 : -1;
  // Small constants may lie in typed fields (int64_data …); they are no weights.
  if (tensor.bytes === -1) return { ...tensor, name: `onnx::constant_${at.offset}` };
  if (tensor.bytes !== expected)
    throw new Error(
      `${shown(tensor.name)}: ${tensor.bytes} bytes do not hold ${tensor.dtype} [${tensor.shape.join(", ")}]`,
    );
  return tensor;
}

function addSizes(shape: number[], sizes: number[], input: ProtobufFile): void {
  input.budget.take(SLOT_BYTES * sizes.length);
  shape.push(...sizes);
}

/** StringStringEntryProto: key = 1, value = 2 */
async function readEntry(input: ProtobufFile, at: Field, into: Map<string, string>): Promise<void> {
  let key = "";
  let value = "";
  for await (const field of input.fields(at.offset, at.bytes)) {
    if (field.number === 1) key = await input.text(field);
    else if (field.number === 2) value = await input.text(field);
  }
  into.set(key, value);
}

/** Data in a file beside: only in the same folder or below it. */
async function placeExternal(tensor: Initializer, entries: Map<string, string>): Promise<void> {
  const check = new Untrusted("E_MODEL_CORRUPT", tensor.file);
  const what = shown(tensor.name);
  const folder = await realpath(dirname(tensor.file));
  const location = entries.get("location") ?? "";
  const shownLocation = JSON.stringify(shown(location));
  const path = await realpath(join(folder, location)).catch(() => undefined);
  if (!path) throw check.error(`${what} lies in ${shownLocation}, which is not there`);
  if (!path.startsWith(folder + sep)) {
    const where = `${tensor.file}: ${what} lies in ${shownLocation}, outside the model's folder`;
    throw new TorchclipError("E_MODEL_UNSAFE", where, { subject: tensor.file });
  }
  const size = await stat(path);
  if (!size.isFile()) throw check.error(`${what} lies in ${shownLocation}, which is no regular file`);
  tensor.offset = check.count(Number(entries.get("offset") ?? 0), `the offset of ${what}`);
  const whole = elements(tensor.shape) * (ELEMENT_BYTES[tensor.dtype] ?? NaN);
  tensor.bytes = check.count(Number(entries.get("length") ?? whole), `the length of ${what}`);
  tensor.file = path;
  if (tensor.offset + tensor.bytes > size.size)
    throw check.error(`${what} ends beyond the end of ${shownLocation}`);
}
