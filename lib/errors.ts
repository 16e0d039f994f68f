/**
 * Every error that torchclip throws on purpose. Each code has a paragraph in docs/errors.md.
 */
export type ErrorCode =
  | "E_ARGUMENT"
  | "E_ADDON"
  | "E_MODEL_NOT_FOUND"
  | "E_MODEL_CORRUPT"
  | "E_MODEL_UNSAFE"
  | "E_MODEL_UNSUPPORTED"
  | "E_CUDA_UNAVAILABLE"
  | "E_OUT_OF_MEMORY"
  | "E_ABORTED"
  | "E_BUSY"
  | "E_CLOSED"
  | "E_WRITE"
  | "E_INDEX_NOT_FOUND"
  | "E_INDEX_CORRUPT"
  | "E_INTERNAL"
  | "E_IMAGE_READ"
  | "E_IMAGE_DECODE"
  | "E_IMAGE_TOO_LARGE"
  | "E_TEXT_TOO_LONG"
  | "E_DATASET_NOT_FOUND"
  | "E_DATASET_FORMAT"
  | "E_DATASET_EMPTY"
  | "E_LABEL_UNKNOWN"
  | "E_DOWNLOAD"
  | "E_OFFLINE"
  | "E_HASH_MISMATCH"
  | "E_LOCKED";

export interface ErrorSubject {
  /** Position of the bad item in the batch or list that was given. */
  index?: number;
  /** The file, option or URL that the error is about. */
  subject?: string;
  cause?: unknown;
}

export class TorchclipError extends Error {
  override readonly name = "TorchclipError";
  readonly index?: number;
  readonly subject?: string;

  constructor(
    readonly code: ErrorCode,
    message: string,
    about: ErrorSubject = {},
  ) {
    super(message, about.cause === undefined ? undefined : { cause: about.cause });
    if (about.index !== undefined) this.index = about.index;
    if (about.subject !== undefined) this.subject = about.subject;
  }
}

/**
 * An error of the addon or of a library as a TorchclipError; those that are one already stay as they are.
 * `fallback` is the code where the error carries none of ours.
 */
export function toTorchclipError(error: unknown, fallback: ErrorCode = "E_INTERNAL", about: ErrorSubject = {}): TorchclipError {
  if (error instanceof TorchclipError) return error;
  const { code, message, errno } = error as { code?: string; message?: string; errno?: number };
  const known = typeof code === "string" && code.startsWith("E_") && errno === undefined;
  const converted = new TorchclipError(known ? (code as ErrorCode) : fallback, message ?? String(error), { cause: error, ...about });
  return converted;
}

/** Throws E_ABORTED where the signal has fired. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal);
}

export function abortedError(signal: AbortSignal): TorchclipError {
  return new TorchclipError("E_ABORTED", "aborted", { cause: signal.reason });
}
