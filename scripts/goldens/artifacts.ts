/**
 * Imports the random models of test/goldens/families.json and writes into a folder what artifacts.py compares
 * with: each artifact, and beside it the pixels, the token ids and torchclip's embeddings of them.
 *
 *     node --import tsx scripts/goldens/artifacts.ts FOLDER && python scripts/goldens/artifacts.py FOLDER
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "../../lib/index.js";
import { importModel } from "../../lib/models/import/import.js";
import { findSource } from "../../lib/models/import/source.js";
import { families, familyImages, familyTokens, writeFamilyFolder } from "../../test/support/families.js";

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });
for (const [i, family] of families.cases.entries()) {
  const name = family.name.replace(/\W+/g, "-");
  const artifact = join(folder, `${name}.pt`);
  const weights = writeFamilyFolder(family, join(folder, `${i}-${name}`), true);
  await importModel(await findSource(weights), artifact, { name: family.name });
  const clip = await load(artifact, { device: "cpu", runner: "generic" });
  const pixels = await clip.preprocess(familyImages);
  const tokens = familyTokens(family);
  const [image, text] = [await clip.encodePixels(pixels), await clip.encodeTokens(tokens)];
  await clip.close();
  const results = {
    pixels: Buffer.from(pixels.data).toString("base64"),
    tokens: { ids: [...tokens.data], length: tokens.length },
    image: [...image.data],
    text: [...text.data],
  };
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(results));
}
process.stdout.write(`${families.cases.length} artifacts in ${folder}\n`);
