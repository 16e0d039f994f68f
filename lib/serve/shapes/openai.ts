import { VECTOR_TYPES, type VectorType } from "../encoding.js";
import { wrong, type Item, type ItemReader } from "../items.js";
import type { Embedded } from "../model.js";
import { MODEL_SCHEMA, TRUNCATE_SCHEMA, type AnswerFacts, type JsonObject, type Shape } from "./shape.js";

const INPUT =
  'a text or a list of them; an image is a data URI ("data:image/png;base64,…"), ' +
  '{"image": URL, data URI or base64}, or {"type": "image_url", "image_url": {"url"}}. ' +
  "Texts and images may be mixed.";

/**
 * OpenAI's /v1/embeddings with what others added to it: images as data URIs (NVIDIA NIM), `modality`
 * (Infinity, NIM), `messages` (vLLM) and objects as items (Jina).
 */
export const openAiShape: Shape = {
  paths: ["/v1/embeddings", "/embeddings"],
  summary: "Embeddings of texts and images: OpenAI, NVIDIA NIM, Infinity, vLLM, Jina",
  errors: "openai",
  body: {
    type: "object",
    properties: {
      model: MODEL_SCHEMA,
      input: { description: INPUT },
      messages: { type: "array", description: "vLLM: one message with one text or image, instead of input" },
      modality: { description: "text or image, of all items or a list of them; without it each item tells" },
      encoding_format: { type: "string", enum: ["float", "base64"] },
      embedding_type: { type: "string", enum: VECTOR_TYPES, description: "Jina's encoding_format" },
      dimensions: { type: "integer", minimum: 0, description: "the model's own, or 0" },
      normalized: { type: "boolean", enum: [true], description: "vectors have length 1" },
      truncate: TRUNCATE_SCHEMA,
    },
    examples: [{ model: "tiny", input: ["a red circle", "data:image/png;base64,iVBORw0KGgo…"] }],
  },
  read(body, reader) {
    const type = (body.embedding_type ?? body.encoding_format ?? "float") as VectorType;
    return {
      model: body.model as string | undefined,
      items: itemsOf(body, reader),
      truncate: body.truncate === "NONE" ? "error" : "end",
      // Infinity's clients send 0 for the model's own.
      dimensions: body.dimensions === 0 ? undefined : (body.dimensions as number | undefined),
      answer: (embedded, about, writer) => listOf(embedded, about, (vector) => writer.vector(vector, type)),
    };
  },
};

function itemsOf(body: JsonObject, reader: ItemReader): Item[] {
  if (body.messages !== undefined) return [itemOfMessages(body.messages, reader)];
  const inputs = reader.list(body.input, "input");
  return inputs.map((input, i) => {
    const where = typeof body.input === "string" ? "input" : `input[${i}]`;
    if (typeof input !== "string") return reader.part(input, where);
    const modality = modalityOf(body.modality, i);
    if (modality === "image") return reader.image(input, where);
    return modality === "text" ? reader.text(input, where) : reader.textOrImage(input, where);
  });
}

function modalityOf(given: unknown, index: number): "text" | "image" | undefined {
  const one: unknown = Array.isArray(given) ? given[index] : given;
  if (one === undefined || one === "text" || one === "image") return one;
  throw wrong("modality", 'must be "text" or "image"');
}

/** vLLM takes one conversation a call; for CLIP that is one text or one image. */
function itemOfMessages(messages: unknown, reader: ItemReader): Item {
  const list = reader.list(messages, "messages");
  if (list.length > 1)
    throw wrong("messages", "has several messages; one with one text or image is embedded");
  const { content } = (list[0] ?? {}) as JsonObject;
  return reader.onlyPart(content, "messages[0].content");
}

function listOf(
  { vectors, tokens }: Embedded,
  { model, id }: AnswerFacts,
  write: (vector: Float32Array) => string,
): object {
  return {
    object: "list",
    id: `embd-${id}`,
    created: Math.floor(Date.now() / 1000),
    model,
    data: vectors.map((vector, index) => ({
      object: "embedding",
      index,
      embedding: write(vector),
    })),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}
