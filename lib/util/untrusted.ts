import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { TorchclipError, type ErrorCode } from "../errors.js";
import { readAll } from "./files.js";

export type JsonObject = Record<string, unknown>;

/** Limits of JSON from outside: the largest published tokenizer.json has 2 million values in 6 levels. */
const JSON_DEPTH = 100;
const JSON_VALUES = 8_000_000;
/** Characters of a name that a message shows. */
const SHOWN = 100;

/**
 * Checks values that a file holds. Each check returns the value in its type or throws a TorchclipError of
 * `code` that names `file`; `what` says in the message which value it is.
 */
export class Untrusted {
  constructor(
    readonly code: ErrorCode,
    readonly file: string,
  ) {}

  /** The error to throw: `why` is the end of a sentence that begins with the file's name. */
  error(why: string, cause?: unknown): TorchclipError {
    return new TorchclipError(this.code, `${this.file}: ${why}`, {
      subject: this.file,
      ...(cause === undefined ? {} : { cause }),
    });
  }

  /** A value of JSON text, not nested deeper than 100 levels and of at most 8 million values. */
  json(text: string, what = "it"): unknown {
    checkJsonSize(text, (why) => this.error(`${what} ${why}`));
    return this.largeJson(text, what);
  }

  /** A value of JSON text without these limits: for files that hold more values than a tokenizer. */
  largeJson(text: string, what = "it"): unknown {
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw this.error(`${what} is not JSON: ${shown((cause as Error).message)}`, cause);
    }
  }

  /** An object that is no array. */
  object(value: unknown, what: string): JsonObject {
    if (!isObject(value)) throw this.error(`${what} must be an object, not ${kindOf(value)}`);
    return value;
  }

  array(value: unknown, what: string, most = Infinity): unknown[] {
    if (!Array.isArray(value)) throw this.error(`${what} must be a list, not ${kindOf(value)}`);
    if (value.length > most) throw this.error(`${what} has ${value.length} items, more than ${most}`);
    return value;
  }

  text(value: unknown, what: string, most = Infinity): string {
    if (typeof value !== "string") throw this.error(`${what} must be a string, not ${kindOf(value)}`);
    if (value.length > most) throw this.error(`${what} has ${value.length} characters, more than ${most}`);
    return value;
  }

  /** One of a few strings. */
  choice<T extends string>(value: unknown, choices: readonly T[], what: string): T {
    const choice = choices.find((one) => one === value);
    if (choice !== undefined) return choice;
    const found = typeof value === "string" ? JSON.stringify(shown(value)) : kindOf(value);
    throw this.error(`${what} must be ${choices.join(", ")}, not ${found}`);
  }

  boolean(value: unknown, what: string): boolean {
    if (typeof value !== "boolean") throw this.error(`${what} must be true or false, not ${kindOf(value)}`);
    return value;
  }

  number(value: unknown, what: string): number {
    if (typeof value !== "number" || !Number.isFinite(value))
      throw this.error(`${what} must be a number, not ${kindOf(value)}`);
    return value;
  }

  /** A whole number in `least` … `most`. */
  count(value: unknown, what: string, least = 0, most = Number.MAX_SAFE_INTEGER): number {
    if (isWhole(value) && value >= least && value <= most) return value;
    const found = typeof value === "number" ? value : kindOf(value);
    throw this.error(`${what} must be a whole number in ${least} to ${most}, not ${found}`);
  }

  /** Sizes of a tensor's axes, at most 64, whose product is a number that doubles hold exactly. */
  shape(value: unknown, what: string): number[] {
    const sizes = this.array(value, what, 64).map((size, axis) => this.count(size, `${what}[${axis}]`));
    if (!Number.isSafeInteger(sizes.reduce((product, size) => product * size, 1)))
      throw this.error(`${what} has too many elements`);
    return sizes;
  }

  /**
   * Runs a reader; an error that is none of torchclip's (a RangeError, a failed read) becomes one of `code`.
   */
  async guard<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (cause) {
      if (cause instanceof TorchclipError) throw cause;
      throw this.error(`it cannot be read: ${shown((cause as Error).message)}`, cause);
    }
  }
}

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value);

/** Whether a value is an object that is no array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A name out of a file as messages show it: without control characters, cut where it is long. */
export function shown(name: string): string {
  const start = name.length > SHOWN ? `${name.slice(0, SHOWN)}…` : name;
  return start.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, "\ufffd");
}

/** What a value is, for messages; never the value itself, which may be of any size. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "missing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "number") return `the number ${value}`;
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

// Windows has no such flag, although the types have it.
const flags: Partial<typeof constants> = constants;

/** Flags to open a file for reading. Without O_NONBLOCK the opening of a pipe waits for a writer. */
export const READ_AT_ONCE = constants.O_RDONLY | (flags.O_NONBLOCK ?? 0);

/**
 * Opens a regular file for reading. E_MODEL_NOT_FOUND with the system's reason where that fails (no
 * permission, no file handles left), E_MODEL_CORRUPT where it is a device, a pipe or a folder, which might
 * never end.
 */
export async function openFile(file: string): Promise<{ handle: FileHandle; size: number }> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, READ_AT_ONCE);
    const info = await handle.stat();
    if (info.isFile()) return { handle, size: info.size };
  } catch (cause) {
    await handle?.close();
    throw new TorchclipError("E_MODEL_NOT_FOUND", `${file} cannot be opened: ${(cause as Error).message}`, {
      subject: file,
      cause,
    });
  }
  await handle.close();
  throw new TorchclipError("E_MODEL_CORRUPT", `${file} is no regular file`, { subject: file });
}

/** The object in a JSON file; the file has at most `most` bytes. */
export async function readJsonObject(file: string, most: number): Promise<JsonObject> {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const { handle, size } = await openFile(file);
  try {
    if (size > most) throw check.error(`${size} bytes are more than the ${most} that such a file may have`);
    const bytes = await check.guard(() => readExactly(handle, 0, size));
    return check.object(check.json(bytes.toString("utf8")), "it");
  } finally {
    await handle.close();
  }
}

/** Fills a new buffer from a file; throws where the file ends before. */
export async function readExactly(handle: FileHandle, offset: number, bytes: number): Promise<Buffer> {
  const result = Buffer.alloc(bytes);
  const read = await readAll(handle, result, offset);
  if (read < bytes) throw new Error(`the file ends at byte ${offset + read}, before byte ${offset + bytes}`);
  return result;
}

/**
 * Counts brackets and commas before anything is allocated for them: `[[],[],…` takes 16 times its length in
 * memory.
 */
function checkJsonSize(text: string, error: (why: string) => Error): void {
  let depth = 0;
  let values = 0;
  for (let i = 0; i < text.length; i++) {
    const letter = text.charCodeAt(i);
    if (letter === 0x22) {
      i = endOfString(text, i);
    } else if (letter === 0x7b || letter === 0x5b) {
      values++;
      if (++depth > JSON_DEPTH) throw error(`is nested deeper than ${JSON_DEPTH} levels`);
    } else if (letter === 0x7d || letter === 0x5d) {
      depth--;
    } else if (letter === 0x2c) {
      values++;
    }
    if (values > JSON_VALUES) throw error(`holds more than ${JSON_VALUES} values`);
  }
}

/** Where the string that begins at `start` ends: at a quote with an even number of backslashes before it. */
function endOfString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    const letter = text.charCodeAt(i);
    if (letter === 0x5c) i++;
    else if (letter === 0x22) return i;
  }
  return text.length;
}
