import type { JsonObject, Shape } from "./shape.js";

/** Pixels that Voyage counts as a token (docs.voyageai.com, multimodal embeddings). */
const PIXELS_A_TOKEN = 560;

/** Voyage's /v1/multimodalembeddings. */
export const voyageShape: Shape = {
  paths: ["/v1/multimodalembeddings"],
  summary: "Embeddings of texts and images: Voyage",
  errors: "detail",
  countPixels: true,
  body: {
    type: "object",
    required: ["inputs"],
    properties: {
      inputs: {
        type: "array",
        description: "each {content: [one text, or one image as image_url or image_base64]}",
        items: { type: "object", required: ["content"], properties: { content: {} } },
      },
      model: { type: "string" },
      input_type: { type: "string", enum: ["query", "document"] },
      truncation: { type: "boolean", default: true, description: "cut a text that is too long" },
      output_encoding: { type: "string", enum: ["base64"] },
    },
  },
  read(body, reader) {
    const inputs = reader.list(body.inputs, "inputs") as JsonObject[];
    const type = body.output_encoding === "base64" ? "base64" : "float";
    return {
      model: body.model as string | undefined,
      items: inputs.map(({ content }, i) => reader.onlyPart(content, `inputs[${i}].content`)),
      truncate: body.truncation === false ? "error" : "end",
      dimensions: body.output_dimension as number | undefined,
      answer: ({ vectors, tokens, pixels }, { model }, writer) => ({
        object: "list",
        data: vectors.map((vector, index) => ({
          object: "embedding",
          embedding: writer.vector(vector, type),
          index,
        })),
        model,
        usage: {
          text_tokens: tokens,
          image_pixels: pixels,
          total_tokens: tokens + Math.floor(pixels / PIXELS_A_TOKEN),
        },
      }),
    };
  },
};
