import { open } from "node:fs/promises";
import { cannotRead } from "../errors.js";
import { readExactly } from "./untrusted.js";

/** Bytes of a file. Throws E_IMAGE_READ where it is shorter than it was, or cannot be read. */
export async function readRange(file: string, at: number, bytes: number): Promise<Buffer> {
  try {
    const handle = await open(file);
    return await readExactly(handle, at, bytes).finally(() => handle.close());
  } catch (cause) {
    throw cannotRead("E_IMAGE_READ", file, cause);
  }
}
