import assert from "node:assert/strict";
import type { RetrievalManifest, RetrievalResult } from "../../lib/eval/index.js";
import { similarity, type Embeddings } from "../../lib/index.js";
import { measureRetrieval } from "../../lib/eval/retrieval-metrics.js";
import { retrievalHtml } from "../../lib/report/retrieval-html.js";
import { retrievalText } from "../../lib/report/retrieval-text.js";
import { fixture } from "../support/index.js";
import { HOSTILE, manifest } from "../support/report.js";

/** A made-up retrieval of two images that find each other's captions. */
async function made(): Promise<RetrievalResult> {
  const rows = (values: number[][]): Embeddings => {
    return { data: Float32Array.from(values.flat()), rows: values.length, dim: 2 };
  };
  const images = rows([
    [1, 0],
    [0, 1],
  ]);
  const captions = rows([
    [0, 1],
    [1, 0],
  ]);
  const { metrics, ranks } = await measureRetrieval(images, captions, [0, 1], similarity);
  const worst = [0, 1].map((query) => ({
    query,
    rank: 2,
    answer: { row: query, score: 0 },
    hits: [
      { row: 1 - query, score: 1 },
      { row: query, score: 0 },
    ],
  }));
  return {
    metrics,
    images: [
      { name: HOSTILE, image: fixture("images/rgb.png") },
      { name: "gone.png", image: "/nowhere/gone.png" },
    ],
    captions: [HOSTILE, "猫 a cat"],
    imageOf: [0, 1],
    ranks,
    worst: { imageToText: worst, textToImage: worst },
    skipped: [{ name: HOSTILE, code: "E_IMAGE_DECODE", message: HOSTILE }],
    truncated: 3,
    resumed: { images: 0, captions: 0 },
    times: { read: 0, decode: 0, resize: 0, forward: 0, search: 0, total: 0 },
  };
}

describe("the page of a retrieval", () => {
  it("escapes what comes from outside, requests nothing, and carries the fonts of its captions", async () => {
    const result = await made();
    const data = { name: HOSTILE, split: HOSTILE, images: [] };
    const html = await retrievalHtml(data, result, manifest as unknown as RetrievalManifest);
    assert.ok(!html.includes("<script"), "it has no script");
    assert.ok(!html.includes("<img src=x") && !html.includes(HOSTILE));
    assert.ok(!/(?:src|href)="(?!data:)/.test(html), "it requests nothing");
    assert.match(html, /default-src 'none'/);
    assert.match(html, /@font-face/);
    assert.match(html, /gone\.png is no longer readable/);
    assert.match(html, /3 captions cut at the model's context/);
    assert.match(html, /rank 2 of 2/);
    assert.match(html, /1 images could not be read/);
  });

  it("as text: both definitions in both directions, ties, cut captions and skipped images", async () => {
    const text = retrievalText(await made());
    assert.equal((text.match(/image → text/g) ?? []).length, 2);
    assert.equal((text.match(/text → image/g) ?? []).length, 2);
    assert.match(text, /image → text +0\.00% \(0\.0–0\.0\) +100\.00%/);
    assert.match(text, /nDCG@10/);
    assert.match(text, /3 captions were longer/);
    assert.match(text, /Skipped: 1 images/);
    assert.doesNotMatch(text, /scores exactly/);
  });
});
