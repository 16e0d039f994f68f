// A server as one writes it with Fastify and @huggingface/transformers, which bench/serve.mjs is compared with:
// POST /v1/embeddings, the images of a request as data URIs.
//   npm install --no-save @huggingface/transformers
//   node bench/serve-transformers.mjs FOLDER (of bench/models.py) [PORT]
import { basename, dirname } from "node:path";
import { fastify } from "fastify";

/** @typedef {{ embeds: { dims: number[], data: Float32Array } }} Result the names of bench/models.py */

const [folder = "", port = "8001"] = process.argv.slice(2);
const { env, AutoProcessor, CLIPVisionModelWithProjection, RawImage } =
  await import("@huggingface/transformers");
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);
const name = basename(folder);
const processor = await AutoProcessor.from_pretrained(name);
const model = await CLIPVisionModelWithProjection.from_pretrained(name, { dtype: "fp32" });

const app = fastify({ bodyLimit: 32 << 20 });
app.post("/v1/embeddings", async (request) => {
  const { input } = /** @type {{ input: string[] }} */ (request.body);
  const images = await Promise.all(
    input.map((uri) => RawImage.fromBlob(new Blob([Buffer.from(uri.split(",")[1] ?? "", "base64")]))),
  );
  const result = await model(await processor(images));
  const { embeds } = /** @type {Result} */ (result);
  const [rows = 0, dim = 0] = embeds.dims;
  const data = Array.from({ length: rows }, (_, index) => {
    const row = new Float32Array(embeds.data.slice(index * dim, (index + 1) * dim));
    return { object: "embedding", index, embedding: Buffer.from(row.buffer).toString("base64") };
  });
  return { object: "list", model: name, data };
});
await app.listen({ port: Number(port) });
