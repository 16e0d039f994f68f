import { TorchclipError } from "../../errors.js";
import { openFile, Untrusted } from "../../util/untrusted.js";
import { readOnnx } from "./onnx.js";
import { readSafetensors } from "./safetensors.js";
import { isLegacyTorch, readLegacyTorch } from "./torch-legacy.js";
import { readTorchArchive } from "./torch-zip.js";
import type { WeightFile } from "./types.js";
import { isIndex, readIndex } from "./weight-index.js";

/**
 * The tensors of a weight file in any known format, found by its content; for an index, those of all its
 * shards. Fails with E_MODEL_NOT_FOUND (cannot be opened), E_MODEL_CORRUPT, E_MODEL_UNSAFE or
 * E_MODEL_UNSUPPORTED.
 */
export async function readWeights(file: string): Promise<WeightFile> {
  return isIndex(file) ? readIndex(file, readWeightFile) : readWeightFile(file);
}

async function readWeightFile(file: string): Promise<WeightFile> {
  const head = await readHead(file);
  if (head.readUInt32LE(0) === 0x04034b50) return readTorchArchive(file);
  if (isLegacyTorch(head)) return readLegacyTorch(file);
  // A safetensors file starts with the length of its header, then JSON.
  if (file.endsWith(".safetensors") || head.readUInt8(8) === 0x7b) return readSafetensors(file);
  if (file.endsWith(".onnx")) return readOnnx(file);
  const start = head.subarray(0, 8).toString("hex");
  throw new TorchclipError(
    "E_MODEL_CORRUPT",
    `${file} is neither a PyTorch archive, a state dict, safetensors nor ONNX (it starts with ${start})`,
    { subject: file },
  );
}

/** The first 16 bytes, zeros where the file is shorter. */
async function readHead(file: string): Promise<Buffer> {
  const { handle } = await openFile(file);
  try {
    const head = Buffer.alloc(16);
    await new Untrusted("E_MODEL_CORRUPT", file).guard(() => handle.read(head, 0, 16, 0));
    return head;
  } finally {
    await handle.close();
  }
}
