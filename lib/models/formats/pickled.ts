import { shown } from "../../util/untrusted.js";
import { SLOT_BYTES, STRING_BYTES, type Budget } from "./budget.js";
import type { Dtype } from "./types.js";

/**
 * What a pickle may hold besides numbers, strings, booleans, null, lists (arrays) and dictionaries (Maps).
 */
export class PickledStorage {
  constructor(
    readonly dtype: Dtype,
    /** Name of the record in the archive's data folder. */
    readonly key: string,
    readonly elements: number,
  ) {}
}

export class PickledTensor {
  constructor(
    readonly storage: PickledStorage,
    readonly offset: number,
    readonly shape: number[],
    readonly stride: number[],
  ) {}
}

/** An object of a TorchScript archive's class: its attributes, never a real instance. */
export class PickledObject {
  state: unknown;
  constructor(readonly className: string) {}
}

/** A class or function that a pickle names; nothing is imported. */
export class PickledGlobal {
  constructor(readonly name: string) {}
}

export type PickledKey = string | number | boolean | null;
export type PickledMap = Map<PickledKey, unknown>;

const MOST_LEVELS = 128;
const MOST_PATH = 4096;

/**
 * The named tensors of an unpickled state dict, or of a module: attribute paths joined by dots. A container
 * that occurs twice counts once, so that cycles end. `budget` pays for the names; `error` makes what is
 * thrown for names that nobody needs: deeper than 128 levels, longer than 4,096 characters.
 */
export function namedTensors(
  root: unknown,
  budget: Budget,
  error: (why: string) => Error,
): Map<string, PickledTensor> {
  const found = new Map<string, PickledTensor>();
  const seen = new Set<unknown>();
  const open: Iterator<[string, unknown]>[] = [];
  const enter = (value: unknown, path: string): void => {
    if (value instanceof PickledTensor) {
      budget.take(SLOT_BYTES + STRING_BYTES + path.length);
      found.set(path, value);
      return;
    }
    const inner = value instanceof PickledObject ? value.state : value;
    if (!(inner instanceof Map) || seen.has(inner)) return;
    if (open.length === MOST_LEVELS)
      throw error(`its dictionaries are nested deeper than ${MOST_LEVELS} levels`);
    seen.add(inner);
    open.push(children(inner as PickledMap, path));
  };
  enter(root, "");
  for (let inmost = open.at(-1); inmost !== undefined; inmost = open.at(-1)) {
    const next = inmost.next();
    if (next.done) {
      open.pop();
      continue;
    }
    const [path, value] = next.value;
    if (path.length > MOST_PATH)
      throw error(`the name ${shown(path)} is longer than ${MOST_PATH} characters`);
    enter(value, path);
  }
  return found;
}

function* children(map: PickledMap, path: string): Generator<[string, unknown]> {
  for (const [key, value] of map) {
    // Only what may hold tensors needs a name.
    if (value === null || typeof value !== "object") continue;
    yield [path ? `${path}.${String(key)}` : String(key), value];
  }
}
