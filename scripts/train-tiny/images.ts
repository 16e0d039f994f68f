/**
 * Writes training images of `tiny`: OUT.bin (uint8 [N, 224, 224, 3]) and OUT.jsonl (one line of captions
 * each). Usage: tsx scripts/train-tiny/images.ts OUT SEED COUNT Sentences come from the training split of the
 * reviews alone; scenes from seeds that no data set uses.
 */
import { createWriteStream } from "node:fs";
import { once } from "node:events";
import sharp from "sharp";
import { layout, reviews } from "../../lib/datasets/demo/reviews.js";
import { scene, sceneCaptions, sceneSvg } from "../../lib/datasets/demo/scenes.js";
import { svgPng, textSvg } from "../../lib/datasets/render/text.js";
import { below, seededRandom } from "../../lib/util/random.js";

const [out, seedText, countText] = process.argv.slice(2);
const random = seededRandom(Number(seedText));
const pool = reviews("train", 2000);
const pixels = createWriteStream(`${out}.bin`);
const captions = createWriteStream(`${out}.jsonl`);

for (let i = 0; i < Number(countText); i++) {
  let svg: string;
  let record: object;
  if (random() < 0.68) {
    const { text, label } = pool[below(random, pool.length)];
    svg = textSvg(text, layout(random));
    record = { kind: "review", text, label };
  } else {
    const s = scene(random);
    svg = sceneSvg(s);
    record = { kind: "scene", captions: sceneCaptions(s), class: `${s.color} ${s.shape}` };
  }
  const rgb = await sharp(svgPng(svg)).removeAlpha().resize(224, 224, { kernel: "cubic" }).raw().toBuffer();
  if (!pixels.write(rgb)) await once(pixels, "drain");
  captions.write(JSON.stringify(record) + "\n");
}
pixels.end();
captions.end();
await Promise.all([once(pixels, "finish"), once(captions, "finish")]);
