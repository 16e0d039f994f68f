import { below, pick, type Random } from "../../lib/util/random.js";
import { field, varint } from "../../test/support/containers.js";

/** Changes of structures, not of bytes: what encloses them gets its lengths and checksums afterwards. */

const NUMBERS = [
  -1,
  0,
  1,
  2,
  7,
  64,
  255,
  65536,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  -(2 ** 31),
  0.5,
  1e300,
];
const TEXTS = [
  "",
  "..",
  ".",
  "/",
  "../x",
  "a\0b",
  "__proto__",
  "constructor",
  "toString",
  "__metadata__",
  "F32",
  "\ud800",
  "(a+)+$",
  "a".repeat(5000),
  "NaN",
  "-1",
];

export function number(random: Random): number {
  return random() < 0.3 ? below(random, 300) - 20 : pick(random, NUMBERS);
}

export function text(random: Random): string {
  return random() < 0.3
    ? String.fromCharCode(...Array.from({ length: below(random, 12) }, () => below(random, 400)))
    : pick(random, TEXTS);
}

/** How many changes at once: mostly one, so that what follows the changed part is still read. */
const changes = (random: Random): number => (random() < 0.65 ? 1 : 2 + below(random, 4));

/**
 * Whole items of a list are lost, doubled, moved, repeated or changed by `change`; sometimes `fresh` ones
 * come.
 */
export function mutateList<T>(
  items: readonly T[],
  random: Random,
  change: (item: T) => T,
  fresh?: () => T,
): T[] {
  const result = items.slice();
  for (let n = changes(random); n > 0; n--) {
    const at = below(random, result.length + 1);
    const kind = below(random, fresh ? 7 : 5);
    if (kind === 0) result.splice(at, 1 + below(random, 4));
    else if (kind === 1)
      result.splice(at, 0, ...result.slice(below(random, result.length + 1)).slice(0, 1 + below(random, 8)));
    else if (kind === 2 && at < result.length)
      result.splice(below(random, result.length), 0, ...result.splice(at, 1));
    else if (kind === 3 && at < result.length && result.length < 2000)
      result.splice(at, 0, ...Array.from({ length: below(random, 200) }, () => result[at]));
    else if (kind > 4 && fresh) result.splice(at, 0, ...Array.from({ length: 1 + below(random, 5) }, fresh));
    else if (at < result.length) result[at] = change(result[at]);
  }
  return result;
}

// JSON

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

function odd(random: Random): Json {
  const kind = below(random, 8);
  if (kind === 0) return null;
  if (kind === 1) return random() < 0.5;
  if (kind < 4) return number(random);
  if (kind < 6) return text(random);
  return kind === 6 ? [] : {};
}

function containers(value: Json, into: (Json[] | JsonObject)[] = []): (Json[] | JsonObject)[] {
  if (value === null || typeof value !== "object" || into.length > 3000) return into;
  into.push(value);
  for (const inner of Object.values(value)) containers(inner, into);
  return into;
}

/** One to four changes at places of a JSON value; now and then the whole value becomes another. */
export function mutateJson(value: Json, random: Random): Json {
  if (random() < 0.02) return odd(random);
  const root = structuredClone(value);
  for (let n = changes(random); n > 0; n--) {
    const all = containers(root);
    if (!all.length) return odd(random);
    changeContainer(pick(random, all), all, random);
  }
  return root;
}

function changeContainer(at: Json[] | JsonObject, all: Json[], random: Random): void {
  const keys = Object.keys(at);
  const target = at as Partial<JsonObject>;
  const key = keys.length ? pick(random, keys) : "0";
  switch (below(random, 7)) {
    case 0:
    case 1:
      target[key] = odd(random);
      return;
    case 2:
      if (Array.isArray(at)) at.splice(Number(key), 1);
      else Reflect.deleteProperty(at, key);
      return;
    case 3:
      if (Array.isArray(at)) at.push(...structuredClone(at.slice(0, 1 + below(random, 20))));
      else
        Object.defineProperty(at, text(random), {
          value: target[key] ?? null,
          enumerable: true,
          writable: true,
          configurable: true,
        });
      return;
    case 4:
      target[key] = structuredClone(pick(random, all));
      return;
    case 5:
      for (let depth = 1 + below(random, random() < 0.1 ? 300 : 3); depth > 0; depth--)
        target[key] = random() < 0.5 ? [target[key] ?? null] : { [key]: target[key] ?? null };
      return;
    default:
      if (Array.isArray(at) && at.length && at.length < 500)
        at.push(...Array.from({ length: below(random, 100) }, () => at[0]));
      else target[key] = odd(random);
  }
}

// Protobuf

/** A field of a message: a number, bytes, or (where the caller knows of a message there) fields. */
export interface Message {
  number: number;
  value: bigint | Buffer | Message[];
}

/** A field of a protocol buffer. */
export const message = (number: number, value: bigint | string | Buffer | Message[]): Message => ({
  number,
  value: typeof value === "string" ? Buffer.from(value) : value,
});

export function encodeMessage(fields: readonly Message[]): Buffer {
  return Buffer.concat(
    fields.map((f) => field(f.number, Array.isArray(f.value) ? encodeMessage(f.value) : f.value)),
  );
}

export function mutateMessage(fields: readonly Message[], random: Random): Message[] {
  const nested = fields.filter((f) => Array.isArray(f.value));
  if (nested.length && random() < 0.6) {
    const inner = pick(random, nested);
    return fields.map((f) =>
      f === inner ? { ...f, value: mutateMessage(f.value as Message[], random) } : f,
    );
  }
  const value = (): bigint | Buffer => (random() < 0.5 ? BigInt(Math.trunc(number(random))) : bytes(random));
  return mutateList(
    fields,
    random,
    (f) => (random() < 0.2 ? { ...f, number: 1 + below(random, 20) } : { ...f, value: value() }),
    () => ({ number: 1 + below(random, 16), value: value() }),
  );
}

export function bytes(random: Random): Buffer {
  const kind = below(random, 4);
  if (kind === 0) return Buffer.from(text(random));
  if (kind === 1)
    return Buffer.concat(
      Array.from({ length: below(random, 8) }, () => varint(BigInt(Math.trunc(number(random))))),
    );
  return Buffer.from(Array.from({ length: below(random, kind === 2 ? 16 : 600) }, () => below(random, 256)));
}

// Pickles

/**
 * Bytes of each opcode's argument: a number, "1" or "4" for a length of so many bytes, "line" for two lines.
 */
const ARGUMENTS = new Map<number, number | "1" | "4" | "line">([
  [0x80, 1],
  [0x95, 8],
  [0x4b, 1],
  [0x4d, 2],
  [0x4a, 4],
  [0x8a, "1"],
  [0x47, 8],
  [0x58, "4"],
  [0x8c, "1"],
  [0x55, "1"],
  [0x71, 1],
  [0x72, 4],
  [0x68, 1],
  [0x6a, 4],
  [0x63, "line"],
]);
const PLAIN = Buffer.from("(}])\x85\x86\x87N\x88\x89\x94tae\x93QRsub0\x81.", "latin1");
const GLOBALS = [
  "collections\nOrderedDict",
  "torch._utils\n_rebuild_tensor_v2",
  "torch._utils\n_rebuild_parameter",
  "torch\nFloatStorage",
  "__torch__.M\nN",
  "os\nsystem",
];

/** A pickle as its operations, each an opcode with its argument. */
export function pickleOperations(pickle: Buffer): Buffer[] {
  const operations: Buffer[] = [];
  for (let at = 0; at < pickle.length;) {
    const start = at;
    const argument = ARGUMENTS.get(pickle[at++]);
    if (argument === "line") at = pickle.indexOf(10, pickle.indexOf(10, at) + 1) + 1;
    else if (argument === "1") at += 1 + pickle[at];
    else if (argument === "4") at += 4 + pickle.readUInt32LE(at);
    else at += argument ?? 0;
    operations.push(pickle.subarray(start, at));
    if (pickle[start] === 0x2e) break;
  }
  return operations;
}

function operation(random: Random): Buffer {
  if (random() < 0.5) return Buffer.of(pick(random, [...PLAIN]));
  const [opcode, argument] = pick(random, [...ARGUMENTS]);
  const code = Buffer.from([opcode]);
  if (argument === "line") return Buffer.concat([code, Buffer.from(`${pick(random, GLOBALS)}\n`)]);
  const content = Buffer.from(text(random)).subarray(0, argument === "4" ? 6000 : 255);
  if (argument === "1") return Buffer.concat([code, Buffer.from([content.length]), content]);
  if (argument === "4")
    return Buffer.concat([code, Buffer.from(Uint32Array.of(content.length).buffer), content]);
  return Buffer.concat([
    code,
    Buffer.from(
      Array.from({ length: argument }, () => (random() < 0.7 ? below(random, 8) : below(random, 256))),
    ),
  ]);
}

export function mutateOperations(operations: readonly Buffer[], random: Random): Buffer[] {
  return mutateList(
    operations,
    random,
    () => operation(random),
    () => operation(random),
  );
}
