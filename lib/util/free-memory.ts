/** Smaller memory is left to the garbage collector. */
const LEAST_BYTES = 16 << 10;

type Detach = (buffer: ArrayBuffer) => void;

let detach: Detach | undefined;

/** The addon, when it is loaded, gives what detaches a buffer: Node 20 has no `ArrayBuffer.prototype.transfer`. */
export function setDetach(native: Detach): void {
  detach = native;
}

/**
 * Frees the memory of `data` at once, if it is the whole of its buffer, instead of leaving it to the garbage
 * collector: V8 counts the memory of buffers, and half a megabyte of pixels for each image would make it collect
 * the whole heap several times a second, which stops the event loop for milliseconds each time. The memory must be
 * ours, and nothing may read or write it any more. Shared memory is the caller's, and stays.
 */
export function freeMemory(data: Uint8Array): void {
  const { buffer, byteOffset, byteLength } = data;
  // A part of a buffer may lie in Node's pool, which holds others as well. A file was read with a byte to spare.
  const isWhole = byteOffset === 0 && byteLength >= buffer.byteLength - 1;
  if (buffer instanceof ArrayBuffer && isWhole && byteLength >= LEAST_BYTES) detach?.(buffer);
}
