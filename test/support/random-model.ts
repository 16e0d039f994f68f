import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { noise } from "./noise.js";
import { safetensors } from "./tiny.js";

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
    else if (shape.length <= 1)
      values[i] = last === "weight" || last === "running_var" ? 1 + 0.1 * u : 0.05 * u;
    else values[i] = scale * u;
  }
  return values;
}

/** fp16 of numbers that are whole 256ths below 8, which it holds exactly. */
function halves(values: Float32Array): Uint16Array {
  return Uint16Array.from(values, (value) => {
    if (value === 0) return 0;
    const exponent = Math.floor(Math.log2(Math.abs(value)));
    const fraction = Math.abs(value) / 2 ** exponent - 1;
    return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | (fraction * 1024);
  });
}

/**
 * Writes a random model of scripts/goldens/families.py as safetensors. `mixed`: matrices rounded to 256ths
 * and stored in fp16, the rest in fp32, as `halves` of scripts/goldens/configs.py.
 */
export function writeFamilyModel(file: string, shapes: [string, number[]][], mixed = false): void {
  const header: Record<string, unknown> = {};
  const parts: (Float32Array | Uint16Array)[] = [];
  let offset = 0;
  shapes.forEach(([name, shape], index) => {
    const weights = familyWeight(index, name, shape);
    const half = mixed && shape.length > 1;
    const values = half ? halves(weights.map((v) => Math.round(v * 256) / 256)) : weights;
    header[name] = { dtype: half ? "F16" : "F32", shape, data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
    parts.push(values);
  });
  const data = Buffer.concat(parts.map((p) => Buffer.from(p.buffer, p.byteOffset, p.byteLength)));
  writeFileSync(file, safetensors(header, data));
}

type Shapes = readonly (readonly [name: string, shape: readonly number[]])[];

/**
 * Begins a safetensors file of fp32 tensors: the open file behind its header, and how many bytes of tensors
 * follow.
 */
function beginSafetensors(file: string, shapes: Shapes): { fd: number; bytes: number } {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const [name, shape] of shapes) {
    const bytes = 4 * shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const fd = openSync(file, "w");
  writeSync(fd, safetensors(header, Buffer.alloc(0)));
  return { fd, bytes: offset };
}

/**
 * Writes a model of any size, quickly: its tensors repeat one run of small random numbers. For what is
 * measured, not compared.
 */
export function writeRepeatedModel(file: string, shapes: Shapes): void {
  const run = Float32Array.from({ length: 1 << 18 }, (_, i) => 0.04 * (noise(7000, i) / 2 ** 31 - 1));
  const { fd, bytes } = beginSafetensors(file, shapes);
  for (let left = bytes; left > 0; left -= run.byteLength)
    writeSync(fd, new Uint8Array(run.buffer, 0, Math.min(left, run.byteLength)));
  closeSync(fd);
}

/** Writes the random ViT-B/32 of scripts/goldens/write.py as Hugging Face's model.safetensors (605 MB). */
export function writeRandomModel(file: string, shapes: [string, number[]][]): void {
  const { fd } = beginSafetensors(file, shapes);
  shapes.forEach(([name, shape], index) => {
    const n = shape.reduce((a, b) => a * b, 1);
    const values = new Float32Array(n);
    const norm = /(layernorm|layrnorm|layer_norm1|layer_norm2|layer_norm)\.weight$/.test(name);
    for (let i = 0; i < n; i++) {
      const u = noise(1000 + index, i) / 2 ** 31 - 1;
      if (name === "logit_scale") values[i] = 4.6052;
      else if (norm) values[i] = 1 + 0.1 * u;
      else values[i] = (name.endsWith("bias") ? 0.02 : 0.04) * u;
    }
    writeSync(fd, new Uint8Array(values.buffer));
  });
  closeSync(fd);
}
