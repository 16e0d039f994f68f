import { TorchclipError } from "../../errors.js";
import { kindOf, shown, Untrusted } from "../../util/untrusted.js";
import { Budget, MAP_BYTES, MAP_ENTRY_BYTES, OBJECT_BYTES, SLOT_BYTES, STRING_BYTES } from "./budget.js";
import {
  PickledGlobal,
  PickledObject,
  PickledStorage,
  PickledTensor,
  type PickledKey,
  type PickledMap,
} from "./pickled.js";
import type { Dtype } from "./types.js";

const STORAGES = new Map<string, Dtype>([
  ["torch FloatStorage", "F32"],
  ["torch HalfStorage", "F16"],
  ["torch BFloat16Storage", "BF16"],
  ["torch DoubleStorage", "F64"],
  ["torch LongStorage", "I64"],
  ["torch IntStorage", "I32"],
  ["torch ShortStorage", "I16"],
  ["torch CharStorage", "I8"],
  ["torch ByteStorage", "U8"],
  ["torch BoolStorage", "BOOL"],
]);
const REBUILD_TENSOR = new Set(["torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor"]);
/** Calls whose result is their first argument. */
const FIRST_ARGUMENT = new Set([
  "torch._utils _rebuild_parameter",
  "torch.jit._pickle build_intlist",
  "torch.jit._pickle build_doublelist",
  "torch.jit._pickle build_boollist",
  "torch.jit._pickle build_tensorlist",
  "torch.jit._pickle restore_type_tag",
]);
const ORDERED_DICT = "collections OrderedDict";
const MOST_NAME = 1024;
/** Values that wait for their container: the C++ pickler writes all items of a list at once. */
const MOST_STACK = 1 << 20;

/**
 * Reads a pickle as data: containers, numbers, strings and tensors are built; nothing is ever called or
 * imported. A class of a TorchScript archive (`__torch__.…`) becomes a plain PickledObject that holds its
 * attributes; every other global than the few above is refused with its name (E_MODEL_UNSAFE). What is built
 * is paid from `budget`, which several pickles of one file share.
 */
export function unpickle(bytes: Buffer, name: string, budget?: Budget): unknown {
  return new Unpickler(bytes, name, budget).run();
}

/** The first of several pickles in a row, and how many bytes it takes. */
export function unpickleFirst(
  bytes: Buffer,
  name: string,
  budget?: Budget,
): { value: unknown; length: number } {
  const reader = new Unpickler(bytes, name, budget);
  const value = reader.run();
  return { value, length: reader.position };
}

/** Pickle's stack machine (Lib/pickletools.py describes every opcode). */
class Unpickler {
  private at = 0;
  private readonly stack: unknown[] = [];
  /** Heights of the stack at the open marks. */
  private readonly marks: number[] = [];
  private readonly memo = new Map<number, unknown>();
  private readonly check: Untrusted;
  private readonly budget: Budget;

  constructor(
    private readonly bytes: Buffer,
    private readonly name: string,
    budget?: Budget,
  ) {
    this.check = new Untrusted("E_MODEL_CORRUPT", name);
    this.budget = budget ?? new Budget(bytes.length, (why) => this.corrupt(why));
  }

  /** Bytes read so far. */
  get position(): number {
    return this.at;
  }

  run(): unknown {
    for (;;) {
      const opcode = this.byte();
      if (opcode === STOP) return this.pop();
      const operation = OPERATIONS.get(opcode);
      if (!operation)
        throw this.unsafe(`the pickle uses opcode 0x${opcode.toString(16)}, which plain weights do not need`);
      operation(this);
    }
  }

  private corrupt(what: string): TorchclipError {
    return this.check.error(`not a readable pickle at byte ${this.at}: ${what}`);
  }

  private unsafe(what: string): TorchclipError {
    return new TorchclipError("E_MODEL_UNSAFE", `${this.name}: ${what}`, { subject: this.name });
  }

  // Input

  take(length: number): Buffer {
    if (this.at + length > this.bytes.length) throw this.corrupt("it ends too early");
    return this.bytes.subarray(this.at, (this.at += length));
  }

  byte(): number {
    const byte = this.bytes[this.at];
    if (byte === undefined) throw this.corrupt("it ends too early");
    this.at++;
    return byte;
  }

  line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0 || end - this.at > MOST_NAME) throw this.corrupt("a name has no end");
    const text = this.bytes.toString("utf8", this.at, end);
    this.at = end + 1;
    return text;
  }

  long(): number {
    const digits = this.take(this.byte());
    let value = 0n;
    for (const digit of digits.toReversed()) value = (value << 8n) | BigInt(digit);
    return Number(BigInt.asIntN(8 * digits.length, value));
  }

  // Stack

  push(value: unknown, bytes = 0): void {
    this.budget.take(SLOT_BYTES + bytes);
    if (this.stack.length === MOST_STACK) throw this.corrupt(`more than ${MOST_STACK} values on its stack`);
    this.stack.push(value);
  }

  pushText(text: string): void {
    this.push(text, STRING_BYTES + text.length);
  }

  pop(): unknown {
    // What lies below a mark belongs to the container that the mark opened.
    if (this.stack.length === (this.marks.at(-1) ?? 0)) throw this.corrupt("the stack is empty");
    return this.stack.pop();
  }

  tuple(length: number): void {
    const items = Array.from({ length }, () => this.pop()).reverse();
    this.push(items, OBJECT_BYTES + SLOT_BYTES * length);
  }

  mark(): void {
    if (this.marks.length === MOST_STACK) throw this.corrupt(`more than ${MOST_STACK} marks on its stack`);
    this.marks.push(this.stack.length);
  }

  sinceMark(): unknown[] {
    const mark = this.marks.pop();
    if (mark === undefined) throw this.corrupt("no mark");
    return this.stack.splice(mark);
  }

  put(index: number): void {
    this.budget.take(MAP_ENTRY_BYTES);
    const value = this.pop();
    this.stack.push(value);
    this.memo.set(index, value);
  }

  /** MEMOIZE: under the next free number. */
  putNext(): void {
    this.put(this.memo.size);
  }

  get(index: number): void {
    if (!this.memo.has(index)) throw this.corrupt(`memo ${index} is not set`);
    this.push(this.memo.get(index));
  }

  // Containers

  append(items: unknown[]): void {
    const list = this.stack.at(-1);
    if (!Array.isArray(list)) throw this.corrupt("an item is added to what is not a list");
    this.budget.take(SLOT_BYTES * items.length);
    for (const item of items) list.push(item);
  }

  /**
   * Keys and values in turn. Keys are never converted: only strings, numbers, booleans and None are taken.
   */
  setItems(items: unknown[]): void {
    const map = this.stack.at(-1);
    if (!(map instanceof Map)) throw this.corrupt("a key is set in what is not a dictionary");
    if (items.length % 2) throw this.corrupt("a key has no value");
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i];
      if (!isKey(key)) throw this.corrupt("a dictionary's key is neither a string nor a number");
      this.budget.take(MAP_ENTRY_BYTES);
      (map as PickledMap).set(key, items[i + 1]);
    }
  }

  // Names and what they stand for

  global(module: unknown, attribute: unknown): void {
    if (typeof module !== "string" || typeof attribute !== "string")
      throw this.corrupt("a name is no string");
    const name = `${module} ${attribute}`;
    const known =
      name === ORDERED_DICT || REBUILD_TENSOR.has(name) || FIRST_ARGUMENT.has(name) || STORAGES.has(name);
    if (!known && !isArchiveClass(name))
      throw this.unsafe(`the pickle names ${shown(name).replace(" ", ".")}, which plain weights do not need`);
    this.push(new PickledGlobal(name), OBJECT_BYTES);
  }

  private popGlobal(): string {
    const global = this.pop();
    if (!(global instanceof PickledGlobal)) throw this.corrupt(`${kindOf(global)} stands where a name must`);
    return global.name;
  }

  private popArguments(): unknown[] {
    return this.check.array(this.pop(), `the arguments of the call at byte ${this.at}`);
  }

  /** BINPERSID: ("storage", type, key, device, number of elements). */
  storage(): void {
    const [tag, type, key, , count] = this.popArguments();
    const dtype = type instanceof PickledGlobal ? STORAGES.get(type.name) : undefined;
    if (tag !== "storage" || !dtype || typeof key !== "string" || key.length > MOST_NAME)
      throw this.corrupt("a malformed storage");
    this.push(new PickledStorage(dtype, key, this.check.count(count, "the size of a storage")), OBJECT_BYTES);
  }

  reduce(): void {
    const args = this.popArguments();
    const name = this.popGlobal();
    if (name === ORDERED_DICT) this.push(new Map(), MAP_BYTES);
    else if (FIRST_ARGUMENT.has(name)) this.push(args[0]);
    else if (REBUILD_TENSOR.has(name)) this.push(this.tensor(args), OBJECT_BYTES);
    else throw this.unsafe(`the pickle calls ${shown(name).replace(" ", ".")}`);
  }

  private tensor([storage, offset, shape, stride]: unknown[]): PickledTensor {
    if (!(storage instanceof PickledStorage)) throw this.corrupt("a tensor has no storage");
    const strides = this.check
      .array(stride, "a tensor's strides", 64)
      .map((step) => this.check.count(step, "a stride"));
    const sizes = this.check.shape(shape, "a tensor's shape");
    if (strides.length !== sizes.length)
      throw this.corrupt("a tensor's shape and strides have different lengths");
    this.budget.take(2 * (OBJECT_BYTES + SLOT_BYTES * sizes.length));
    return new PickledTensor(storage, this.check.count(offset, "a tensor's offset"), sizes, strides);
  }

  /** NEWOBJ: an object of an archive's class, never a real one. */
  newObject(): void {
    this.pop();
    const name = this.popGlobal();
    if (!isArchiveClass(name))
      throw this.unsafe(`the pickle makes an object of ${shown(name).replace(" ", ".")}`);
    this.push(new PickledObject(name), OBJECT_BYTES);
  }

  build(): void {
    const state = this.pop();
    const object = this.stack.at(-1);
    if (object instanceof PickledObject) object.state = state;
  }
}

function isKey(value: unknown): value is PickledKey {
  return value === null || ["string", "number", "boolean"].includes(typeof value);
}

function isArchiveClass(name: string): boolean {
  return /^__torch__(\.\w+)* \w+$/.test(name) && !name.startsWith("__torch__.torch.classes");
}

const STOP = 0x2e;

/** The opcodes that PyTorch's picklers (Python and C++) write; there are no others. */
const OPERATIONS = new Map<number, (m: Unpickler) => void>([
  [0x80, (m) => void m.take(1)], // PROTO
  [0x95, (m) => void m.take(8)], // FRAME
  [0x28, (m) => m.mark()], // MARK
  [0x7d, (m) => m.push(new Map(), MAP_BYTES)], // EMPTY_DICT
  [0x5d, (m) => m.tuple(0)], // EMPTY_LIST
  [0x29, (m) => m.tuple(0)], // EMPTY_TUPLE
  [0x85, (m) => m.tuple(1)], // TUPLE1
  [0x86, (m) => m.tuple(2)], // TUPLE2
  [0x87, (m) => m.tuple(3)], // TUPLE3
  [0x4e, (m) => m.push(null)], // NONE
  [0x88, (m) => m.push(true)], // NEWTRUE
  [0x89, (m) => m.push(false)], // NEWFALSE
  [0x4b, (m) => m.push(m.byte())], // BININT1
  [0x4d, (m) => m.push(m.take(2).readUInt16LE())], // BININT2
  [0x4a, (m) => m.push(m.take(4).readInt32LE())], // BININT
  [0x8a, (m) => m.push(m.long())], // LONG1
  [0x47, (m) => m.push(m.take(8).readDoubleBE())], // BINFLOAT
  [0x58, (m) => m.pushText(m.take(m.take(4).readUInt32LE()).toString("utf8"))], // BINUNICODE
  [0x8c, (m) => m.pushText(m.take(m.byte()).toString("utf8"))], // SHORT_BINUNICODE
  [0x55, (m) => m.pushText(m.take(m.byte()).toString("latin1"))], // SHORT_BINSTRING
  [0x71, (m) => m.put(m.byte())], // BINPUT
  [0x72, (m) => m.put(m.take(4).readUInt32LE())], // LONG_BINPUT
  [0x94, (m) => m.putNext()], // MEMOIZE
  [0x68, (m) => m.get(m.byte())], // BINGET
  [0x6a, (m) => m.get(m.take(4).readUInt32LE())], // LONG_BINGET
  [0x74, (m) => pushTuple(m, m.sinceMark())], // TUPLE
  [0x61, (m) => m.append([m.pop()])], // APPEND
  [0x65, (m) => m.append(m.sinceMark())], // APPENDS
  [0x73, (m) => m.setItems([m.pop(), m.pop()].reverse())], // SETITEM
  [0x75, (m) => m.setItems(m.sinceMark())], // SETITEMS
  [0x63, (m) => m.global(m.line(), m.line())], // GLOBAL
  [0x93, (m) => stackGlobal(m)], // STACK_GLOBAL
  [0x51, (m) => m.storage()], // BINPERSID
  [0x52, (m) => m.reduce()], // REDUCE
  [0x81, (m) => m.newObject()], // NEWOBJ
  [0x62, (m) => m.build()], // BUILD
  [0x30, (m) => void m.pop()], // POP
]);

function pushTuple(m: Unpickler, items: unknown[]): void {
  m.push(items, OBJECT_BYTES + SLOT_BYTES * items.length);
}

function stackGlobal(m: Unpickler): void {
  const attribute = m.pop();
  m.global(m.pop(), attribute);
}
