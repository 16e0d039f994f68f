import assert from "node:assert/strict";
import OpenAI from "openai";
import { fixture } from "../support/index.js";
import { dataUri, startServer, type TestServer } from "../support/server.js";

const KEY = "a-key-of-the-test";

describe("serve: the official client of OpenAI", () => {
  let server: TestServer;
  let client: OpenAI;
  before(async () => {
    server = await startServer({ apiKeys: [KEY] });
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: KEY, maxRetries: 0 });
  });
  after(() => server.close());

  it("gets embeddings of texts and images, by its default base64 and as floats", async () => {
    const input = ["a cat", dataUri("images/rgb420.jpg")];
    const text = await server.clip.encodeTexts(["a cat"]);
    const image = await server.clip.encodeImages([fixture("images/rgb420.jpg")]);
    const expected = [Array.from(text.data), Array.from(image.data)];
    for (const encoding_format of [undefined, "float"] as const) {
      const { data, model } = await client.embeddings.create({ model: "tiny", input, encoding_format });
      assert.equal(model, "tiny");
      assert.deepEqual(
        data.map(({ embedding }) => Array.from(embedding)),
        expected,
      );
    }
  });

  it("lists the models", async () => {
    const { data } = await client.models.list();
    assert.deepEqual(
      data.map(({ id, owned_by }) => [id, owned_by]),
      [["tiny", "torchclip"]],
    );
    assert.equal((await client.models.retrieve("tiny")).id, "tiny");
  });

  it("throws its own errors, with our codes", async () => {
    const create = (params: { model: string; input: string | string[] }, by = client) =>
      by.embeddings.create(params).then(
        () => assert.fail("nothing was thrown"),
        (error: unknown) => error,
      );
    const bad = await create({ model: "tiny", input: ["a", "data:image/png;base64,AAAA"] });
    assert.ok(bad instanceof OpenAI.BadRequestError);
    assert.deepEqual([bad.code, bad.param], ["E_IMAGE_DECODE", "input[1]"]);
    assert.ok((await create({ model: "x", input: "a" })) instanceof OpenAI.NotFoundError);
    const other = client.withOptions({ apiKey: "wrong" });
    assert.ok((await create({ model: "tiny", input: "a" }, other)) instanceof OpenAI.AuthenticationError);
  });
});
