/** softmax of `scale` × the values, in float64. */
export function softmax(values: ArrayLike<number>, scale = 1): Float64Array {
  const out = Float64Array.from(values, (v) => v * scale);
  let max = -Infinity;
  for (const v of out) if (v > max) max = v; // a spread of so many values would overflow the stack
  const powers = out.map((v) => Math.exp(v - max));
  let sum = 0;
  for (const power of powers) sum += power;
  return powers.map((power) => power / sum);
}

/** softmax of `scale` × each row of `width` values, in float64. */
export function softmaxRows(values: Float32Array | Float64Array, width: number, scale = 1): Float64Array {
  const out = new Float64Array(values.length);
  for (let at = 0; at < values.length; at += width)
    out.set(softmax(values.subarray(at, at + width), scale), at);
  return out;
}
