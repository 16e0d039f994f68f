import { openFile, readExactly } from "../../util/untrusted.js";
import { TorchclipError } from "../../errors.js";
import type { TensorPart } from "../../addon.js";
import { elements } from "./types.js";

/** The values of a stored tensor as float32, in the order of the file. E_MODEL_UNSUPPORTED for integers. */
export async function readFloats(part: TensorPart): Promise<Float32Array> {
  const { handle } = await openFile(part.file);
  try {
    return floatsOf(await readExactly(handle, part.offset, part.bytes), part);
  } finally {
    await handle.close();
  }
}

function floatsOf(bytes: Buffer, { dtype, shape, file }: TensorPart): Float32Array {
  const count = elements(shape);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // What little-endian machines hold is what the file holds, and a new buffer begins at a multiple of 8 bytes.
  if (dtype === "F32" && bytes.byteOffset % 4 === 0) {
    return new Float32Array(bytes.buffer, bytes.byteOffset, count);
  }
  const out = new Float32Array(count);
  const reader = READERS[dtype];
  if (!reader) {
    throw new TorchclipError("E_MODEL_UNSUPPORTED", `${file} holds a tensor of ${dtype}, not of floats`, {
      subject: file,
    });
  }
  for (let i = 0; i < count; i++) out[i] = reader(view, i);
  return out;
}

const READERS: Record<string, ((view: DataView, i: number) => number) | undefined> = {
  F32: (view, i) => view.getFloat32(4 * i, true),
  F64: (view, i) => view.getFloat64(8 * i, true),
  F16: (view, i) => halfToFloat(view.getUint16(2 * i, true)),
  BF16: (view, i) => {
    SCRATCH.setUint32(0, view.getUint16(2 * i, true) << 16);
    return SCRATCH.getFloat32(0);
  },
};

const SCRATCH = new DataView(new ArrayBuffer(4));

/** IEEE 754 binary16. */
function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
