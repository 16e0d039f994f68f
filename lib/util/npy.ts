import { rm } from "node:fs/promises";
import { endianness } from "node:os";
import { TorchclipError } from "../errors.js";
import { NewFile, writeWhole, writing } from "./files.js";

/** https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0. */
const MAGIC = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
/** The header is padded to this length, so that it can be written before the number of rows is known. */
const HEADER_BYTES = 128;

/** The header of a C-ordered matrix of little-endian float32. */
export function npyHeader(rows: number, dim: number): Buffer {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${dim}), }`;
  const length = HEADER_BYTES - MAGIC.length - 2;
  const size = Buffer.alloc(2);
  size.writeUInt16LE(length);
  return Buffer.concat([MAGIC, size, Buffer.from(`${text.padEnd(length - 1)}\n`, "latin1")]);
}

/** float32 as bytes, in the order that files have. */
export function floatBytes(data: Float32Array): Uint8Array {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return endianness() === "LE" ? bytes : Buffer.from(bytes).swap32();
}

/** Writes a matrix whose parts come one after another. */
export async function writeNpy(
  file: NewFile,
  rows: number,
  dim: number,
  parts: AsyncIterable<Float32Array> | Iterable<Float32Array>,
): Promise<void> {
  await file.write(npyHeader(rows, dim));
  let written = 0;
  for await (const part of parts) {
    await file.write(floatBytes(part));
    written += part.length;
  }
  if (written !== rows * dim)
    throw new TorchclipError("E_INTERNAL", `${file.path}: ${written} values for ${rows} × ${dim}`);
}

/**
 * OUT.npy and OUT.npy.json, which holds `about`: both are written before either takes its name, and the old
 * JSON never lies beside new rows. `write` writes the rows.
 */
export async function writeNpyWithJson(
  out: string,
  about: object,
  write: (file: NewFile) => Promise<void>,
): Promise<void> {
  const json = await NewFile.create(`${out}.json`);
  try {
    await json.write(`${JSON.stringify(about)}\n`);
    await json.sync();
    await writeWhole(out, async (rows) => {
      await write(rows);
      await rows.sync();
      await writing(json.path, () => rm(json.path, { force: true }));
    });
    await json.place();
  } catch (error) {
    await json.discard();
    throw error;
  }
}
