/** The models that are compared: random weights, one of each family, and a ViT-B/32 for the speed. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { families, writeFamilyFolder } from "../../test/support/families.js";
import { golden, root } from "../../test/support/index.js";
import { writeRepeatedModel } from "../../test/support/random-model.js";
import type { ComparedModel } from "./protocol.js";

const folder = join(root, "build", "compare", "models");

/** Writes a model folder of each family anew. */
export function familyModels(): ComparedModel[] {
  rmSync(join(folder, "families"), { recursive: true, force: true });
  mkdirSync(join(folder, "families"), { recursive: true });
  return families.cases.map((family) => {
    const at = join(folder, "families", family.name.replace(/\W+/g, "-"));
    writeFamilyFolder(family, at, true);
    const hasTokenizer = Boolean(families.tokenizers[family.tokenizer]);
    return { name: family.name, folder: at, ...(hasTokenizer ? {} : { ids: family.ids }) };
  });
}

/** Writes a ViT-B/32 of random weights, 605 MB. */
export function largeModel(): string {
  const at = join(folder, "vit-b-32");
  mkdirSync(at, { recursive: true });
  const { shapes } = golden("vit-b-32") as { shapes: [string, number[]][] };
  writeRepeatedModel(join(at, "model.safetensors"), shapes);
  const tower = { hidden_act: "quick_gelu" };
  writeFileSync(join(at, "config.json"), JSON.stringify({ vision_config: tower, text_config: tower }));
  return at;
}
