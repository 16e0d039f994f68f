/** Compares preprocessing with the hashes that many-images.py wrote; prints how many differ. */
import { readFileSync } from "node:fs";
import { differing, type PreprocessingCase } from "../../test/support/preprocessing.js";

const cases = JSON.parse(readFileSync(process.argv[2], "utf8")) as PreprocessingCase[];
const different = await differing(cases);
for (const d of different) console.log(`differs: ${d}`);
console.log(`${cases.length} images, ${different.length} differ`);
