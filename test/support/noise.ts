/** The same images and weights as scripts/goldens/write.py, from a counter-based hash. */
export function noise(seed: number, i: number): number {
  let h = (Math.imul(i, 2654435761) + seed * 40503) >>> 0;
  h = (h ^ (h >>> 15)) >>> 0;
  h = Math.imul(h, 2246822519) >>> 0;
  return (h ^ (h >>> 13)) >>> 0;
}

export function noiseImage(seed: number, width: number, height: number, channels: 1 | 3 | 4) {
  const n = width * height * channels;
  const step = Math.max(1, Math.floor(n / 97));
  const data = new Uint8Array(n);
  for (let i = 0; i < n; i++) data[i] = (noise(seed, i) & 127) + (Math.floor((i * 97) / step) % 128);
  return { data, width, height, channels };
}
