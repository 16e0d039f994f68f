import { VECTOR_TYPES, type VectorType } from "../encoding.js";
import { wrong, type Item, type ItemReader } from "../items.js";
import { TRUNCATE_SCHEMA, type JsonObject, type Shape } from "./shape.js";

const TYPES = { type: "array", minItems: 1, items: { type: "string", enum: VECTOR_TYPES } } as const;

/** Cohere's /v2/embed. */
export const cohereShape: Shape = {
  paths: ["/v2/embed"],
  summary: "Embeddings of texts and images: Cohere",
  errors: "message",
  body: {
    type: "object",
    properties: {
      model: { type: "string" },
      input_type: { type: "string", description: "image, search_query, search_document …; changes nothing" },
      texts: { type: "array", description: "texts" },
      images: { type: "array", description: "data URIs of images" },
      inputs: {
        type: "array",
        description: "each {content: [one text or one image]}",
        items: { type: "object", required: ["content"], properties: { content: {} } },
      },
      embedding_types: { ...TYPES, description: "default: float" },
      output_dimension: { type: "integer", description: "the model's own" },
      truncate: TRUNCATE_SCHEMA,
    },
  },
  read(body, reader) {
    const types = (body.embedding_types ?? ["float"]) as VectorType[];
    const items = itemsOf(body, reader);
    const texts = items.flatMap((item) => (item.kind === "text" ? [item.text] : []));
    return {
      model: body.model as string | undefined,
      items,
      truncate: body.truncate === "NONE" ? "error" : "end",
      dimensions: body.output_dimension as number | undefined,
      answer: ({ vectors, tokens, images }, { id }, writer) => ({
        id,
        embeddings: Object.fromEntries(
          types.map((type) => [type, vectors.map((vector) => writer.vector(vector, type))]),
        ),
        texts,
        meta: {
          api_version: { version: "2" },
          billed_units: { input_tokens: tokens, images },
          tokens: { input_tokens: tokens },
        },
        response_type: "embeddings_by_type",
      }),
    };
  },
};

/** Exactly one of `texts`, `images` and `inputs`. */
function itemsOf({ texts, images, inputs }: JsonObject, reader: ItemReader): Item[] {
  const given = [texts, images, inputs].filter((list) => list !== undefined);
  if (given.length !== 1) throw wrong("body", "must have one of texts, images and inputs");
  if (texts !== undefined)
    return reader.list(texts, "texts").map((text, i) => reader.text(text, `texts[${i}]`));
  if (images !== undefined)
    return reader.list(images, "images").map((image, i) => reader.image(image, `images[${i}]`));
  const list = reader.list(inputs, "inputs") as JsonObject[];
  return list.map(({ content }, i) => reader.onlyPart(content, `inputs[${i}].content`));
}
