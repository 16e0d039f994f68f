import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Embeddings } from "../../embeddings.js";
import { RequestError } from "../errors.js";
import { ItemReader, wrong, type Item } from "../items.js";
import type { ServedIndex } from "../served-index.js";
import type { JsonObject } from "../shapes/shape.js";
import { HOPS } from "../shards/client.js";
import type { ShardCall } from "../shards/shard.js";
import { stateOf, type RequestState } from "../state.js";
import { vectorOf } from "../vectors.js";
import { routeConfig, sendJson, type ServerParts } from "./parts.js";

interface SearchBody extends JsonObject {
  index?: string;
  top_k?: number;
}

const MOST_HITS = 1000;

const BODY = {
  type: "object",
  properties: {
    index: { type: "string", description: "an index of GET /v1/indexes; default: the server's first" },
    query: { description: 'a text, a data URI of an image, {"text"} or {"image"}' },
    vector: {
      description: "in place of query: an embedding of the index's model, as numbers or as base64 of float32",
    },
    top_k: { type: "integer", minimum: 1, maximum: MOST_HITS, default: 10 },
  },
  examples: [{ query: "a red circle", top_k: 3 }],
} as const;

/**
 * `POST /v1/search`: the nearest rows of an index. `GET /v1/indexes`: the indexes.
 * `GET /v1/indexes/NAME/images/PLACE`: the thumbnail of a hit.
 */
export function searchRoutes(app: FastifyInstance, parts: ServerParts): void {
  app.post<{ Body: SearchBody }>("/v1/search", {
    schema: { summary: "The nearest rows of an index", tags: ["torchclip"], body: BODY },
    config: routeConfig({ usesModel: true, imageStatus: 422 }),
    handler: async (request, reply) => {
      const { body } = request;
      const state = stateOf(request);
      const index = indexOf(parts.indexes, body.index);
      const { name, model } = index;
      state.answeredBy(model, reply);
      state.items = 1;
      const query = await embeddingOf(body, index, state, parts.allowUrls);
      const { rows, hits } = await index.nearest(query, body.top_k ?? 10, callOf(request));
      const data = hits.map(({ place, ...hit }) =>
        place === undefined ? hit : { ...hit, image: imagePath(name, place) },
      );
      return sendJson(reply, { object: "list", model: model.name, index: name, rows, data });
    },
  });
  indexesRoute(app, parts);
  imageRoute(app, parts);
}

function callOf(request: FastifyRequest): ShardCall {
  const { signal } = stateOf(request).controller;
  const hops = Number(request.headers[HOPS] ?? 0);
  return { signal, hops: Number.isInteger(hops) && hops >= 0 ? hops : 0 };
}

/** The embedding that is searched for: `vector`, or that of `query`. */
async function embeddingOf(
  { query, vector }: SearchBody,
  { model }: ServedIndex,
  { strings, controller }: RequestState,
  allowUrls: boolean,
): Promise<Embeddings> {
  const dim = model.clip.info.embedDim;
  if (vector === undefined) {
    const item = queryOf(query, new ItemReader(strings, allowUrls));
    const { vectors } = await model.embed([item], { controller, truncate: "end" });
    return { data: vectors[0], rows: 1, dim };
  }
  if (query !== undefined) throw wrong("vector", "and query exclude each other");
  const given = typeof vector === "string" ? strings.find(vector) : vector;
  return { data: vectorOf(given, dim, "vector"), rows: 1, dim };
}

function queryOf(query: unknown, reader: ItemReader): Item {
  if (query === undefined) throw wrong("query", "is missing");
  return typeof query === "string" ? reader.textOrImage(query, "query") : reader.part(query, "query");
}

function indexOf(indexes: ServerParts["indexes"], name: string | undefined): ServedIndex {
  const wanted = name ?? [...indexes.keys()].at(0);
  const index = wanted === undefined ? undefined : indexes.get(wanted);
  if (index) return index;
  const names = indexes.size > 0 ? `it has ${[...indexes.keys()].join(", ")}` : "it was started without one";
  throw new RequestError(
    404,
    "E_INDEX_NOT_FOUND",
    `this server has no index ${wanted ?? ""}: ${names}`,
    "index",
  );
}

function imagePath(name: string, place: string): string {
  return `/v1/indexes/${encodeURIComponent(name)}/images/${place}`;
}

function indexesRoute(app: FastifyInstance, { indexes }: ServerParts): void {
  const describe = (index: ServedIndex) => ({
    id: index.name,
    object: "index",
    model: index.model.name,
    fingerprint: index.model.fingerprint,
    rows: index.rows,
    dimensions: index.model.clip.info.embedDim,
    shards: index.shards.length,
  });
  app.get("/v1/indexes", {
    schema: { summary: "The indexes", tags: ["torchclip"] },
    config: routeConfig({}),
    handler: (_, reply) => sendJson(reply, { object: "list", data: [...indexes.values()].map(describe) }),
  });
}

function imageRoute(app: FastifyInstance, { indexes }: ServerParts): void {
  app.get<{ Params: { name: string; place: string } }>("/v1/indexes/:name/images/:place", {
    schema: { summary: "A thumbnail of an index's image (WebP); hits name its path", tags: ["torchclip"] },
    config: routeConfig({ imageStatus: 422 }),
    handler: async (request, reply) => {
      const { name, place } = request.params;
      const bytes = await indexOf(indexes, name).thumbnail(place, callOf(request));
      if (bytes === undefined) throw new RequestError(404, "E_NOT_FOUND", "there is no such image");
      return reply.type("image/webp").header("cache-control", "private, max-age=60").send(bytes);
    },
  });
}
