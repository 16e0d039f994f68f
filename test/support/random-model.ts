import { closeSync, openSync, writeSync } from "node:fs";
import { noise } from "./noise.js";

/** Writes the random ViT-B/32 of scripts/goldens/write.py as Hugging Face's model.safetensors (605 MB). */
export function writeRandomModel(file: string, shapes: [string, number[]][]): void {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const [name, shape] of shapes) {
    const bytes = 4 * shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const fd = openSync(file, "w");
  writeSync(fd, length);
  writeSync(fd, text);
  shapes.forEach(([name, shape], index) => {
    const n = shape.reduce((a, b) => a * b, 1);
    const values = new Float32Array(n);
    const norm = /(layernorm|layrnorm|layer_norm1|layer_norm2|layer_norm)\.weight$/.test(name);
    for (let i = 0; i < n; i++) {
      const u = noise(1000 + index, i) / 2 ** 31 - 1;
      values[i] = name === "logit_scale" ? 4.6052 : norm ? 1 + 0.1 * u : name.endsWith("bias") ? 0.02 * u : 0.04 * u;
    }
    writeSync(fd, new Uint8Array(values.buffer));
  });
  closeSync(fd);
}
