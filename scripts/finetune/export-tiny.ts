/**
 * Writes `tiny` into a folder as transformers reads it:
 *
 *     node --import tsx scripts/finetune/export-tiny.ts OUT
 */
import { saveHuggingFace } from "../../lib/models/hugging-face/save.js";
import { readArtifact } from "../../lib/models/import/rewrite.js";

const files = await saveHuggingFace(process.argv[2], await readArtifact("models/tiny.pt"));
process.stdout.write(`${files.join("\n")}\n`);
