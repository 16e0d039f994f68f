import { TorchclipError, type ErrorCode } from "../errors.js";

/** An address that was asked and failed. */
export interface Failure<A> {
  address: A;
  error: unknown;
}

export interface FallbackOptions<A> {
  signal: AbortSignal | undefined;
  /** Codes of errors that another address would not change: they are thrown at once. */
  fatal: readonly ErrorCode[];
  /** Told of a failure before the next address is asked. */
  onNext: (failure: Failure<A>, next: A) => void;
}

/**
 * Asks addresses in their order until one answers: its answer, or why each of them failed. Throws E_ABORTED
 * when the signal has fired, and errors of the codes in `fatal`.
 */
export async function firstAnswer<A, T>(
  addresses: readonly A[],
  ask: (address: A) => Promise<T>,
  { signal, fatal, onNext }: FallbackOptions<A>,
): Promise<{ answer: T } | { failures: Failure<A>[] }> {
  const failures: Failure<A>[] = [];
  for (const address of addresses) {
    const last = failures.at(-1);
    if (last) onNext(last, address);
    try {
      return { answer: await ask(address) };
    } catch (error) {
      if (signal?.aborted) throw new TorchclipError("E_ABORTED", "aborted", { cause: error });
      if (error instanceof TorchclipError && fatal.includes(error.code)) throw error;
      failures.push({ address, error });
    }
  }
  return { failures };
}
