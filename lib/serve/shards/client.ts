import { abortedError, TorchclipError } from "../../errors.js";
import { redactUrl } from "../../redact.js";
import { shown, Untrusted } from "../../util/untrusted.js";
import type { ShardCall } from "./shard.js";

/** A JSON answer of a shard's server. */
export interface JsonAnswer {
  body: unknown;
  headers: Headers;
  /** Checks the values of the body. */
  check: Untrusted;
}

/** Reads what is of use out of an answer; what it throws becomes E_SHARD. */
type JsonReader<T> = (answer: JsonAnswer) => T;

/** The header that counts the servers that have passed a request on. */
export const HOPS = "x-torchclip-hops";

/** Bytes of an answer: of 1,000 hits with long names, and of a thumbnail. */
const MOST_BYTES = 8 << 20;
/** Bytes of an answer that tells of an error. */
const MOST_ERROR_BYTES = 64 << 10;
/** What happens where a connection that was kept is closed by the other side. */
const CLOSED = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET"]);

/**
 * Requests to the server of a shard. They reject with E_BUSY where that server has too much to do, with E_SHARD
 * where it does not answer in time or as it should, and with E_ABORTED.
 */
export class ShardClient {
  /** The server's address without what may be secret. */
  readonly where: string;
  private readonly base: URL;

  /** @param timeout Milliseconds for an answer. */
  constructor(
    url: string,
    private readonly apiKey: string | undefined,
    private readonly timeout: number,
  ) {
    this.base = new URL(url.endsWith("/") ? url : `${url}/`);
    this.where = redactUrl(this.base);
  }

  getJson<T>(path: string, read: JsonReader<T>): Promise<T> {
    return this.askJson(path, {}, undefined, read);
  }

  postJson<T>(path: string, body: object, call: ShardCall, read: JsonReader<T>): Promise<T> {
    const headers = { "content-type": "application/json" };
    return this.askJson(path, { method: "POST", headers, body: JSON.stringify(body) }, call, read);
  }

  /** The bytes of an answer; undefined where there are none (404). */
  getBytes(path: string, call: ShardCall): Promise<Uint8Array | undefined> {
    return this.ask(path, {}, call, async (response) => {
      if (response.status === 404) {
        await response.body?.cancel();
        return undefined;
      }
      await this.checkStatus(response);
      return readAtMost(response, MOST_BYTES);
    });
  }

  private askJson<T>(
    path: string,
    init: RequestInit,
    call: ShardCall | undefined,
    read: JsonReader<T>,
  ): Promise<T> {
    return this.ask(path, init, call, async (response) => {
      await this.checkStatus(response);
      const check = new Untrusted("E_READ", "its answer");
      const body = check.json((await readAtMost(response, MOST_BYTES)).toString("utf8"));
      return read({ body, headers: response.headers, check });
    });
  }

  private async ask<T>(
    path: string,
    init: RequestInit,
    call: ShardCall | undefined,
    read: (response: Response) => Promise<T>,
  ): Promise<T> {
    const late = AbortSignal.timeout(this.timeout);
    const signal = call ? AbortSignal.any([call.signal, late]) : late;
    const headers = { ...(init.headers as Record<string, string> | undefined), ...this.headers(call) };
    try {
      const request = { ...init, headers, signal, redirect: "error" } as const;
      return await read(await fetchTwice(new URL(path, this.base), request));
    } catch (error) {
      if (call?.signal.aborted) throw abortedError(call.signal);
      if (late.aborted) throw this.problem(`it did not answer within ${this.timeout / 1000} s`, error);
      const isKnown = error instanceof TorchclipError && error.code !== "E_READ";
      throw isKnown ? error : this.problem(reasonOf(error), error);
    }
  }

  private headers(call: ShardCall | undefined): Record<string, string> {
    return {
      "accept-encoding": "identity", // a compressed answer may be of any size
      ...(this.apiKey !== undefined && { authorization: `Bearer ${this.apiKey}` }),
      ...(call && { [HOPS]: String(call.hops + 1) }),
    };
  }

  private async checkStatus(response: Response): Promise<void> {
    if (response.ok) return;
    const { message, code } = errorOf((await readAtMost(response, MOST_ERROR_BYTES)).toString("utf8"));
    const { status } = response;
    if (status === 429 || (status === 503 && code === "E_BUSY"))
      throw new TorchclipError("E_BUSY", "a shard of the index has too much to do; try again later");
    throw this.problem(`status ${status}: ${shown(message)}`);
  }

  private problem(what: string, cause?: unknown): TorchclipError {
    return new TorchclipError("E_SHARD", `the server of a shard, ${this.where}, failed: ${what}`, {
      subject: this.where,
      cause,
    });
  }
}

/** Asks a second time where the connection was closed: one that was kept may have come to its end. */
async function fetchTwice(url: URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    const { cause } = error as { cause?: { code?: string } };
    if (!CLOSED.has(cause?.code ?? "")) throw error;
    return fetch(url, init);
  }
}

/** The bytes of a body. Throws where there are more. */
async function readAtMost(response: Response, most: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop cancels the rest.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > most) throw new Error(`its answer has more than ${most} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Why a request failed. `fetch` hides the system's reason in a cause. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return shown(cause instanceof Error ? cause.message : message);
}

/** What the body of an error says; its beginning where it has another form. */
function errorOf(text: string): { message: string; code?: unknown } {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown; code?: unknown } };
    if (typeof error?.message === "string") return { message: error.message, code: error.code };
  } catch {
    // It is no JSON.
  }
  return { message: text };
}
