import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { load, type Clip } from "../../lib/index.js";
import { createServer, type ClipServer, type ServerOptions } from "../../lib/serve/index.js";
import { fixture, tinyModel } from "./index.js";

/** A server of the tiny model on a free port, and requests to it. */
export interface TestServer {
  url: string;
  clip: Clip;
  server: ClipServer;
  post: (path: string, body: unknown, headers?: Record<string, string>) => Promise<Answer>;
  get: (path: string, headers?: Record<string, string>) => Promise<Answer>;
  close: () => Promise<void>;
}

export interface Answer {
  status: number;
  headers: Headers;
  /** Parsed where it is JSON, else the text. */
  body: unknown;
}

export async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.includes("json");
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}

/** Starts a server; its model is called "tiny" unless `models` says otherwise. */
export async function startServer(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const clip = await load(tinyModel, { device: "cpu", threads: 1 });
  const server = await createServer({ models: { tiny: clip }, maxDelay: 1, ...options });
  const url = await server.listen({ port: 0 });
  const send = async (path: string, init: RequestInit) => answerOf(await fetch(`${url}${path}`, init));
  return {
    url,
    clip,
    server,
    post: (path, body, headers) =>
      send(path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
    get: (path, headers) => send(path, { headers }),
    close: async () => {
      await server.close();
      await clip.close();
    },
  };
}

/** A fixture as a data URI. */
export function dataUri(name: string, type = "image/jpeg"): string {
  return `data:${type};base64,${readFileSync(fixture(name)).toString("base64")}`;
}

/** A row of an answer of `POST /v1/search`. */
export interface SearchHit {
  rank: number;
  row: number;
  name: string;
  score: number;
  image?: string;
}

/** What a search that succeeds finds. */
export async function searchIn(
  server: TestServer,
  body: object,
): Promise<{ rows: number; data: SearchHit[] }> {
  const answer = await server.post("/v1/search", body);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body as { rows: number; data: SearchHit[] };
}
