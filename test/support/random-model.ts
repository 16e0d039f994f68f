import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { noise } from "./noise.js";

/** One parameter of the random models of scripts/goldens/families.py (`weight` there). */
function familyWeight(index: number, name: string, shape: number[]): Float32Array {
  const n = shape.reduce((a, b) => a * b, 1);
  const last = name.slice(name.lastIndexOf(".") + 1);
  const scale = Math.sqrt(3 / shape.slice(1).reduce((a, b) => a * b, 1));
  const values = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const u = noise(3000 + index, i) / 2 ** 31 - 1;
    if (last === "logit_scale") values[i] = 4.6052;
    else if (last === "logit_bias") values[i] = -10;
    else if (last.startsWith("gamma")) values[i] = 0.5 + 0.1 * u;
    else if (shape.length <= 1) values[i] = last === "weight" || last === "running_var" ? 1 + 0.1 * u : 0.05 * u;
    else values[i] = scale * u;
  }
  return values;
}

/** Writes a random model of scripts/goldens/families.py as safetensors. */
export function writeFamilyModel(file: string, shapes: [string, number[]][]): void {
  const header: Record<string, unknown> = {};
  const parts: Float32Array[] = [];
  let offset = 0;
  shapes.forEach(([name, shape], index) => {
    const values = familyWeight(index, name, shape);
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
    parts.push(values);
  });
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(file, Buffer.concat([length, text, ...parts.map((p) => Buffer.from(p.buffer))]));
}

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
