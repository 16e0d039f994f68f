import { readFileSync } from "node:fs";
import { addon } from "../../lib/addon.js";
import { readTorchArchive } from "../../lib/models/formats/torch-zip.js";
import { tinyModel } from "./index.js";

/** The bytes of a .safetensors file. */
export function safetensors(header: object, data: Uint8Array): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

/**
 * The tensors of the tiny artifact as one .safetensors file in OpenAI's layout, with its config or without.
 */
export async function tinySafetensors(metadata = true): Promise<Buffer> {
  const weights = await readTorchArchive(tinyModel);
  const bytes = readFileSync(tinyModel);
  const config = JSON.stringify({ activation: "quick_gelu", vision_heads: 4, text_heads: 2 });
  const header: Record<string, unknown> = metadata ? { __metadata__: { config } } : {};
  const parts: Buffer[] = [];
  let at = 0;
  for (const [name, t] of weights.tensors) {
    header[name] = { dtype: t.dtype, shape: t.shape, data_offsets: [at, at + t.bytes] };
    parts.push(bytes.subarray(t.offset, t.offset + t.bytes));
    at += t.bytes;
  }
  return safetensors(header, Buffer.concat(parts));
}

export async function tinyTokenizer(): Promise<string> {
  const engine = new (addon().Engine)();
  const { extra } = await engine.load(tinyModel, "cpu", "fp32", 0, false, false, false, 0);
  await engine.close();
  return extra["tokenizer.json"];
}
