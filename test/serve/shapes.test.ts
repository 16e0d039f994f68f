import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fixture } from "../support/index.js";
import { answerOf, dataUri, startServer, type TestServer } from "../support/server.js";

/** A vector as each form of answer holds it. */
interface OpenAiAnswer {
  object: string;
  model: string;
  data: { object: string; index: number; embedding: number[] | string }[];
  usage: Record<string, number>;
}

const IMAGE = "images/rgb420.jpg";

describe("serve: the forms of requests for embeddings", () => {
  let server: TestServer;
  let cat: number[];
  let image: number[];
  let tokens: number;
  before(async () => {
    server = await startServer();
    cat = Array.from((await server.clip.encodeTexts(["a cat"])).data);
    tokens = server.clip.tokenize(["a cat"]).data.filter((id) => id !== 0).length;
    image = Array.from((await server.clip.encodeImages([fixture(IMAGE)])).data);
  });
  after(() => server.close());

  async function openAi(body: object, path = "/v1/embeddings"): Promise<OpenAiAnswer> {
    const answer = await server.post(path, { model: "tiny", ...body });
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body as OpenAiAnswer;
  }
  const vectors = ({ data }: OpenAiAnswer) => data.map(({ embedding }) => embedding);

  it("OpenAI: a text, and texts in their order; the vectors are those of encodeTexts, bit for bit", async () => {
    const answer = await openAi({ input: "a cat" });
    assert.deepEqual(
      { ...answer, id: undefined, created: undefined },
      {
        object: "list",
        id: undefined,
        created: undefined,
        model: "tiny",
        data: [{ object: "embedding", index: 0, embedding: cat }],
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      },
    );
    const nulls = { user: null, dimensions: null, encoding_format: null, modality: null };
    assert.deepEqual(vectors(await openAi({ input: ["a cat"], ...nulls })), [cat]);
    const several = await openAi({
      input: ["a dog", "a cat", ""],
      encoding_format: "float",
      user: "someone",
    });
    assert.deepEqual(
      several.data.map(({ index }) => index),
      [0, 1, 2],
    );
    assert.deepEqual(several.data[1].embedding, cat);
  });

  it("OpenAI: base64 is float32, little-endian", async () => {
    const [{ embedding }] = (await openAi({ input: ["a cat"], encoding_format: "base64" })).data;
    const bytes = Buffer.from(String(embedding), "base64");
    const floats = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4));
    assert.deepEqual(floats, cat);
  });

  it("NVIDIA NIM: texts and data URIs mixed in input", async () => {
    const answer = await openAi({ input: ["a cat", dataUri(IMAGE)], encoding_format: "float" });
    assert.deepEqual(vectors(answer), [cat, image]);
  });

  it("Infinity: modality says what strings are; dimensions 0 is the model's own", async () => {
    const body = { input: [dataUri(IMAGE)], modality: "image", dimensions: 0 };
    assert.deepEqual(vectors(await openAi(body, "/embeddings")), [image]);
    const plain = dataUri(IMAGE).split(",")[1];
    assert.deepEqual(vectors(await openAi({ input: plain, modality: "image" })), [image]);
    assert.deepEqual(vectors(await openAi({ input: ["a cat"], modality: "text" })), [cat]);
    const audio = await server.post("/embeddings", { input: ["x"], modality: "audio" });
    assert.equal(audio.status, 400);
  });

  it("vLLM: messages with one image or one text", async () => {
    const messages = (content: unknown) => ({ messages: [{ role: "user", content }] });
    const link = { type: "image_url", image_url: { url: dataUri(IMAGE) } };
    assert.deepEqual(vectors(await openAi(messages([link]))), [image]);
    assert.deepEqual(vectors(await openAi(messages([{ type: "text", text: "a cat" }]))), [cat]);
    assert.deepEqual(vectors(await openAi(messages("a cat"))), [cat]);
    const both = await server.post("/v1/embeddings", messages([link, { type: "text", text: "a cat" }]));
    assert.equal(both.status, 400);
    assert.match(JSON.stringify(both.body), /one text or one image/);
  });

  it("Jina: objects with text or image, as data URI or base64 alone", async () => {
    const base64 = dataUri(IMAGE).split(",")[1];
    const input = [{ text: "a cat" }, { image: dataUri(IMAGE) }, { image: base64 }, { bytes: base64 }];
    assert.deepEqual(vectors(await openAi({ input, normalized: true })), [cat, image, image, image]);
    const [bits] = vectors(await openAi({ input: [{ text: "a cat" }], embedding_type: "ubinary" }));
    const expected = Array.from({ length: cat.length / 8 }, (_, byte) =>
      cat.slice(byte * 8, byte * 8 + 8).reduce((sum, x, bit) => sum + (x > 0 ? 128 >> bit : 0), 0),
    );
    assert.deepEqual(bits, expected);
  });

  it("Voyage: inputs with content, pixels counted", async () => {
    const inputs = [
      { content: [{ type: "text", text: "a cat" }] },
      { content: [{ type: "image_base64", image_base64: dataUri(IMAGE) }] },
    ];
    const body = { inputs, model: "tiny", input_type: null, truncation: true };
    const { status, body: answer } = await server.post("/v1/multimodalembeddings", body);
    assert.equal(status, 200, JSON.stringify(answer));
    const { usage, ...rest } = answer as OpenAiAnswer;
    assert.deepEqual(rest, {
      object: "list",
      data: [
        { object: "embedding", embedding: cat, index: 0 },
        { object: "embedding", embedding: image, index: 1 },
      ],
      model: "tiny",
    });
    assert.equal(usage.text_tokens, tokens);
    assert.ok(usage.image_pixels > 0);
    assert.equal(usage.total_tokens, tokens + Math.floor(usage.image_pixels / 560));
    const bad = await server.post("/v1/multimodalembeddings", { ...body, inputs: [{ content: [] }] });
    assert.equal(bad.status, 400);
    assert.match((bad.body as { detail: string }).detail, /^inputs\[0\]\.content is empty/);
  });

  it("Cohere: texts, images and inputs, in all types", async () => {
    const embed = async (body: object) => {
      const answer = await server.post("/v2/embed", { model: "tiny", ...body });
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      return answer.body as { embeddings: Record<string, unknown[]>; texts: string[]; meta: object };
    };
    const types = ["float", "int8", "uint8", "binary", "ubinary", "base64"];
    const { embeddings, texts, meta } = await embed({
      input_type: "search_query",
      texts: ["a cat"],
      embedding_types: types,
    });
    assert.deepEqual(Object.keys(embeddings), types);
    assert.deepEqual(embeddings.float, [cat]);
    const largest = Math.max(...cat.map(Math.abs));
    const int8 = cat.map((x) => Math.round((x * 127) / largest) + 0);
    assert.deepEqual(
      (embeddings.int8[0] as number[]).map((x) => x + 0),
      int8,
    );
    assert.deepEqual(
      embeddings.uint8[0],
      int8.map((x) => x + 128),
    );
    assert.deepEqual(
      embeddings.binary[0],
      (embeddings.ubinary[0] as number[]).map((x) => x - 128),
    );
    assert.equal(Buffer.from(String(embeddings.base64[0]), "base64").readFloatLE(4), cat[1]);
    assert.deepEqual(texts, ["a cat"]);
    assert.deepEqual(meta, {
      api_version: { version: "2" },
      billed_units: { input_tokens: tokens, images: 0 },
      tokens: { input_tokens: tokens },
    });
    assert.deepEqual((await embed({ input_type: "image", images: [dataUri(IMAGE)] })).embeddings.float, [
      image,
    ]);
    const inputs = [{ content: [{ type: "image_url", image_url: { url: dataUri(IMAGE) } }] }];
    assert.deepEqual((await embed({ inputs })).embeddings.float, [image]);
    const none = await server.post("/v2/embed", { model: "tiny", input_type: "image" });
    assert.deepEqual([none.status, Object.keys(none.body as object)], [400, ["message", "code"]]);
  });

  it("Immich: a form with an image or a text, the vector as a JSON text; pong", async () => {
    const predict = async (entries: object, parts: Record<string, string | Blob>) => {
      const form = new FormData();
      form.append("entries", JSON.stringify(entries));
      for (const [name, value] of Object.entries(parts)) form.append(name, value);
      return answerOf(await fetch(`${server.url}/predict`, { method: "POST", body: form }));
    };
    const file = new Blob([readFileSync(fixture(IMAGE))]);
    const visual = await predict({ clip: { visual: { modelName: "tiny__openai" } } }, { image: file });
    const { clip, imageHeight, imageWidth } = visual.body as Record<string, unknown>;
    assert.deepEqual(JSON.parse(String(clip)), image);
    assert.ok(Number(imageHeight) > 0 && Number(imageWidth) > 0);
    const textual = await predict({ clip: { textual: { modelName: "tiny" } } }, { text: "a cat" });
    assert.deepEqual(JSON.parse((textual.body as { clip: string }).clip), cat);
    const faces = await predict({ "facial-recognition": {} }, { image: file });
    assert.deepEqual(
      [faces.status, faces.body],
      [422, { detail: "the task facial-recognition is not served, only clip", code: "E_ARGUMENT" }],
    );
    const noImage = await predict(
      { clip: { visual: { modelName: "tiny" } } },
      { image: new Blob(["no image"]) },
    );
    assert.equal(noImage.status, 422);
    assert.equal((await server.get("/ping")).body, "pong");
  });

  it("names the model and its fingerprint", async () => {
    const answer = await server.post("/v1/embeddings", { input: "a" });
    assert.match(answer.headers.get("x-torchclip-fingerprint")!, /^[0-9a-f]{32}$/);
    const models = (await server.get("/v1/models")).body as { data: Record<string, unknown>[] };
    assert.equal(models.data[0].fingerprint, answer.headers.get("x-torchclip-fingerprint"));
    assert.equal(models.data[0].dimensions, cat.length);
    assert.equal(((await server.get("/v1/models/tiny")).body as { id: string }).id, "tiny");
    const other = await server.post("/v1/embeddings", { model: "text-embedding-3-small", input: "a" });
    assert.deepEqual(
      [other.status, (other.body as { error: object }).error],
      [
        404,
        {
          message: "this server has no model text-embedding-3-small; it has tiny",
          type: "invalid_request_error",
          param: "model",
          code: "E_MODEL_NOT_FOUND",
        },
      ],
    );
  });

  it("many clients at once: every answer is the bits of its own input", async () => {
    const texts = Array.from({ length: 60 }, (_, i) => `${i} red circles`);
    const alone = await server.clip.encodeTexts(texts);
    const answers = await Promise.all(
      texts.map((text, i) => openAi({ input: i % 3 === 0 ? [text, dataUri(IMAGE)] : text })),
    );
    for (const [i, answer] of answers.entries()) {
      const expected = Array.from(alone.data.subarray(i * alone.dim, (i + 1) * alone.dim));
      assert.deepEqual(vectors(answer), i % 3 === 0 ? [expected, image] : [expected]);
    }
  });
});
