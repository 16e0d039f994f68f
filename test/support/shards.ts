import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { EmbeddingIndex } from "../../lib/index.js";
import { noise } from "./noise.js";
import type { TestServer } from "./server.js";

/** Rows of length 1; every tenth is row 7 again, so that scores are equal also across shards. */
export function makeRows(rows: number, dim: number): Float32Array {
  const data = new Float32Array(rows * dim);
  for (let row = 0; row < rows; row++) {
    const own = row % 10 === 9 ? 7 : row;
    const values = Float64Array.from({ length: dim }, (_, i) => (noise(own + 1, i) & 0xffff) / 32768 - 1);
    const norm = Math.hypot(...values);
    for (const [i, value] of values.entries()) data[row * dim + i] = value / norm;
  }
  data.fill(NaN, 5 * dim, 6 * dim); // as the row of an image that could not be read
  return data;
}

/** Writes rows as `torchclip embed` does, into FILE and FILE.json. */
export async function writeIndex(
  file: string,
  data: Float32Array,
  names: readonly string[],
  sha256: string,
): Promise<string> {
  const index = EmbeddingIndex.create(data.length / names.length);
  await index.add({ data, rows: names.length, dim: index.dim });
  await index.save(file);
  index.close();
  const about = { kind: "images", input: "photos", names, model: { requested: "tiny", weights: { sha256 } } };
  writeFileSync(`${file}.json`, JSON.stringify(about));
  return file;
}

export const base64Of = (vector: Float32Array) =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");

/** Options of a server whose errors are logged into the list. */
export const logging = (log: string[]) => ({
  logger: { level: "error", stream: { write: (line: string) => log.push(line) } },
});

/** The status of a search, and the code and the message of its error. */
export async function codeOf(server: TestServer, body: object = { query: "a red circle" }) {
  const { status, body: answer } = await server.post("/v1/search", body);
  const { error } = answer as { error?: { code: string; message: string } };
  return { status, code: error?.code, message: error?.message ?? "" };
}

/** A server that answers `GET /v1/indexes` with `indexes`, and everything else as `answer` says. */
export async function fakeShard(
  indexes: unknown,
  answer: (response: ServerResponse) => void,
): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    request.resume();
    if (request.method === "GET") response.end(JSON.stringify(indexes));
    else answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** Ends a server with all its connections. */
export function stop(server: Server): void {
  assert.ok(server.listening);
  server.closeAllConnections();
  server.close();
}
