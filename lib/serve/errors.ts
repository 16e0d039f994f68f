import { TorchclipError, type ErrorCode } from "../errors.js";

/** Codes of errors: those of `TorchclipError` and those that only the server has (docs/serving.md). */
export type HttpCode = ErrorCode | "E_API_KEY" | "E_NOT_FOUND" | "E_MEDIA_TYPE" | "E_BODY_TOO_LARGE";

/** An error of a request, with its HTTP status. */
export class RequestError extends Error {
  override readonly name = "RequestError";

  /**
   * @param status HTTP status.
   * @param where What of the body it is about: `input[3]`.
   */
  constructor(
    readonly status: number,
    readonly code: HttpCode,
    message: string,
    readonly where?: string,
  ) {
    super(message);
  }
}

/** What an answer tells about an error. */
export interface Problem {
  status: number;
  code: HttpCode;
  message: string;
  /** What of the body it is about: `input[3]`. */
  where?: string;
  /** Seconds after which the client may try again. */
  retryAfter?: number;
}

/**
 * The status of an error that is not of one item. Too many requests (429) is what a client caused with
 * others; unavailable (503), what the server is in.
 */
const STATUS: Partial<Record<ErrorCode, number>> = {
  E_ARGUMENT: 400,
  E_TEXT_TOO_LONG: 400,
  E_LABEL_UNKNOWN: 400,
  E_MODEL_NOT_FOUND: 404,
  E_INDEX_NOT_FOUND: 404,
  E_IMAGE_TOO_LARGE: 413,
  E_BUSY: 429,
  E_ABORTED: 499,
  E_CLOSED: 503,
  E_OUT_OF_MEMORY: 503,
  E_SHARD: 502,
};

/** Errors that are the fault of an image. */
const OF_IMAGE: ReadonlySet<string> = new Set(["E_IMAGE_READ", "E_IMAGE_DECODE", "E_TIMEOUT"]);

/** Why a shard does not answer stays in the log: it names the addresses of other servers. */
const NO_SHARD = "a shard of the index does not answer; the server's log has the reason";

/** Seconds; a batch of the largest size takes about as long. */
const RETRY_AFTER = 1;

/**
 * What is told of an error. The messages of a defect (500) and of a shard (502) stay in the log: they may name
 * files and addresses.
 *
 * @param imageStatus The status for an image that cannot be read: 400 where it is one of a list, else 422.
 */
export function problemOf(error: unknown, imageStatus: number): Problem {
  if (error instanceof RequestError) {
    const { status, code, message, where } = error;
    return withRetry({ status, code, message, where });
  }
  if (error instanceof TorchclipError) {
    const { code, message, subject } = error;
    const status = OF_IMAGE.has(code) ? imageStatus : (STATUS[code] ?? 500);
    if (status === 500) return defect();
    if (code === "E_SHARD") return { status, code, message: NO_SHARD };
    return withRetry({ status, code, message, where: subject });
  }
  return problemOfFastify(error) ?? defect();
}

function defect(): Problem {
  return { status: 500, code: "E_INTERNAL", message: "internal error; the server's log has the reason" };
}

function withRetry(problem: Problem): Problem {
  const isBusy = problem.status === 429 || problem.status === 503;
  return isBusy ? { ...problem, retryAfter: RETRY_AFTER } : problem;
}

/** Fields of the errors of Fastify and its plugins. */
interface FastifyFields {
  statusCode?: number;
  message?: string;
  validation?: { instancePath?: string }[];
}

const CODES: Partial<Record<number, HttpCode>> = {
  401: "E_API_KEY",
  404: "E_NOT_FOUND",
  405: "E_NOT_FOUND",
  413: "E_BODY_TOO_LARGE",
  415: "E_MEDIA_TYPE",
  429: "E_BUSY",
  503: "E_CLOSED",
};

/** What Fastify refused: a body that is not JSON, too large, of another type, or not as its schema says. */
function problemOfFastify(error: unknown): Problem | undefined {
  const { statusCode = 500, message = "", validation } = (error ?? {}) as FastifyFields;
  if (statusCode < 400 || (statusCode >= 500 && statusCode !== 503)) return undefined;
  const path = validation?.[0]?.instancePath;
  const where = path ? path.slice(1).replaceAll("/", ".") : undefined;
  return withRetry({ status: statusCode, code: CODES[statusCode] ?? "E_ARGUMENT", message, where });
}

/** In which form a route tells errors. */
export type ErrorForm = "openai" | "message" | "detail";

/**
 * The body of an answer that tells of a problem: as OpenAI's (`{"error": …}`), Cohere's (`{"message": …}`),
 * or FastAPI's, which Voyage and Immich use (`{"detail": …}`).
 */
export function problemBody(problem: Problem, form: ErrorForm): object {
  const { status, code, message, where } = problem;
  if (form === "message") return { message, code };
  if (form === "detail") return { detail: message, code };
  return { error: { message, type: typeOf(status), param: where ?? null, code } };
}

/** OpenAI's `type`. */
function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}
