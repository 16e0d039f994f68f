/**
 * Runs one of the two builds: `node --import tsx scripts/compare/worker.ts TREE`, with requests of protocol.ts
 * as messages from its parent.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { machine, sampleImages, speedOf } from "../../bench/rounds.mjs";
import type { Clip } from "../../lib/index.js";
import { sha256 } from "../../test/support/index.js";
import { noiseImage } from "../../test/support/noise.js";
import type { Answers, Reply, Request } from "./protocol.js";

const tree = process.argv[2] ?? ".";
const torchclip = (await import(
  pathToFileURL(join(tree, "dist/index.js")).href
)) as typeof import("../../lib/index.js");

const cacheDir = join(tree, "build", "compare-cache");
const MOST_ROWS = 32;
const INDEX_ROWS = 100_000;
const images = Array.from({ length: MOST_ROWS }, (_, i) => noiseImage(40 + i, 64 + 7 * i, 90 - i, 3));
const texts = Array.from(
  { length: MOST_ROWS },
  (_, i) => `a photo of ${"a very ".repeat(i % 5)}large number ${i}`,
);

const codeOf = (error: unknown) => String((error as { code?: unknown }).code ?? error);

/** The hash of the bytes that `encode` resolves with, or the code of its error. */
async function hashOf(encode: () => Promise<{ data: Float32Array }>): Promise<string> {
  try {
    const { data } = await encode();
    return sha256(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  } catch (error) {
    return codeOf(error);
  }
}

async function embeddings(request: Extract<Request, { kind: "embeddings" }>): Promise<Answers["embeddings"]> {
  const { model, precision, batches } = request;
  const results: Answers["embeddings"] = {};
  let clip: Clip;
  try {
    clip = await torchclip.load(model.folder, {
      device: "cpu",
      precision,
      cacheDir,
    });
  } catch (error) {
    return { load: codeOf(error) };
  }
  for (const batchSize of batches) {
    const tokens = model.ids?.slice(0, batchSize);
    results[`images, batch ${batchSize}`] = await hashOf(() =>
      clip.encodeImages(images.slice(0, batchSize), { batchSize }),
    );
    results[`texts, batch ${batchSize}`] = await hashOf(() =>
      tokens
        ? clip.encodeTokens({
            data: Int32Array.from(tokens.flat()),
            rows: tokens.length,
            length: tokens[0]?.length ?? 0,
            truncated: [],
          })
        : clip.encodeTexts(texts.slice(0, batchSize), { batchSize, truncate: "end" }),
    );
  }
  await clip.close();
  return results;
}

type Cases = Partial<Record<string, () => Promise<number>>>;
let cases: Cases = {};

async function modelCases(folder: string): Promise<Cases> {
  const made: Cases = {};
  for (const precision of ["fp32", "bf16", "int8"] as const) {
    const clip = await torchclip.load(folder, { device: "cpu", precision, cacheDir });
    for (const batchSize of precision === "fp32" ? [1, 8, 32] : [1, 32]) {
      const pixels = sampleImages(batchSize, clip.info.imageSize);
      made[`images, ${precision}, batch ${batchSize}`] = async () =>
        (await clip.encodePixels(pixels, { batchSize })).rows;
    }
    if (precision !== "fp32") continue;
    made["texts, fp32, batch 32"] = async () => (await clip.encodeTexts(texts, { truncate: "end" })).rows;
    made["preprocessing of 448 × 448"] = async () => (await clip.preprocess(large)).rows;
  }
  return made;
}

const large = Array.from({ length: 16 }, (_, i) => noiseImage(90 + i, 448, 448, 3));

async function searchCases(): Promise<Cases> {
  const dim = 512;
  const data = Float32Array.from(
    { length: INDEX_ROWS * dim },
    (_, i) => Math.sin(i * 0.7) + Math.sin(i * 0.013),
  );
  const index = torchclip.EmbeddingIndex.create(dim);
  await index.add({ data, rows: INDEX_ROWS, dim });
  const made: Cases = {};
  for (const rows of [1, 64]) {
    const queries = { data: data.slice(0, rows * dim), rows, dim };
    made[`search of 100,000 rows, ${rows} queries`] = async () => {
      await index.search(queries, 10);
      return rows;
    };
  }
  return made;
}

async function answer(request: Request): Promise<unknown> {
  switch (request.kind) {
    case "embeddings":
      return embeddings(request);
    case "open":
      cases = { ...(await modelCases(request.folder)), ...(await searchCases()) };
      return Object.keys(cases);
    case "measure": {
      const work = cases[request.name];
      if (!work) throw new Error(`there is no case ${request.name} on ${machine()}`);
      return speedOf(work, request.seconds);
    }
    case "memory": {
      const { rss, heapTotal, arrayBuffers } = process.memoryUsage();
      return rss - heapTotal - arrayBuffers;
    }
  }
}

process.on("message", (request: Request) => {
  answer(request).then(
    (value) => process.send?.({ value } satisfies Reply),
    (error: unknown) => process.send?.({ error: String(error) } satisfies Reply),
  );
});
