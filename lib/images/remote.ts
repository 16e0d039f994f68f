import http from "node:http";
import https from "node:https";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { pipeline, type Readable, type Transform } from "node:stream";
import { abortedError, TorchclipError } from "../errors.js";
import { redactUrl } from "../redact.js";
import { guardedLookup, isPublicAddress, literalAddress, PrivateAddressError } from "./address.js";
import { checkBytes, LONGEST_TIMER, type CheckedLimits } from "./limits.js";

const MAX_REDIRECTS = 5;
const REDIRECTS = [301, 302, 303, 307, 308];

export type FetchLimits = Pick<CheckedLimits, "fetchTimeout" | "maxBytes">;

/** Fetches images by HTTP from the addresses that it may connect to. */
export class ImageFetcher {
  /** Connections are kept for the next image of a host; all of them were made under the same rule. */
  private readonly agents: { "http:": http.Agent; "https:": https.Agent };

  /** @param isAllowed Says of an IP address whether it may be connected to. */
  constructor(
    private readonly isAllowed: (address: string) => boolean,
    lookup = guardedLookup(isAllowed),
  ) {
    this.agents = {
      "http:": new http.Agent({ keepAlive: true, lookup }),
      "https:": new https.Agent({ keepAlive: true, lookup }),
    };
  }

  /**
   * The bytes behind an http(s) URL. Redirects are followed up to five times, and each target is checked as
   * the first URL is. Throws E_IMAGE_READ, E_IMAGE_TOO_LARGE or E_ABORTED; no message holds credentials or a
   * query.
   */
  async fetch(address: string, limits: FetchLimits, signal?: AbortSignal): Promise<Uint8Array> {
    const name = redactUrl(address);
    const stop = new AbortController();
    const abort = () => stop.abort();
    const timer = setTimeout(abort, Math.min(limits.fetchTimeout, LONGEST_TIMER));
    signal?.addEventListener("abort", abort, { once: true });
    try {
      if (signal?.aborted) abort();
      return await body(await this.follow(parse(address), stop.signal), name, limits.maxBytes);
    } catch (cause) {
      if (signal?.aborted) throw abortedError(signal);
      if (cause instanceof TorchclipError) throw cause;
      const late = `it did not come within ${limits.fetchTimeout} ms (option fetchTimeout)`;
      // The cause itself stays out: Node's errors of URLs hold the whole of them.
      throw new TorchclipError(
        "E_IMAGE_READ",
        `cannot read ${name}: ${stop.signal.aborted ? late : (cause as Error).message}`,
        { subject: name },
      );
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  /** The answer of the URL, or of the one that it redirects to. */
  private async follow(first: URL, signal: AbortSignal): Promise<http.IncomingMessage> {
    let url = first;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const response = await this.request(url, signal);
      const { statusCode = 0, statusMessage = "", headers } = response;
      if (statusCode === 200) return response;
      response.destroy();
      if (!REDIRECTS.includes(statusCode) || headers.location === undefined)
        throw new Error(`HTTP ${statusCode} ${statusMessage}`.trim());
      url = parse(headers.location, url);
    }
    throw new Error(`it redirects more than ${MAX_REDIRECTS} times`);
  }

  private async request(url: URL, signal: AbortSignal): Promise<http.IncomingMessage> {
    const { protocol } = url;
    if (protocol !== "http:" && protocol !== "https:") throw new Error(`it leads to a ${protocol} URL`);
    // An address needs no lookup, so that the one of the agent is not asked.
    const literal = literalAddress(url);
    if (literal && !this.isAllowed(literal)) throw new PrivateAddressError(literal);
    const headers = {
      "accept-encoding": "identity",
      accept: "image/*, */*;q=0.5",
      "user-agent": "torchclip",
    };
    const get = protocol === "https:" ? https.get : http.get;
    return new Promise((resolve, reject) => {
      get(url, { agent: this.agents[protocol], signal, headers }, resolve).on("error", reject);
    });
  }
}

const publicFetcher = new ImageFetcher(isPublicAddress);
const anyFetcher = new ImageFetcher(() => true);

/** The bytes behind an http(s) URL, under the limits of a call. */
export function fetchImage(
  address: string,
  limits: FetchLimits & Pick<CheckedLimits, "sources">,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  return (limits.sources.allowPrivate ? anyFetcher : publicFetcher).fetch(address, limits, signal);
}

function parse(address: string, base?: URL): URL {
  if (!URL.canParse(address, base?.href)) throw new Error("it is no valid URL");
  return new URL(address, base);
}

/**
 * The body, decompressed where the server compressed it all the same; stops at the first byte over the limit.
 */
async function body(response: http.IncomingMessage, name: string, maxBytes: number): Promise<Uint8Array> {
  const encoding = response.headers["content-encoding"]?.trim().toLowerCase() ?? "identity";
  const stream = decompressed(response, encoding);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    checkBytes(name, Number(response.headers["content-length"] ?? 0), maxBytes);
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      checkBytes(name, bytes, maxBytes);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    response.destroy();
    throw error;
  }
}

const DECODERS = new Map<string, () => Transform>([
  ["gzip", () => createGunzip()],
  ["x-gzip", () => createGunzip()],
  ["deflate", () => createInflate()],
  ["br", () => createBrotliDecompress()],
]);

function decompressed(response: http.IncomingMessage, encoding: string): Readable {
  if (encoding === "identity" || encoding === "") return response;
  const decoder = DECODERS.get(encoding);
  if (!decoder) {
    response.destroy();
    throw new Error(`its content-encoding "${encoding.slice(0, 40)}" is not supported`);
  }
  // The error reaches the reader through the decoder, which the pipeline destroys with it.
  return pipeline(response, decoder(), () => undefined);
}
