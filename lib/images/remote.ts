import http from "node:http";
import https from "node:https";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { pipeline, type Readable } from "node:stream";
import { TorchclipError } from "../errors.js";
import { isUrl, redactText, redactUrl } from "../util/redact.js";
import { isPublicAddress, literalAddress, PrivateAddressError, publicLookup } from "./address.js";
import { checkBytes, type CheckedLimits } from "./limits.js";

const MAX_REDIRECTS = 5;
const REDIRECTS = [301, 302, 303, 307, 308];

/** Connections are kept for the next image of a host; those made with and without the address check are kept apart. */
const agents = {
  public: { http: new http.Agent({ keepAlive: true, lookup: publicLookup }), https: new https.Agent({ keepAlive: true, lookup: publicLookup }) },
  any: { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) },
};

type FetchLimits = Pick<CheckedLimits, "fetchTimeout" | "maxBytes" | "sources">;

/**
 * The bytes behind an http(s) URL. Redirects are followed up to five times, and each target is checked as the first URL
 * is. Throws E_IMAGE_READ, E_IMAGE_TOO_LARGE or E_ABORTED; no message holds credentials or a query.
 */
export async function fetchImage(address: string, limits: FetchLimits, signal?: AbortSignal): Promise<Uint8Array> {
  const name = redactUrl(address);
  const stop = new AbortController();
  const abort = () => stop.abort();
  const timer = setTimeout(abort, Math.min(limits.fetchTimeout, 0x7fffffff));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    if (signal?.aborted) abort();
    return await followed(parse(address), name, limits, stop.signal);
  } catch (cause) {
    if (signal?.aborted) throw new TorchclipError("E_ABORTED", "aborted", { cause: signal.reason });
    if (cause instanceof TorchclipError) throw cause;
    const reason = stop.signal.aborted ? `it did not come within ${limits.fetchTimeout} ms (option fetchTimeout)` : redactText((cause as Error).message);
    // The cause itself stays out: Node's errors of URLs hold the whole of them.
    throw new TorchclipError("E_IMAGE_READ", `cannot read ${name}: ${reason}`, { subject: name });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

function parse(address: string, base?: URL): URL {
  if (!URL.canParse(address, base?.href)) throw new Error("it is no valid URL");
  return new URL(address, base);
}

async function followed(first: URL, name: string, limits: FetchLimits, signal: AbortSignal): Promise<Uint8Array> {
  let url = first;
  for (let redirects = 0; ; redirects++) {
    checkTarget(url, limits.sources.allowPrivate);
    const response = await request(url, limits.sources.allowPrivate, signal);
    const { statusCode = 0, statusMessage = "", headers } = response;
    if (REDIRECTS.includes(statusCode) && headers.location !== undefined) {
      response.destroy();
      if (redirects === MAX_REDIRECTS) throw new Error(`it redirects more than ${MAX_REDIRECTS} times`);
      url = parse(headers.location, url);
      continue;
    }
    if (statusCode !== 200) {
      response.destroy();
      throw new Error(`HTTP ${statusCode} ${statusMessage}`.trim());
    }
    return body(response, name, limits.maxBytes);
  }
}

/** Refuses what is no http(s), and hosts written as an address that is not public; names are checked when they are looked up. */
function checkTarget(url: URL, allowPrivate: boolean): void {
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new Error(`it leads to a ${url.protocol} URL`);
  const literal = literalAddress(url);
  if (literal && !allowPrivate && !isPublicAddress(literal)) throw new PrivateAddressError(literal);
}

function request(url: URL, allowPrivate: boolean, signal: AbortSignal): Promise<http.IncomingMessage> {
  const secure = url.protocol === "https:";
  const agent = agents[allowPrivate ? "any" : "public"][secure ? "https" : "http"];
  const headers = { "accept-encoding": "identity", accept: "image/*, */*;q=0.5", "user-agent": "torchclip" };
  return new Promise((resolve, reject) => {
    const sent = (secure ? https : http).get(url, { agent, signal, headers }, resolve);
    sent.on("error", reject);
  });
}

/** The body, decompressed where the server compressed it all the same; stops at the first byte over the limit. */
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

function decompressed(response: http.IncomingMessage, encoding: string): Readable {
  if (encoding === "identity" || encoding === "") return response;
  const decoders = { gzip: createGunzip, "x-gzip": createGunzip, deflate: createInflate, br: createBrotliDecompress };
  if (!Object.hasOwn(decoders, encoding)) {
    response.destroy();
    throw new Error(`its content-encoding "${encoding.slice(0, 40)}" is not supported`);
  }
  // The error reaches the reader through the decoder, which the pipeline destroys with it.
  return pipeline(response, decoders[encoding as keyof typeof decoders](), () => {});
}

/** Whether an image's name is to be fetched. */
export function isRemote(text: string): boolean {
  return /^https?:/i.test(text) && isUrl(text);
}
