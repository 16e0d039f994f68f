import { TorchclipError } from "../../errors.js";
import { redactUrl } from "../../redact.js";
import { Untrusted } from "../../util/untrusted.js";

/** A JSON answer of a shard's server. */
export interface JsonAnswer {
  body: unknown;
  headers: Headers;
  /** Checks the values of the body. */
  check: Untrusted;
}

/** Reads what is of use out of an answer; what it throws becomes E_SHARD. */
type JsonReader<T> = (answer: JsonAnswer) => T;

/**
 * Requests to the server of a shard. They reject with E_BUSY where that server has too much to do, with E_SHARD
 * where it does not answer in time or as it should, and with the signal's reason where it is aborted.
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

  postJson<T>(path: string, body: object, signal: AbortSignal, read: JsonReader<T>): Promise<T> {
    const headers = { "content-type": "application/json" };
    return this.askJson(path, { method: "POST", headers, body: JSON.stringify(body) }, signal, read);
  }

  /** The bytes of an answer; undefined where it is 404. */
  getBytes(path: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return this.ask(path, {}, signal, async (response) => {
      if (response.status === 404) return undefined;
      await this.checkStatus(response);
      return new Uint8Array(await response.arrayBuffer());
    });
  }

  private askJson<T>(
    path: string,
    init: RequestInit,
    signal: AbortSignal | undefined,
    read: JsonReader<T>,
  ): Promise<T> {
    return this.ask(path, init, signal, async (response) => {
      await this.checkStatus(response);
      const check = new Untrusted("E_READ", "its answer");
      const body = check.largeJson(await response.text());
      return read({ body, headers: response.headers, check });
    });
  }

  private async ask<T>(
    path: string,
    init: RequestInit,
    signal: AbortSignal | undefined,
    read: (response: Response) => Promise<T>,
  ): Promise<T> {
    const late = AbortSignal.timeout(this.timeout);
    const either = signal ? AbortSignal.any([signal, late]) : late;
    try {
      return await read(await this.fetchTwice(new URL(path, this.base), init, either));
    } catch (error) {
      signal?.throwIfAborted();
      if (late.aborted) throw this.problem(`did not answer within ${this.timeout / 1000} s`, error);
      const isKnown = error instanceof TorchclipError && error.code !== "E_READ";
      throw isKnown ? error : this.problem(reasonOf(error), error);
    }
  }

  /** Asks a second time where the connection fails: one that was kept may have been closed meanwhile. */
  private async fetchTwice(url: URL, init: RequestInit, signal: AbortSignal): Promise<Response> {
    const authorization = this.apiKey === undefined ? undefined : { authorization: `Bearer ${this.apiKey}` };
    const headers = { ...(init.headers as Record<string, string> | undefined), ...authorization };
    const send = () => fetch(url, { ...init, headers, signal, redirect: "error" });
    try {
      return await send();
    } catch (error) {
      if (signal.aborted) throw error;
      return send();
    }
  }

  private async checkStatus(response: Response): Promise<void> {
    if (response.ok) return;
    const text = await response.text();
    if (response.status === 429 || response.status === 503)
      throw new TorchclipError("E_BUSY", "a shard of the index has too much to do; try again later");
    throw this.problem(`answers ${response.status}: ${messageOf(text)}`);
  }

  private problem(what: string, cause?: unknown): TorchclipError {
    return new TorchclipError("E_SHARD", `${this.where} ${what}`, { subject: this.where, cause });
  }
}

/** Why a request failed. `fetch` hides the system's reason in a cause. */
function reasonOf(error: unknown): string {
  if (error instanceof TorchclipError) return `gives an answer that is not understood: ${error.message}`;
  const { message, cause } = error as Error;
  return `cannot be reached: ${cause instanceof Error ? cause.message : message}`;
}

/** The message of an error's body; the beginning of the body where it has another form. */
function messageOf(text: string): string {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown } };
    if (typeof error?.message === "string") return error.message;
  } catch {
    // It is no JSON.
  }
  return text.slice(0, 200);
}
