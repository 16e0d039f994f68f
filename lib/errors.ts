import { getSystemErrorMap } from "node:util";
import { redactText } from "./redact.js";

/** The codes of all errors that leave torchclip. Each has a line in docs/errors.md. */
export const ERROR_CODES = [
  "E_ARGUMENT",
  "E_ADDON",
  "E_MODEL_NOT_FOUND",
  "E_MODEL_CORRUPT",
  "E_MODEL_UNSAFE",
  "E_MODEL_UNSUPPORTED",
  "E_CUDA_UNAVAILABLE",
  "E_PRECISION",
  "E_OUT_OF_MEMORY",
  "E_ABORTED",
  "E_BUSY",
  "E_CLOSED",
  "E_READ",
  "E_WRITE",
  "E_INDEX_NOT_FOUND",
  "E_INDEX_CORRUPT",
  "E_TIMEOUT",
  "E_INTERNAL",
  "E_IMAGE_READ",
  "E_IMAGE_DECODE",
  "E_IMAGE_TOO_LARGE",
  "E_TEXT_TOO_LONG",
  "E_DATASET_NOT_FOUND",
  "E_DATASET_FORMAT",
  "E_DATASET_EMPTY",
  "E_LABEL_UNKNOWN",
  "E_DOWNLOAD",
  "E_OFFLINE",
  "E_HASH_MISMATCH",
  "E_LOCKED",
  "E_DATABASE",
  "E_QUEUE",
  "E_SHARD",
  "E_PACKAGE_MISSING",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface ErrorSubject {
  /** Position of the bad item in the batch or list that was given. */
  index?: number;
  /** The file, option or URL that the error is about. */
  subject?: string;
  cause?: unknown;
}

/** URLs in its message and subject are shown without credentials, query and fragment. */
export class TorchclipError extends Error {
  override readonly name = "TorchclipError";
  readonly index?: number;
  readonly subject?: string;

  constructor(
    readonly code: ErrorCode,
    message: string,
    about: ErrorSubject = {},
  ) {
    super(redactText(message), about.cause === undefined ? undefined : { cause: about.cause });
    if (about.index !== undefined) this.index = about.index;
    if (about.subject !== undefined) this.subject = redactText(about.subject);
  }
}

/** What an error of the operating system means, in words; undefined for errors that are none. */
export function systemReason(error: unknown): string | undefined {
  const { code, errno, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  if (code === undefined || (errno === undefined && syscall === undefined)) return undefined;
  return `${REASONS[code] ?? getSystemErrorMessage(errno)} (${code})`;
}

const OF_FILES: ReadonlySet<ErrorCode> = new Set([
  "E_WRITE",
  "E_IMAGE_READ",
  "E_DATASET_NOT_FOUND",
  "E_MODEL_NOT_FOUND",
]);

const REASONS: Record<string, string | undefined> = {
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left on the device",
  EDQUOT: "the disk quota is exceeded",
  EFBIG: "the file is larger than the file system or the process limit allows",
  ENOENT: "no such file or folder",
  EEXIST: "something else has that name",
  ENOTDIR: "a part of the path is not a folder",
  EISDIR: "it is a folder",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "too many symbolic links",
  EMFILE: "too many open files in this process",
  ENFILE: "too many open files in the system",
  EIO: "the device reports an input/output error",
};

function getSystemErrorMessage(errno: number | undefined): string {
  const known = errno === undefined ? undefined : getSystemErrorMap().get(errno);
  return known?.[1] ?? "the operating system refused";
}

/**
 * Converts an error of the addon, the operating system or a library to a TorchclipError; a TorchclipError
 * stays as it is. `fallback` is the code where the error carries none of ours. An error of the operating
 * system is E_READ unless `fallback` is a code of files (what writes converts its errors to E_WRITE itself).
 */
export function toTorchclipError(
  error: unknown,
  fallback: ErrorCode = "E_INTERNAL",
  about: ErrorSubject = {},
): TorchclipError {
  if (error instanceof TorchclipError) return error;
  const { code, message, path } = (error ?? {}) as ErrorFields;
  const reason = systemReason(error);
  if (reason !== undefined) {
    const place = typeof path === "string" ? path : about.subject;
    const text = fallback === "E_WRITE" ? "cannot write" : "cannot read";
    return new TorchclipError(
      OF_FILES.has(fallback) ? fallback : "E_READ",
      `${text} ${place ?? "a file"}: ${reason}`,
      { subject: place, cause: error, ...about },
    );
  }
  return new TorchclipError(
    ownCode(code) ?? fallback,
    typeof message === "string" ? message : String(error),
    { cause: error, ...about },
  );
}

/** Fields that errors of the addon, of Node.js and of libraries have; anything can be thrown. */
interface ErrorFields {
  code?: unknown;
  message?: unknown;
  path?: unknown;
}

/** The code of ours that a code of the addon or of Node.js means. */
function ownCode(code: unknown): ErrorCode | undefined {
  if (typeof code !== "string") return undefined; // that of a DOMException is a number
  // Node.js itself refuses an argument: a NUL in a path.
  if (code.startsWith("ERR_INVALID_ARG")) return "E_ARGUMENT";
  return ERROR_CODES.find((known) => known === code);
}

/** A file that cannot be read, or what is called by `name` in messages. */
export function cannotRead(code: ErrorCode, name: string, cause: unknown): TorchclipError {
  return new TorchclipError(code, `cannot read ${name}: ${(cause as Error).message}`, {
    subject: name,
    cause,
  });
}

/** The error of one image of several, whose message begins with its position among them. */
export function imageError(index: number, error: TorchclipError, subject?: string): TorchclipError {
  return new TorchclipError(error.code, `image ${index}: ${error.message}`, {
    index,
    subject,
    cause: error.cause,
  });
}

/** The message of an `imageError` without the position, for callers to whom it means nothing. */
export function withoutIndex({ message }: TorchclipError): string {
  return message.replace(/^image \d+: /, "");
}

/** Throws E_ABORTED where the signal has fired. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal);
}

export function abortedError(signal: AbortSignal | undefined): TorchclipError {
  return new TorchclipError("E_ABORTED", "aborted", { cause: signal?.reason });
}
