import { TorchclipError } from "../../errors.js";

/**
 * Reads a pickle as data: containers, numbers, strings and tensors are built; nothing is ever called or imported.
 * A class of a TorchScript archive (`__torch__.…`) becomes a plain PickledObject that holds its attributes; every
 * other global than the few below is refused with its name (E_MODEL_UNSAFE).
 */
export interface PickledTensor {
  kind: "tensor";
  storage: PickledStorage;
  offset: number;
  shape: number[];
  stride: number[];
}

export interface PickledStorage {
  kind: "storage";
  dtype: string;
  /** Name of the record in the archive's data folder. */
  key: string;
  elements: number;
}

export class PickledObject {
  state: unknown = undefined;
  constructor(readonly className: string) {}
}

interface Global {
  kind: "global";
  name: string;
}

const STORAGES: Record<string, string> = {
  "torch FloatStorage": "F32",
  "torch HalfStorage": "F16",
  "torch BFloat16Storage": "BF16",
  "torch DoubleStorage": "F64",
  "torch LongStorage": "I64",
  "torch IntStorage": "I32",
  "torch ShortStorage": "I16",
  "torch CharStorage": "I8",
  "torch ByteStorage": "U8",
  "torch BoolStorage": "BOOL",
};
const CALLABLE = new Set([
  "collections OrderedDict",
  "torch._utils _rebuild_tensor_v2",
  "torch._utils _rebuild_tensor",
  "torch._utils _rebuild_parameter",
  "torch.jit._pickle build_intlist",
  "torch.jit._pickle build_doublelist",
  "torch.jit._pickle build_boollist",
  "torch.jit._pickle build_tensorlist",
  "torch.jit._pickle restore_type_tag",
]);
const MAX_DEPTH_OF_MEMO = 10_000_000;

export function unpickle(bytes: Buffer, name: string): unknown {
  return new Unpickler(bytes, name).run();
}

/** The first of several pickles in a row, and how many bytes it takes. */
export function unpickleFirst(bytes: Buffer, name: string): { value: unknown; length: number } {
  const reader = new Unpickler(bytes, name);
  const value = reader.run();
  return { value, length: reader.position };
}

class Mark {}
const MARK = new Mark();

class Unpickler {
  private at = 0;
  private readonly stack: unknown[] = [];
  private readonly memo = new Map<number, unknown>();

  constructor(
    private readonly bytes: Buffer,
    private readonly name: string,
  ) {}

  /** Bytes read so far. */
  get position(): number {
    return this.at;
  }

  run(): unknown {
    try {
      for (;;) {
        const op = this.bytes.readUInt8(this.at++);
        if (op === 0x2e) return this.pop(); // STOP
        this.step(op);
      }
    } catch (error) {
      if (error instanceof TorchclipError) throw error;
      throw this.corrupt((error as Error).message);
    }
  }

  private corrupt(what: string): TorchclipError {
    return new TorchclipError("E_MODEL_CORRUPT", `${this.name}: not a readable pickle at byte ${this.at}: ${what}`, { subject: this.name });
  }

  private pop(): unknown {
    if (this.stack.length === 0) throw this.corrupt("the stack is empty");
    return this.stack.pop();
  }

  private top(): unknown {
    return this.stack[this.stack.length - 1];
  }

  private sinceMark(): unknown[] {
    const mark = this.stack.lastIndexOf(MARK);
    if (mark < 0) throw this.corrupt("no mark");
    const items = this.stack.splice(mark + 1);
    this.stack.pop();
    return items;
  }

  private take(length: number): Buffer {
    if (this.at + length > this.bytes.length) throw this.corrupt("it ends too early");
    return this.bytes.subarray(this.at, (this.at += length));
  }

  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0) throw this.corrupt("it ends too early");
    const text = this.bytes.toString("utf8", this.at, end);
    this.at = end + 1;
    return text;
  }

  private put(index: number): void {
    if (this.memo.size > MAX_DEPTH_OF_MEMO) throw this.corrupt("too many memo entries");
    this.memo.set(index, this.top());
  }

  private get(index: number): void {
    if (!this.memo.has(index)) throw this.corrupt(`memo ${index} is not set`);
    this.stack.push(this.memo.get(index));
  }

  private step(op: number): void {
    const { stack } = this;
    switch (String.fromCharCode(op)) {
      case "\x80": // PROTO
        this.take(1);
        return;
      case "\x95": // FRAME
        this.take(8);
        return;
      case "(":
        stack.push(MARK);
        return;
      case "}":
        stack.push(new Map());
        return;
      case "]":
        stack.push([]);
        return;
      case ")":
        stack.push([]);
        return;
      case "N":
        stack.push(null);
        return;
      case "\x88":
        stack.push(true);
        return;
      case "\x89":
        stack.push(false);
        return;
      case "K":
        stack.push(this.take(1).readUInt8());
        return;
      case "M":
        stack.push(this.take(2).readUInt16LE());
        return;
      case "J":
        stack.push(this.take(4).readInt32LE());
        return;
      case "\x8a": {
        // LONG1
        const digits = this.take(this.take(1).readUInt8());
        let value = 0n;
        for (let i = digits.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(digits[i]);
        if (digits.length && digits[digits.length - 1] & 0x80) value -= 1n << BigInt(8 * digits.length);
        stack.push(Number(value));
        return;
      }
      case "G":
        stack.push(this.take(8).readDoubleBE());
        return;
      case "X":
        stack.push(this.take(this.take(4).readUInt32LE()).toString("utf8"));
        return;
      case "\x8c":
        stack.push(this.take(this.take(1).readUInt8()).toString("utf8"));
        return;
      case "U":
        stack.push(this.take(this.take(1).readUInt8()).toString("latin1"));
        return;
      case "q":
        this.put(this.take(1).readUInt8());
        return;
      case "r":
        this.put(this.take(4).readUInt32LE());
        return;
      case "\x94": // MEMOIZE
        this.put(this.memo.size);
        return;
      case "h":
        this.get(this.take(1).readUInt8());
        return;
      case "j":
        this.get(this.take(4).readUInt32LE());
        return;
      case "\x85":
        stack.push([this.pop()]);
        return;
      case "\x86": {
        const b = this.pop();
        stack.push([this.pop(), b]);
        return;
      }
      case "\x87": {
        const c = this.pop();
        const b = this.pop();
        stack.push([this.pop(), b, c]);
        return;
      }
      case "t":
        stack.push(this.sinceMark());
        return;
      case "a": {
        const item = this.pop();
        this.list().push(item);
        return;
      }
      case "e": {
        const items = this.sinceMark();
        for (const item of items) this.list().push(item);
        return;
      }
      case "s": {
        const value = this.pop();
        const key = this.pop();
        this.dict().set(key, value);
        return;
      }
      case "u": {
        const items = this.sinceMark();
        for (let i = 0; i + 1 < items.length; i += 2) this.dict().set(items[i], items[i + 1]);
        return;
      }
      case "c":
        this.global(`${this.line()} ${this.line()}`);
        return;
      case "\x93": {
        const attribute = this.pop();
        this.global(`${String(this.pop())} ${String(attribute)}`);
        return;
      }
      case "Q":
        stack.push(this.storage(this.pop()));
        return;
      case "R": {
        const args = this.pop() as unknown[];
        stack.push(this.call((this.pop() as Global).name, args));
        return;
      }
      case "\x81": {
        // NEWOBJ: an object of an archive's class, never a real one
        this.pop();
        stack.push(new PickledObject((this.pop() as Global).name));
        return;
      }
      case "b": {
        const state = this.pop();
        const object = this.top();
        if (object instanceof PickledObject) object.state = state;
        return;
      }
      case "0":
        this.pop();
        return;
      default:
        throw new TorchclipError("E_MODEL_UNSAFE", `${this.name}: the pickle uses opcode 0x${op.toString(16)}, which plain weights do not need`, {
          subject: this.name,
        });
    }
  }

  private list(): unknown[] {
    const list = this.top();
    if (!Array.isArray(list)) throw this.corrupt("an item is added to what is not a list");
    return list;
  }

  private dict(): Map<unknown, unknown> {
    const dict = this.top();
    if (!(dict instanceof Map)) throw this.corrupt("a key is set in what is not a dictionary");
    return dict;
  }

  private global(name: string): void {
    const ownClass = /^__torch__(\.\w+)* \w+$/.test(name) && !name.startsWith("__torch__.torch.classes");
    if (!ownClass && !CALLABLE.has(name) && !(name in STORAGES)) {
      throw new TorchclipError("E_MODEL_UNSAFE", `${this.name}: the pickle names ${name.replace(" ", ".")}, which plain weights do not need`, {
        subject: this.name,
      });
    }
    this.stack.push({ kind: "global", name } satisfies Global);
  }

  private storage(id: unknown): PickledStorage {
    const [tag, type, key, , count] = id as [string, Global, string, string, number];
    const dtype = STORAGES[type?.name];
    if (tag !== "storage" || !dtype || typeof key !== "string" || !Number.isSafeInteger(count)) throw this.corrupt("a malformed storage");
    return { kind: "storage", dtype, key, elements: count };
  }

  private call(name: string, args: unknown[]): unknown {
    if (name === "collections OrderedDict") return new Map();
    if (name === "torch._utils _rebuild_parameter") return args[0];
    if (name.startsWith("torch.jit._pickle ")) return args[0];
    if (name === "torch._utils _rebuild_tensor_v2" || name === "torch._utils _rebuild_tensor") {
      const [storage, offset, shape, stride] = args as [PickledStorage, number, number[], number[]];
      if (storage?.kind !== "storage" || !Array.isArray(shape) || !Array.isArray(stride)) throw this.corrupt("a malformed tensor");
      return { kind: "tensor", storage, offset, shape, stride } satisfies PickledTensor;
    }
    throw new TorchclipError("E_MODEL_UNSAFE", `${this.name}: the pickle calls ${name.replace(" ", ".")}`, { subject: this.name });
  }
}

/** The named tensors of an unpickled state dict, or of a module: attribute paths joined by dots. */
export function namedTensors(value: unknown): Map<string, PickledTensor> {
  const found = new Map<string, PickledTensor>();
  const seen = new Set<unknown>();
  const visit = (v: unknown, path: string): void => {
    if (v === null || typeof v !== "object" || seen.has(v)) return;
    if ((v as PickledTensor).kind === "tensor") {
      found.set(path, v as PickledTensor);
      return;
    }
    seen.add(v);
    const inner = v instanceof PickledObject ? v.state : v;
    if (inner instanceof Map) for (const [key, child] of inner) visit(child, path ? `${path}.${String(key)}` : String(key));
  };
  visit(value, "");
  return found;
}
