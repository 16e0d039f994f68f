// Embeds all images of a folder and prints those that are nearest to a text.
//   node examples/embed-folder.mjs FOLDER "a text" [MODEL]
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { load } from "torchclip";

const [folder, text, model = "tiny"] = process.argv.slice(2);
if (!folder || !text) {
  console.error('Usage: node examples/embed-folder.mjs FOLDER "a text" [MODEL]');
  process.exit(2);
}

const names = (await readdir(folder)).filter((name) => /\.(jpe?g|png|webp)$/i.test(name)).sort();
const paths = names.map((name) => join(folder, name));

const clip = await load(model);
const index = await clip.index();
// Images are decoded while the model runs; an image that cannot be read gets a row of NaN, which no search
// finds.
for await (const batch of clip.streamImages(paths, { batchSize: 32, onError: "collect" })) {
  await index.add(batch);
  for (const error of batch.errors) if (error) console.error(error.message);
}

const query = await clip.encodeTexts([text]);
const { indices, scores } = await index.search(query, 5);
indices.forEach((row, rank) => {
  if (row >= 0) console.log(`${scores[rank].toFixed(4)}  ${names[row]}`);
});
index.close();
await clip.close();
