// Ranks labels for an image: the zero-shot classifier of the CLIP paper.
//   node examples/classify.mjs IMAGE "label,label,…" [MODEL]
import { load } from "torchclip";

const [image, labels, model = "tiny"] = process.argv.slice(2);
if (!image || !labels) {
  console.error('Usage: node examples/classify.mjs IMAGE "label,label,…" [MODEL]');
  process.exit(2);
}

const clip = await load(model);
const predictions = await clip.classify(image, labels.split(","), { template: "a photo of a {}" });
for (const { label, probability } of predictions) {
  console.log(`${(100 * probability).toFixed(2).padStart(6)} %  ${label}`);
}
await clip.close();
