/**
 * Runs `work` for 0 … n-1, at most `limit` at once; rejects with the failure of the lowest index that failed
 * first.
 */
export async function forEachLimited(
  n: number,
  limit: number,
  work: (i: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  let failed = false;
  const worker = async () => {
    while (next < n && !failed) {
      try {
        await work(next++);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: Math.min(limit, n) }, worker));
  const failures = results
    .filter((result) => result.status === "rejected")
    .map(({ reason }) => reason as unknown);
  failures.sort((a, b) => indexOf(a) - indexOf(b));
  if (failures.length > 0) throw failures[0];
}

/** The item that an error is about; -1 where it says none. */
function indexOf(error: unknown): number {
  return (error as { index?: number } | undefined)?.index ?? -1;
}

/** What `work` gives for each item, in the order of the items, at most `limit` at once. */
export async function mapLimited<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T, i: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  await forEachLimited(items.length, limit, async (i) => {
    results[i] = await work(items[i] as T, i);
  });
  return results;
}

/**
 * Items in lists of `size`, the last one of what is left. An error of the iterator itself is passed through
 * `failed`.
 */
export async function* chunks<T>(
  items: Iterable<T> | AsyncIterable<T>,
  size: number,
  failed: (index: number, cause: unknown) => unknown = (_index, cause) => cause,
): AsyncGenerator<T[], void, undefined> {
  let chunk: T[] = [];
  let index = 0;
  try {
    for await (const item of items) {
      index++;
      chunk.push(item);
      if (chunk.length === size) {
        yield chunk;
        chunk = [];
      }
    }
  } catch (cause) {
    throw failed(index, cause);
  }
  if (chunk.length) yield chunk;
}
