import { toTorchclipError } from "../errors.js";
import type { Tokens } from "../text/tokenize.js";
import { untilAborted } from "../util/abort.js";

interface BatchRun {
  batchSize: number;
  /** Copies of the model: as many batches run at once. */
  replicas: number;
  signal?: AbortSignal;
}

/** Runs rows [start, start + count) one batch after another; ends with the signal. */
export async function runBatches(
  rows: number,
  { batchSize, replicas, signal }: BatchRun,
  run: (start: number, count: number, cancel: Int32Array) => Promise<unknown>,
): Promise<void> {
  const cancel = new Int32Array(1);
  const stop = () => Atomics.store(cancel, 0, 1);
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const running: Promise<unknown>[] = [];
    for (let start = 0; start < rows; start += batchSize) {
      const batch = run(start, Math.min(batchSize, rows - start), cancel);
      batch.catch(() => undefined); // awaited below; an earlier failure may leave it behind
      running.push(batch);
      if (running.length < replicas) continue;
      const [first] = running.splice(0, 1);
      await untilAborted(first, signal);
    }
    for (const batch of running) await untilAborted(batch, signal);
  } catch (error) {
    throw toTorchclipError(error);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/**
 * Rows [start, start + rows) without the columns that are padding in all of them: exact, where text is
 * causal.
 */
export function trimPadding(
  tokens: Tokens,
  start: number,
  rows: number,
  trims: boolean,
  padId: number,
): { data: Int32Array; length: number } {
  let length = trims ? 1 : tokens.length;
  for (let r = start; r < start + rows; r++) {
    let end = tokens.length;
    while (end > length && tokens.data[r * tokens.length + end - 1] === padId) end--;
    length = Math.max(length, end);
  }
  const data = new Int32Array(rows * length);
  for (let r = 0; r < rows; r++) {
    const from = (start + r) * tokens.length;
    data.set(tokens.data.subarray(from, from + length), r * length);
  }
  return { data, length };
}
