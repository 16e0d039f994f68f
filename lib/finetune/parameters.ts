import { addon, type NativeLora } from "../addon.js";
import { TorchclipError } from "../errors.js";
import type { ModelConfig } from "../models/config-types.js";
import { adapterScale } from "../models/import/low-rank.js";
import type { FinetuneMethod, LoraSettings, Recipe } from "./recipes.js";

/** Statistics of batch norms stay as they are. */
const STATISTICS = /\.(running_mean|running_var)$/;
/** What maps the image tower's vector to the embedding: FusionBench's recipe counts it to the classifier. */
const PROJECTION = /^visual\.(proj|proj_bias)$/;
const BLOCKS = { image: "visual.transformer.resblocks", text: "text.transformer.resblocks" } as const;

/** Names of the tensors that a method trains. Throws E_ARGUMENT where the model has no such parts. */
export function trainedTensors(config: ModelConfig, method: FinetuneMethod, recipe: Recipe): string[] {
  const all = addon()
    .modelLayout(JSON.stringify(config))
    .shapes.map(([name]) => name)
    .filter((name) => !STATISTICS.test(name));
  switch (method) {
    case "image":
      return all.filter((name) => name.startsWith("visual.") && !PROJECTION.test(name));
    case "last-layers":
      return lastLayers(config, all, recipe.layers);
    case "lora":
      return loraTensors(config, recipe.lora);
    case "flyp":
      return all;
  }
}

/** The last blocks of the image tower and what follows them. */
function lastLayers(config: ModelConfig, all: readonly string[], layers: number): string[] {
  const blocks = blocksOf(config, "image", "last-layers");
  if (layers > blocks) {
    const message = `layers must be at most ${blocks}, the blocks of the image tower, not ${layers}`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "layers" });
  }
  const isTrained = (name: string) => {
    const block = name.startsWith(`${BLOCKS.image}.`) ? Number(name.split(".")[3]) : undefined;
    if (block !== undefined) return block >= blocks - layers;
    return /^visual\.(ln_post\.|attn_pool\.|proj$|proj_bias$)/.test(name);
  };
  return all.filter(isTrained);
}

/** The number of Transformer blocks of CLIP's kind in a tower. */
function blocksOf(config: ModelConfig, which: "image" | "text", method: FinetuneMethod): number {
  const tower = config[which];
  if (tower.kind === "vit" || tower.kind === "transformer") return tower.layers;
  const message =
    `${method} needs Transformer blocks of CLIP's kind; ` +
    `the ${which} tower of ${config.name} is of the kind "${tower.kind}"`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: "method" });
}

/** The towers that get adapters. */
function loraTowers({ towers }: LoraSettings): ("image" | "text")[] {
  return towers === "both" ? ["image", "text"] : [towers];
}

function loraTensors(config: ModelConfig, lora: LoraSettings): string[] {
  return loraTowers(lora).flatMap((tower) =>
    Array.from({ length: blocksOf(config, tower, "lora") }, (_, block) =>
      lora.projections.flatMap((projection) => {
        const adapter = `${BLOCKS[tower]}.${block}.attn.lora_${projection}`;
        return [`${adapter}.a`, `${adapter}.b`];
      }),
    ).flat(),
  );
}

/** What an adapter's product is multiplied by. */
export function loraScale({ alpha, rank, rankStabilized }: LoraSettings): number {
  return adapterScale(alpha, rank, rankStabilized);
}

/** Adapters as the addon takes them. */
export function nativeLora(lora: LoraSettings): NativeLora {
  const towers = loraTowers(lora);
  const { rank, dropout, projections } = lora;
  return {
    image: towers.includes("image"),
    text: towers.includes("text"),
    rank,
    scale: loraScale(lora),
    dropout,
    projections,
  };
}

/** Whether texts are encoded while a method trains; else the embeddings of the classes stay. */
export function trainsTexts(method: FinetuneMethod, { lora }: Pick<Recipe, "lora">): boolean {
  return method === "flyp" || (method === "lora" && lora.towers !== "image");
}

/** Whether padding after a text's end may be left out, as TowerLayout::trims in native/core/model/config. */
export function trimsTexts({ text }: ModelConfig): boolean {
  return text.kind === "transformer" && text.causal && text.pool !== "last" && !text.appendedToken;
}
