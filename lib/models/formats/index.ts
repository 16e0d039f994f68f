import { open } from "node:fs/promises";
import { TorchclipError } from "../../errors.js";
import { readOnnx } from "./onnx.js";
import { readIndex, readSafetensors } from "./safetensors.js";
import { isLegacyTorch, readLegacyTorch } from "./torch-legacy.js";
import { readTorchArchive } from "./torch-zip.js";
import type { WeightFile } from "./types.js";

export { TorchArchive } from "./torch-zip.js";
export type { StoredTensor, WeightFile } from "./types.js";

/** The tensors of a weight file in any known format, found by its content; for an index, those of all its shards. */
export async function readWeights(file: string): Promise<WeightFile> {
  if (file.endsWith(".index.json")) return readIndex(file, readWeights);
  const head = await readHead(file);
  if (head.readUInt32LE(0) === 0x04034b50) return readTorchArchive(file);
  if (isLegacyTorch(head)) return readLegacyTorch(file);
  // A safetensors file starts with the length of its header, then JSON.
  if (file.endsWith(".safetensors") || head.readUInt8(8) === 0x7b) return readSafetensors(file);
  if (file.endsWith(".onnx")) return readOnnx(file);
  throw new TorchclipError(
    "E_MODEL_CORRUPT",
    `${file} is neither a PyTorch archive, a state dict, safetensors nor ONNX (it starts with ${head.subarray(0, 8).toString("hex")})`,
    { subject: file },
  );
}

async function readHead(file: string): Promise<Buffer> {
  const handle = await open(file);
  try {
    const head = Buffer.alloc(16);
    await handle.read(head, 0, 16, 0);
    return head;
  } finally {
    await handle.close();
  }
}
