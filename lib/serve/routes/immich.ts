import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Multipart } from "@fastify/multipart";
import { encodeVector } from "../encoding.js";
import { imageSize } from "../../images/decode.js";
import { RequestError } from "../errors.js";
import { wrong, type Item } from "../items.js";
import { aboutItem } from "../model.js";
import type { JsonObject } from "../shapes/shape.js";
import { stateOf } from "../state.js";
import { routeConfig, sendJson, type ServerParts } from "./parts.js";

/** The parts of a form. */
interface Form {
  entries?: string;
  text?: string;
  image?: Buffer;
}

/** Immich's machine-learning service, as far as it is CLIP: `POST /predict`, a form; `GET /ping`. */
export function immichRoutes(app: FastifyInstance, parts: ServerParts): void {
  app.get("/ping", {
    schema: { summary: "pong", tags: ["Immich"] },
    config: routeConfig({ isPublic: true }),
    handler: (_, reply) => reply.type("text/plain").send("pong"),
  });
  app.post("/predict", {
    schema: {
      summary: "Embedding of one image or text: Immich's machine-learning service",
      description:
        'multipart/form-data: entries = {"clip": {"visual": {"modelName"}}} with the file image, ' +
        'or {"clip": {"textual": {"modelName"}}} with the field text',
      tags: ["Immich"],
      consumes: ["multipart/form-data"],
    },
    config: routeConfig({ errors: "detail", usesModel: true, imageStatus: 422 }),
    handler: (request, reply) => predict(request, reply, parts),
  });
}

async function predict(
  request: FastifyRequest,
  reply: FastifyReply,
  { models }: ServerParts,
): Promise<FastifyReply> {
  if (!request.isMultipart())
    throw new RequestError(415, "E_MEDIA_TYPE", "the body must be multipart/form-data");
  const state = stateOf(request);
  const form = await readForm(request.parts());
  const { modelName, item, image } = entryOf(form);
  const model = models.find(modelName);
  state.answeredBy(model, reply);
  state.items = 1;
  const size = image && (await sizeOf(image)); // first: `embed` frees the image
  const { vectors } = await model.embed([item], { controller: state.controller, truncate: "end" });
  const clip = JSON.stringify(encodeVector(vectors[0], "float"));
  return sendJson(reply, size ? { clip, imageHeight: size.height, imageWidth: size.width } : { clip });
}

async function readForm(parts: AsyncIterable<Multipart>): Promise<Form> {
  const form: Form = {};
  for await (const part of parts) {
    if (part.type === "file") {
      const bytes = await part.toBuffer();
      if (part.fieldname === "image") form.image = bytes;
    } else if (part.fieldname === "entries" || part.fieldname === "text") {
      form[part.fieldname] = String(part.value);
    }
  }
  return form;
}

function sizeOf(image: Buffer): ReturnType<typeof imageSize> {
  return imageSize(image).catch((error: unknown) => {
    throw aboutItem(error, "image");
  });
}

/** The one item of a form. Throws a 422, FastAPI's status for a form that does not fit. */
function entryOf({ entries = "", text, image }: Form): { modelName?: string; item: Item; image?: Buffer } {
  const { visual, textual, ...others } = clipOf(entries);
  const other = Object.keys(others).at(0);
  if (other !== undefined) throw unfit(`the task clip.${other} is not served, only visual and textual`);
  const { modelName } = (visual ?? textual ?? {}) as JsonObject;
  if (modelName !== undefined && typeof modelName !== "string") throw unfit("modelName must be a text");
  if (visual !== undefined) {
    if (!image) throw unfit("the form has no file called image");
    return { modelName, item: { kind: "image", where: "image", read: () => image }, image };
  }
  if (textual === undefined) throw unfit('entries must be {"clip": {"visual" or "textual": {"modelName"}}}');
  if (text === undefined) throw unfit("the form has no field called text");
  return { modelName, item: { kind: "text", where: "text", text } };
}

function clipOf(entries: string): JsonObject {
  let parsed: unknown;
  try {
    parsed = JSON.parse(entries);
  } catch {
    throw unfit("the field entries is not JSON");
  }
  if (typeof parsed !== "object" || parsed === null) throw unfit("the field entries is not a JSON object");
  const { clip, ...others } = parsed as JsonObject;
  const other = Object.keys(others).at(0);
  if (other !== undefined) throw unfit(`the task ${other} is not served, only clip`);
  if (typeof clip !== "object" || clip === null) throw wrong("entries", "has no task clip");
  return clip as JsonObject;
}

function unfit(message: string): RequestError {
  return new RequestError(422, "E_ARGUMENT", message);
}
