import type { RawImage } from "../decode.js";
import type { Samples } from "./plan.js";

export function labToRgb({ data: from, width, height }: Samples): RawImage {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i += 3) data.set(rgbOf(from[i], from[i + 1], from[i + 2]), i);
  return { data, width, height, channels: 3 };
}
const inv = (t: number) => (t > 24 / 116 ? t ** 3 : (108 / 841) * (t - 16 / 116));
const gamma = (v: number) => Math.round(255 * Math.max(0, Math.min(1, v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055)));
function rgbOf(l8: number, a8: number, b8: number): number[] {
  const fy = ((l8 / 255) * 100 + 16) / 116;
  const signed = (v: number) => (v > 127 ? v - 256 : v);
  const [x, y, z] = [0.9642 * inv(fy + signed(a8) / 500), inv(fy), 0.8249 * inv(fy - signed(b8) / 200)];
  return [3.1338561 * x - 1.6168667 * y - 0.4906146 * z, -0.9787684 * x + 1.9161415 * y + 0.033454 * z, 0.0719453 * x - 0.2289914 * y + 1.4052427 * z].map(
    gamma,
  );
}
