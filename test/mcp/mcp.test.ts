import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { load, type Clip } from "../../lib/index.js";
import { colourImages } from "../support/colours.js";
import { root, temporaryFolder } from "../support/index.js";
import { commandLine, MAIN } from "../support/process.js";
import { assertVectors, rowsOf } from "../support/vectors.js";

interface Answer {
  isError?: boolean;
  content: { type: string; text?: string; mimeType?: string; data?: string }[];
  structuredContent?: Record<string, unknown>;
}

describe("torchclip mcp", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const images = join(folder, "images");
  const index = join(folder, "a.npy");
  let clip: Clip;
  let client: Client;
  let paths: string[];

  async function connect(...args: string[]): Promise<Client> {
    const connected = new Client({ name: "test", version: "1.0.0" });
    const env = { ...(process.env as Record<string, string>), TORCHCLIP_CACHE: join(folder, "cache") };
    const command = { command: process.execPath, args: [MAIN, "mcp", ...args], env, cwd: root };
    await connected.connect(new StdioClientTransport({ ...command, stderr: "ignore" }));
    return connected;
  }

  async function call(name: string, given: Record<string, unknown>): Promise<Answer> {
    return (await client.callTool({ name, arguments: given })) as unknown as Answer;
  }

  async function errorOf(name: string, given: Record<string, unknown>): Promise<string> {
    const { isError, content } = await call(name, given);
    assert.equal(isError, true, JSON.stringify(content));
    return content[0].text!;
  }

  before(async () => {
    paths = await colourImages(images);
    const { status, stderr } = commandLine(join(folder, "cache"))("embed", images, "-o", index, "-m", "tiny");
    assert.equal(status, 0, stderr);
    writeFileSync(join(folder, "secret.png"), "outside of the folder");
    symlinkSync(join(folder, "secret.png"), join(images, "link.png"));
    clip = await load("tiny");
    client = await connect("--index", index, "--root", images);
  });
  after(async () => {
    await client.close();
    await clip.close();
  });

  it("lists the tools with their schemas; search_images only with an index", async () => {
    const { tools } = await client.listTools();
    assert.deepEqual(tools.map(({ name }) => name).sort(), ["classify_image", "embed", "search_images"]);
    for (const { inputSchema, outputSchema, annotations } of tools) {
      assert.equal(inputSchema.type, "object");
      assert.equal(outputSchema?.type, "object");
      assert.equal(annotations?.readOnlyHint, true);
    }
    const bare = await connect("-m", "tiny");
    const names = (await bare.listTools()).tools.map(({ name }) => name);
    assert.deepEqual(names.sort(), ["classify_image", "embed"]);
    await bare.close();
  });

  it("search_images finds by a text and by an image, with paths and thumbnails", async () => {
    const byImage = await call("search_images", { image: "lime.png", top_k: 1, thumbnails: true });
    const { hits } = byImage.structuredContent as { hits: { name: string; path: string; score: number }[] };
    assert.deepEqual([hits[0].name, hits[0].path], ["lime.png", paths[1]]);
    assert.ok(hits[0].score > 0.9999, `the score: ${hits[0].score}`);
    assert.deepEqual(JSON.parse(byImage.content[0].text!), byImage.structuredContent);
    const [, thumbnail] = byImage.content;
    assert.deepEqual([thumbnail.type, thumbnail.mimeType], ["image", "image/webp"]);
    assert.equal(Buffer.from(thumbnail.data!, "base64").subarray(8, 12).toString(), "WEBP");
    const byText = await call("search_images", { query: "a red circle" });
    assert.equal((byText.structuredContent as { hits: object[] }).hits.length, 3);
    assert.equal(byText.content.length, 1);
  });

  it("classify_image gives the predictions of clip.classify, and embed the embeddings", async () => {
    const labels = ["red", "green", "blue"];
    const { structuredContent } = await call("classify_image", { image: paths[2], labels });
    const expected = await clip.classify(paths[2], labels);
    const { predictions } = structuredContent as { predictions: { label: string; probability: number }[] };
    assert.deepEqual(
      predictions.map(({ label, probability }) => [label, probability]),
      expected.map(({ label, probability }) => [label, probability]),
    );
    const texts = await call("embed", { texts: ["a red circle"] });
    const found = texts.structuredContent as { model: string; dim: number; embeddings: number[][] };
    assert.deepEqual([found.model, found.dim], [clip.info.config.name, 192]);
    assertVectors(found.embeddings, rowsOf(await clip.encodeTexts(["a red circle"])));
    const ofImages = (await call("embed", { images: ["red.png"] })).structuredContent as typeof found;
    assertVectors(ofImages.embeddings, rowsOf(await clip.encodeImages([paths[2]])));
  });

  it("ends when the client closes standard input, with nothing else on standard output", async () => {
    const child = spawn(process.execPath, [MAIN, "mcp", "-m", "tiny"], { cwd: root });
    let output = "";
    let notes = "";
    child.stdout.on("data", (text: Buffer) => (output += text.toString()));
    const isReady = new Promise<void>((resolve) =>
      child.stderr.on("data", (text: Buffer) => {
        notes += text.toString();
        if (notes.includes("is ready")) resolve();
      }),
    );
    await isReady;
    child.stdin.end();
    const [status] = (await once(child, "close")) as [number | null];
    assert.deepEqual([status, output], [0, ""], notes);
  });

  it("an image outside of the root is refused, and errors are answers with their code", async () => {
    const outside = join(folder, "secret.png");
    for (const image of [outside, "../secret.png", "link.png", "data:image/png;base64,AA=="])
      assert.match(await errorOf("embed", { images: [image] }), /^E_ARGUMENT: /, image);
    assert.match(await errorOf("embed", { images: ["none.png"] }), /^E_IMAGE_READ: /);
    assert.match(await errorOf("embed", {}), /^E_ARGUMENT: give either texts or images/);
    assert.match(
      await errorOf("search_images", { query: "a", image: "red.png" }),
      /^E_ARGUMENT: give either/,
    );
    assert.match(
      await errorOf("classify_image", { image: "red.png", labels: ["a", "a"] }),
      /^E_ARGUMENT: label 1/,
    );
    assert.match(await errorOf("classify_image", { image: "red.png", labels: [] }), /labels/);
    assert.equal((await call("embed", { texts: ["it goes on"] })).isError, undefined);
  });
});
