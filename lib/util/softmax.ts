/** softmax of `scale` × the values, in float64. */
export function softmax(values: ArrayLike<number>, scale = 1): Float64Array {
  const out = Float64Array.from(values, (v) => v * scale);
  let max = -Infinity;
  for (const v of out) if (v > max) max = v; // a spread of so many values would overflow the stack
  let sum = 0;
  for (let i = 0; i < out.length; i++) sum += out[i] = Math.exp(out[i] - max);
  for (let i = 0; i < out.length; i++) out[i] /= sum;
  return out;
}
