import type { FastifyInstance } from "fastify";
import { TorchclipError } from "../../errors.js";
import { nearestHits } from "../../search/stored.js";
import { pathInside } from "../../util/inside.js";
import { RequestError } from "../errors.js";
import { ItemReader, wrong, type Item } from "../items.js";
import type { JsonObject } from "../shapes/shape.js";
import { stateOf } from "../state.js";
import { routeConfig, sendJson, type ServerParts } from "./parts.js";

interface SearchBody extends JsonObject {
  index?: string;
  top_k?: number;
}

const MOST_HITS = 1000;
/** Pixels of a thumbnail. */
const SIDE = 256;

const BODY = {
  type: "object",
  properties: {
    index: { type: "string", description: "an index of GET /v1/models; default: the server's first" },
    query: { description: 'a text, a data URI of an image, {"text"} or {"image"}' },
    top_k: { type: "integer", minimum: 1, maximum: MOST_HITS, default: 10 },
  },
  examples: [{ query: "a red circle", top_k: 3 }],
} as const;

/** `POST /v1/search`: the nearest rows of an index. `GET /v1/indexes/NAME/images/ROW`: a thumbnail of one. */
export function searchRoutes(app: FastifyInstance, parts: ServerParts): void {
  app.post<{ Body: SearchBody }>("/v1/search", {
    schema: { summary: "The nearest rows of an index", tags: ["torchclip"], body: BODY },
    config: routeConfig({ usesModel: true, imageStatus: 422 }),
    handler: async (request, reply) => {
      const { body } = request;
      const state = stateOf(request);
      const { name, index } = indexOf(parts.indexes, body.index);
      const { model } = index;
      state.answeredBy(model, reply);
      state.items = 1;
      const item = queryOf(body.query, new ItemReader(state.strings, parts.allowUrls));
      const { controller } = state;
      const { vectors } = await model.embed([item], { controller, truncate: "end" });
      const [data] = vectors;
      const hits = await nearestHits(index.stored, { data, rows: 1, dim: data.length }, body.top_k ?? 10);
      const links = hits.map((hit) => (index.images ? { ...hit, image: imagePath(name, hit.row) } : hit));
      return sendJson(reply, { object: "list", model: model.name, index: name, data: links });
    },
  });
  imageRoute(app, parts);
}

function queryOf(query: unknown, reader: ItemReader): Item {
  if (query === undefined) throw wrong("query", "is missing");
  return typeof query === "string" ? reader.textOrImage(query, "query") : reader.part(query, "query");
}

function indexOf(indexes: ServerParts["indexes"], name: string | undefined) {
  const wanted = name ?? [...indexes.keys()].at(0);
  const index = wanted === undefined ? undefined : indexes.get(wanted);
  if (wanted !== undefined && index) return { name: wanted, index };
  const names = indexes.size > 0 ? `it has ${[...indexes.keys()].join(", ")}` : "it was started without one";
  throw new RequestError(
    404,
    "E_INDEX_NOT_FOUND",
    `this server has no index ${wanted ?? ""}: ${names}`,
    "index",
  );
}

function imagePath(name: string, row: number): string {
  return `/v1/indexes/${encodeURIComponent(name)}/images/${row}`;
}

function imageRoute(app: FastifyInstance, { indexes, autoRotate }: ServerParts): void {
  app.get<{ Params: { name: string; row: string } }>("/v1/indexes/:name/images/:row", {
    schema: { summary: "A thumbnail of an index's image (WebP)", tags: ["torchclip"] },
    config: routeConfig({ imageStatus: 422 }),
    handler: async (request, reply) => {
      const { index } = indexOf(indexes, request.params.name);
      const name = /^\d{1,10}$/.test(request.params.row)
        ? index.stored.names[Number(request.params.row)]
        : "";
      if (!index.images || !name) throw new RequestError(404, "E_NOT_FOUND", "there is no such image");
      const file = await insideOf(index.images, name);
      const { thumbnail } = await import("../../report/images.js"); // with what draws text: not at the start
      const bytes = await thumbnail(file, SIDE, { autoRotate });
      return reply.type("image/webp").header("cache-control", "private, max-age=3600").send(bytes);
    },
  });
}

/** The file of an index's image. What is not inside the folder does not exist for clients. */
async function insideOf(folder: string, name: string): Promise<string> {
  try {
    return await pathInside(folder, name);
  } catch (error) {
    if (error instanceof TorchclipError) throw new RequestError(404, "E_NOT_FOUND", "there is no such image");
    throw error;
  }
}
