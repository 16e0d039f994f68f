/** Writes CLIP's tokenizer.json to the path given, for write.py. */
import { writeFileSync } from "node:fs";
import { clipTokenizerJson } from "../../lib/text/clip-vocabulary.js";

writeFileSync(process.argv[2], JSON.stringify(clipTokenizerJson()));
