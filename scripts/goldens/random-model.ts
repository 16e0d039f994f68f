/** Writes the random ViT-B/32 of the goldens into a folder in Hugging Face's layout. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { golden } from "../../test/support/index.js";
import { writeRandomModel } from "../../test/support/random-model.js";

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });
writeRandomModel(
  join(folder, "model.safetensors"),
  (golden("vit-b-32") as { shapes: [string, number[]][] }).shapes,
);
writeFileSync(
  join(folder, "config.json"),
  JSON.stringify({ vision_config: { hidden_act: "quick_gelu" }, text_config: { hidden_act: "quick_gelu" } }),
);
