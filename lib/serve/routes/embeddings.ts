import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { AnswerWriter } from "../encoding.js";
import { wrong, ItemReader } from "../items.js";
import type { ServedModel } from "../model.js";
import { cohereShape } from "../shapes/cohere.js";
import { openAiShape } from "../shapes/openai.js";
import type { JsonObject, Shape } from "../shapes/shape.js";
import { voyageShape } from "../shapes/voyage.js";
import { stateOf } from "../state.js";
import { routeConfig, sendJsonText, type ServerParts } from "./parts.js";

/** The requests for embeddings, each in the form of the provider that it comes from. */
export function embeddingRoutes(app: FastifyInstance, parts: ServerParts): void {
  for (const shape of [openAiShape, voyageShape, cohereShape]) {
    for (const [place, url] of shape.paths.entries()) {
      app.post(url, {
        schema: { summary: shape.summary, tags: ["embeddings"], body: shape.body, hide: place > 0 },
        config: routeConfig({ errors: shape.errors, usesModel: true }),
        handler: (request, reply) => answer(shape, parts, request, reply),
      });
    }
  }
}

async function answer(
  shape: Shape,
  parts: ServerParts,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const state = stateOf(request);
  const reader = new ItemReader(state.strings, parts.allowUrls);
  const call = shape.read(request.body as JsonObject, reader);
  const model = parts.models.find(call.model);
  checkDimensions(model, call.dimensions);
  state.answeredBy(model, reply);
  state.items = call.items.length;
  const { truncate } = call;
  const { countPixels } = shape;
  const embedded = await model.embed(call.items, { controller: state.controller, truncate, countPixels });
  const writer = new AnswerWriter();
  const body = call.answer(embedded, { model: model.name, id: request.id }, writer);
  return sendJsonText(reply, await writer.json(body));
}

/** Vectors of CLIP lose their meaning when they are cut; only models that were trained for it may be. */
function checkDimensions({ name, clip }: ServedModel, dimensions: number | undefined): void {
  const { embedDim } = clip.info;
  if (dimensions === undefined || dimensions === embedDim) return;
  throw wrong("dimensions", `must be ${embedDim}: the vectors of ${name} cannot be cut`);
}
