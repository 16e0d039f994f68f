/**
 * Embeddings of noise and of two texts, for check-export.py:
 *
 *     node --import tsx scripts/finetune/embed.ts MODEL OUT.json
 */
import { writeFileSync } from "node:fs";
import { load } from "../../lib/index.js";
import { noise } from "../../test/support/noise.js";

const [model, out] = process.argv.slice(2);
const rows = 3;
const clip = await load(model, { device: "cpu" });
const size = clip.info.imageSize;
const data = Uint8Array.from({ length: rows * size * size * 3 }, (_, i) => noise(12000, i) & 255);
const images = await clip.encodePixels({ data, rows, height: size, width: size });
const tokens = clip.tokenize(["a photo of a red circle", "great film"]);
const texts = await clip.encodeTokens(tokens);
const ids = Array.from({ length: tokens.rows }, (_, row) => [
  ...tokens.data.subarray(row * tokens.length, (row + 1) * tokens.length),
]);
const found = { rows, size, ids, images: [...images.data], texts: [...texts.data] };
writeFileSync(out, `${JSON.stringify(found)}\n`);
await clip.close();
