// An HTTP server: POST an image to /image or a text to /text, and get its embedding as JSON. Requests that
// arrive together share a forward pass. GET /health says that the server works.
//   node examples/server.mjs [PORT] [MODEL]
//   curl --data-binary @cat.jpg localhost:8080/image
import { createServer } from "node:http";
import { Batcher, load } from "torchclip";

const [port = "8080", model = "tiny"] = process.argv.slice(2);
const MOST_BYTES = 20 << 20;
/** @type {Partial<Record<string, number>>} */
const STATUS = {
  E_ARGUMENT: 400,
  E_IMAGE_TOO_LARGE: 413,
  E_IMAGE_DECODE: 415,
  E_BUSY: 503,
  E_CLOSED: 503,
  E_TIMEOUT: 504,
};

const clip = await load(model);
// Clients send bytes; they may not make this server read its files or fetch URLs.
const batcher = new Batcher(clip, { maxBatch: 32, maxDelay: 5, sources: { url: false, file: false } });

const server = createServer((request, response) => void respond(request, response));

/**
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 */
async function respond(request, response) {
  /** @type {(status: number, value: object) => void} */
  const answer = (status, value) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(value));
  };
  try {
    if (request.method === "GET" && request.url === "/health") {
      answer(200, { status: "ok", ...batcher.metrics() });
      return;
    }
    const body = await readBody(request);
    if (request.method === "POST" && request.url === "/image") {
      answer(200, { embedding: Array.from(await batcher.encodeImage(body)) });
    } else if (request.method === "POST" && request.url === "/text") {
      answer(200, { embedding: Array.from(await batcher.encodeText(body.toString("utf8"))) });
    } else {
      answer(404, { error: "POST /image or POST /text" });
    }
  } catch (error) {
    const { message, code, status } = /** @type {Error & { code?: string, status?: number }} */ (error);
    answer(status ?? STATUS[code ?? ""] ?? 500, { error: message, code });
  }
}

/** @param {import("node:http").IncomingMessage} request */
async function readBody(request) {
  const parts = [];
  let bytes = 0;
  for await (const part of /** @type {AsyncIterable<Buffer>} */ (request)) {
    bytes += part.length;
    if (bytes > MOST_BYTES)
      throw Object.assign(new Error("the body is too large"), { code: "E_ARGUMENT", status: 413 });
    parts.push(part);
  }
  return Buffer.concat(parts);
}

async function stop() {
  server.close();
  await batcher.drain();
  await clip.close();
}
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => void stop());
server.listen(Number(port), () => {
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  console.log(`Listening on port ${address.port}`);
});
