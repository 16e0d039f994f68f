import type { FastifyInstance, FastifyReply } from "fastify";
import { describeModel, type ServedModel } from "../model.js";
import { stateOf } from "../state.js";
import { routeConfig, sendJson, type ServerParts } from "./parts.js";

/** Which models there are, whether the server lives and is ready, and its numbers. */
export function statusRoutes(app: FastifyInstance, parts: ServerParts): void {
  const open = routeConfig({ isPublic: true });
  const ready = (_: unknown, reply: FastifyReply) => {
    const isReady = parts.isReady();
    return sendJson(reply.code(isReady ? 200 : 503), { status: isReady ? "ready" : "not ready" });
  };
  const live = (_: unknown, reply: FastifyReply) => sendJson(reply, { status: "live" });
  const tags = ["status"];
  for (const [i, prefix] of ["/health", "/v1/health"].entries()) {
    const hide = i > 0; // NVIDIA NIM's addresses
    const isLive = { summary: "200 while the server runs", tags, hide };
    const isReady = {
      summary: "200 when the models are warmed up, 503 before and while closing",
      tags,
      hide,
    };
    app.get(`${prefix}/live`, { schema: isLive, config: open, handler: live });
    app.get(`${prefix}/ready`, { schema: isReady, config: open, handler: ready });
  }
  app.get("/health", { schema: { hide: true }, config: open, handler: ready }); // Infinity's
  app.get("/metrics", {
    schema: { summary: "Numbers for Prometheus", tags },
    config: routeConfig({}),
    handler: async (_, reply) =>
      reply.type(parts.metrics.contentType).send(await parts.metrics.text(parts.models.all)),
  });
  modelRoutes(app, parts);
}

function modelRoutes(app: FastifyInstance, { models, indexes, probes, allowUrls }: ServerParts): void {
  const began = Math.floor(Date.now() / 1000);
  const describe = (model: ServedModel) => ({
    id: model.name,
    object: "model",
    created: began,
    owned_by: "torchclip",
    fingerprint: model.fingerprint,
    ...describeModel(model.clip.info),
    indexes: namesOf(indexes, model),
    probes: namesOf(probes, model),
  });
  const tags = ["status"];
  for (const [i, url] of ["/v1/models", "/models"].entries()) {
    app.get(url, {
      schema: {
        summary: "The models, with their indexes and probes; /v1/models/NAME: one of them",
        tags,
        hide: i > 0,
      },
      config: routeConfig({}),
      handler: (_, reply) =>
        sendJson(reply, { object: "list", data: models.all.map(describe), allow_urls: allowUrls }),
    });
  }
  // Names hold slashes: ViT-B/32.
  app.get<{ Params: { "*": string } }>("/v1/models/*", {
    schema: { hide: true }, // OpenAPI has no paths with slashes in a parameter
    config: routeConfig({}),
    handler: (request, reply) => {
      const model = models.find(request.params["*"]);
      stateOf(request).answeredBy(model, reply);
      return sendJson(reply, describe(model));
    },
  });
}

function namesOf(served: ReadonlyMap<string, { model: ServedModel }>, model: ServedModel): string[] {
  return [...served].filter(([, { model: own }]) => own === model).map(([name]) => name);
}
