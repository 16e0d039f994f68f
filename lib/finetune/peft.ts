import { join } from "node:path";
import { huggingFaceClass } from "../models/hugging-face/names.js";
import { writeSafetensors, type WrittenTensor } from "../models/formats/write-safetensors.js";
import type { ModelConfig } from "../models/config-types.js";
import { writeFileWhole } from "../util/files.js";
import type { LoraSettings } from "./recipes.js";
import type { Trainer } from "./trainer.js";

const TOWERS = { visual: "vision_model", text: "text_model" } as const;

/**
 * Writes the adapters of a trainer as PEFT does, adapter_model.safetensors and adapter_config.json, for the
 * model as transformers holds it. Returns the files; none for a model that no class of transformers holds.
 *
 * @param base What `base_model_name_or_path` says: a hub id, or a folder.
 */
export async function savePeft(
  folder: string,
  trainer: Trainer,
  config: ModelConfig,
  lora: LoraSettings,
  base: string,
): Promise<string[]> {
  if (!huggingFaceClass(config)) return [];
  const tensors = [...trainer.shapes].map(([name, shape]): WrittenTensor => ({
    name: peftName(name),
    shape,
    read: () => trainer.read(name),
  }));
  const [weights, settings] = [
    join(folder, "adapter_model.safetensors"),
    join(folder, "adapter_config.json"),
  ];
  await writeSafetensors(weights, tensors, { format: "pt" });
  await writeFileWhole(settings, `${JSON.stringify(peftConfig(lora, base), null, 2)}\n`);
  return [weights, settings];
}

/**
 * visual.transformer.resblocks.0.attn.lora_q.a:
 * base_model.model.vision_model.encoder.layers.0.self_attn.q_proj.lora_A.weight
 */
function peftName(name: string): string {
  const [, tower, block, projection, side] =
    /^(visual|text)\.transformer\.resblocks\.(\d+)\.attn\.lora_(q|k|v|out)\.(a|b)$/.exec(name) ?? [];
  if (!side) throw new RangeError(`${name} is no tensor of an adapter`);
  const layer = `${TOWERS[tower as keyof typeof TOWERS]}.encoder.layers.${block}`;
  return `base_model.model.${layer}.self_attn.${projection}_proj.lora_${side.toUpperCase()}.weight`;
}

/** adapter_config.json of PEFT. The pattern names the modules of the towers that have adapters. */
function peftConfig(lora: LoraSettings, base: string): object {
  const { rank, alpha, dropout, rankStabilized, projections, towers } = lora;
  const modules = `(${projections.map((projection) => `${projection}_proj`).join("|")})`;
  const models = { image: "vision_model", text: "text_model", both: "(vision_model|text_model)" }[towers];
  return {
    peft_type: "LORA",
    task_type: null,
    base_model_name_or_path: base,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    use_rslora: rankStabilized,
    target_modules: `${models}\\.encoder\\.layers\\.\\d+\\.self_attn\\.${modules}`,
    bias: "none",
    fan_in_fan_out: false,
    init_lora_weights: true,
    inference_mode: true,
    modules_to_save: null,
  };
}
