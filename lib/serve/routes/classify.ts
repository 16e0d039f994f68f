import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Prediction } from "../../clip/classifier.js";
import { TorchclipError } from "../../errors.js";
import { Classifiers } from "../classifiers.js";
import { problemOf, RequestError } from "../errors.js";
import { ItemReader, wrong, type ImageItem } from "../items.js";
import { aboutItem, type ServedModel } from "../model.js";
import { MODEL_SCHEMA, type JsonObject } from "../shapes/shape.js";
import { stateOf, type RequestState } from "../state.js";
import { routeConfig, sendJson, type ServerParts } from "./parts.js";

/** The fields of a body that the schema has checked. */
interface ClassifyBody extends JsonObject {
  model?: string;
  labels?: string[];
  templates?: string[];
  multi_label?: boolean;
  negative_templates?: string[];
  probe?: string;
  top_k?: number;
  threshold?: number;
}

type Ranked = Pick<Prediction, "label" | "index" | "logit" | "probability"> & Partial<Prediction>;

/** Ranks classes for one image. */
type Rank = (image: Uint8Array, signal: AbortSignal) => Promise<Ranked[]>;

interface Ranker {
  model: ServedModel;
  rank: Rank;
}

const TEXTS = { type: "array", minItems: 1, items: { type: "string" } } as const;

const BODY = {
  type: "object",
  properties: {
    model: MODEL_SCHEMA,
    image: { description: "a data URI, base64 or a URL" },
    images: { type: "array", description: "several, instead of image; each has its own error" },
    labels: { ...TEXTS, description: "classes, unless probe names them" },
    templates: { ...TEXTS, description: 'prompts with {} for the label; default "a photo of a {}"' },
    multi_label: { type: "boolean", description: "judge each label by itself" },
    negative_templates: { ...TEXTS, description: "for multi_label with a model of the softmax loss" },
    probe: { type: "string", description: "a probe of GET /v1/models, instead of labels" },
    top_k: { type: "integer", minimum: 1, description: "default 5; all with threshold or multi_label" },
    threshold: { type: "number", minimum: 0, maximum: 1 },
  },
  examples: [{ image: "data:image/jpeg;base64,…", labels: ["cat", "dog"] }],
} as const;

/** `POST /v1/classify`: the classes of images, by labels or by a probe. */
export function classifyRoutes(app: FastifyInstance, parts: ServerParts): void {
  const classifiers = new Classifiers();
  app.post<{ Body: ClassifyBody }>("/v1/classify", {
    schema: {
      summary: "Rank labels, or the classes of a probe, for images",
      tags: ["torchclip"],
      body: BODY,
    },
    config: routeConfig({ usesModel: true, imageStatus: 422 }),
    handler: async (request, reply) => {
      const { body } = request;
      const state = stateOf(request);
      const items = imagesOf(body, new ItemReader(state.strings, parts.allowUrls));
      const { model, rank } = await rankerOf(request, reply, parts, classifiers);
      state.items = items.length;
      const isOne = body.image !== undefined;
      const data = await model.withRoom(items.length, () => rankAll(items, { model, rank }, state, isOne));
      return sendJson(reply, { object: "list", model: model.name, data });
    },
  });
}

function imagesOf({ image, images }: ClassifyBody, reader: ItemReader): ImageItem[] {
  if ((image === undefined) === (images === undefined))
    throw wrong("body", "must have one of image and images");
  if (image !== undefined) return [reader.image(image, "image")];
  return reader.list(images, "images").map((one, i) => reader.image(one, `images[${i}]`));
}

/** The model of a request, and how it ranks an image. */
async function rankerOf(
  request: FastifyRequest<{ Body: ClassifyBody }>,
  reply: FastifyReply,
  { models, probes }: ServerParts,
  classifiers: Classifiers,
): Promise<Ranker> {
  const { body } = request;
  const state = stateOf(request);
  const { top_k: topK, threshold, labels } = body;
  if ((labels === undefined) === (body.probe === undefined))
    throw wrong("body", "must have one of labels and probe");
  if (body.probe !== undefined) {
    const probe = probes.get(body.probe);
    if (!probe) throw new RequestError(404, "E_NOT_FOUND", `there is no probe ${body.probe}`, "probe");
    state.answeredBy(probe.model, reply);
    const rank: Rank = async (image, signal) => {
      for await (const { predictions, error } of probe.classifier.stream([image], {
        topK,
        threshold,
        signal,
      })) {
        if (error) throw error;
        return predictions;
      }
      return [];
    };
    return { model: probe.model, rank };
  }
  const model = models.find(body.model);
  state.answeredBy(model, reply);
  const { templates, multi_label: multiLabel, negative_templates: negativeTemplates } = body;
  const named = { labels: labels ?? [], templates, multiLabel, negativeTemplates };
  const classifier = await classifiers.get(model, named);
  return { model, rank: (image, signal) => classifier.classify(image, { topK, threshold, signal }) };
}

/** An entry for each image; the error of the only image of a request is that of the request. */
async function rankAll(
  items: readonly ImageItem[],
  { model, rank }: Ranker,
  { controller }: RequestState,
  isOne: boolean,
): Promise<object[]> {
  const ranked = items.map(async (item, index) => {
    try {
      const predictions = await rank(await model.bytesOf(item, controller.signal), controller.signal);
      return { object: "classification", index, predictions };
    } catch (error) {
      const about = aboutItem(error, item.where);
      const ofAll = !(about instanceof TorchclipError) || ["E_ABORTED", "E_CLOSED"].includes(about.code);
      if (isOne || ofAll) throw about;
      const { code, message } = problemOf(about, 400);
      return { object: "error", index, error: { code, message } };
    }
  });
  return Promise.all(ranked);
}
