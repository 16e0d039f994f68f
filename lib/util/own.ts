import { setImmediate as nextTurn } from "node:timers/promises";
import { types } from "node:util";
import { TorchclipError } from "../errors.js";

/** Copied without a pause: a millisecond or two of the event loop. */
const AT_ONCE_BYTES = 4 << 20;

type Values = Uint8Array | Uint8ClampedArray | Int32Array | Float32Array;
type Owned<T extends Values> = T extends Uint8Array | Uint8ClampedArray ? Uint8Array : T;
type Constructor<T> = new (from: ArrayBufferLike | number, offset?: number, length?: number) => T;

export interface Part<T> {
  /** Elements [start, end) alone; default: all. */
  start?: number;
  end?: number;
  /** Where the copy goes, at least as long; default: new memory. */
  into?: T;
}

/**
 * The values in memory that nobody else can transfer, detach or free while native code works on them: a copy.
 * The first 4 MiB are copied before the call returns; larger arrays in several turns of the event loop, and a
 * buffer that is transferred or detached meanwhile is E_ARGUMENT. Memory of a SharedArrayBuffer can do
 * neither and is used where it lies: the way to hand over large inputs without a copy. A view of a resizable
 * ArrayBuffer is E_ARGUMENT.
 *
 * @param name What messages call the values.
 */
export async function own<T extends Values>(
  values: T,
  name: string,
  part: Part<Owned<T>> = {},
): Promise<Owned<T>> {
  const { buffer, byteOffset, byteLength } = values;
  const { start: first = 0, end = values.length } = part;
  if (values.length < end) throw lost(name);
  // Not by instanceof: a buffer of another realm (vm, Jest) is one as well.
  const isShared = types.isSharedArrayBuffer(buffer);
  if (!isShared && (buffer as { resizable?: boolean }).resizable)
    throw new TorchclipError(
      "E_ARGUMENT",
      `${name}: a view of a resizable ArrayBuffer is not taken, give a copy of it`,
      { subject: name },
    );
  const type = constructorOf(values) as Constructor<Owned<T>>;
  const size = values.BYTES_PER_ELEMENT;
  if (isShared) return new type(buffer, byteOffset + first * size, end - first);
  const copy = part.into ?? new type(end - first);
  const step = AT_ONCE_BYTES / size;
  for (let at = first; at < end; at += step) {
    if (at > first) await nextTurn();
    if (values.byteLength !== byteLength) throw lost(name);
    copy.set(new type(buffer, byteOffset + at * size, Math.min(step, end - at)), at - first);
  }
  return copy.length === end - first ? copy : (copy.subarray(0, end - first) as Owned<T>);
}

function lost(name: string): TorchclipError {
  return new TorchclipError(
    "E_ARGUMENT",
    `${name}: the buffer was transferred or detached before it was read`,
    { subject: name },
  );
}

function constructorOf(values: Values): unknown {
  if (types.isFloat32Array(values)) return Float32Array;
  return types.isInt32Array(values) ? Int32Array : Uint8Array;
}
