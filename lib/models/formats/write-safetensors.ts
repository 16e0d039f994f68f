import { writeWhole, type NewFile } from "../../util/files.js";
import { elements } from "./types.js";

/** A float32 tensor that is written; its values are asked for when its turn comes. */
export interface WrittenTensor {
  name: string;
  shape: readonly number[];
  /** float32, row-major. */
  read: () => Promise<Float32Array> | Float32Array;
}

/**
 * Writes float32 tensors as a .safetensors file, whole or not at all. One tensor is in memory at a time.
 *
 * @param metadata Strings for `__metadata__`.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly WrittenTensor[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await writeWhole(path, async (file) => {
    await file.write(headerOf(tensors, metadata));
    for (const tensor of tensors) await writeTensor(file, tensor);
  });
}

/** The length of the header, and the header, padded so that the data begins at a multiple of 8 bytes. */
function headerOf(tensors: readonly WrittenTensor[], metadata: Readonly<Record<string, string>>): Buffer {
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {};
  let end = 0;
  for (const { name, shape } of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, (end += 4 * elements(shape))] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded]);
}

async function writeTensor(file: NewFile, { name, shape, read }: WrittenTensor): Promise<void> {
  const values = await read();
  if (values.length !== elements(shape)) {
    throw new RangeError(`${name} has ${values.length} values, its shape [${shape.join(", ")}] others`);
  }
  await file.write(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}
