import type { NativeTransform } from "../addon.js";
import { TorchclipError } from "../errors.js";
import { kindOf, Untrusted } from "../util/untrusted.js";
import { checkConfig } from "./check-config.js";
import { INTERPOLATIONS, type ModelConfig, type Preprocessing } from "./config-types.js";
import { TorchArchive } from "./formats/torch-zip.js";

/** `size`: the model's image size, pixels. */
export function nativeTransform(p: Preprocessing, size: number): NativeTransform {
  return {
    size,
    resize: ["shortest", "squash", "longest"].indexOf(p.resize),
    resized: p.resized ?? size,
    crop: p.crop === "floor" ? 1 : 0,
    filter: INTERPOLATIONS.indexOf(p.interpolation),
    fill: p.fill,
  };
}

/** `torchclip.json` of an artifact; throws E_MODEL_CORRUPT where a setting is missing or no such value. */
export function readConfig(json: string, file = "the artifact's torchclip.json"): ModelConfig {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const config = check.object(check.json(json), "the settings");
  if (config.formatVersion !== 2) {
    const version =
      typeof config.formatVersion === "number" ? config.formatVersion : kindOf(config.formatVersion);
    throw new TorchclipError(
      "E_MODEL_UNSUPPORTED",
      `${file} has format ${version}, this version reads format 2; import the model again`,
      { subject: file },
    );
  }
  return checkConfig(config, file);
}

/** One line: both towers with their sizes. */
export function describeModel({ image, text, embedDim, architecture }: ModelConfig): string {
  const side = `image ${image.imageSize} px`;
  const context = `text ${text.contextLength} tokens`;
  if (image.kind === "torchscript" || text.kind === "torchscript")
    return `third-party TorchScript, ${side}; ${context}; embedding ${embedDim}`;
  const patch = "patchSize" in image ? ` / ${image.patchSize}` : "";
  const activation = "activation" in image ? `; ${image.activation}` : "";
  return [
    `${architecture}, ${side}${patch}, ${layersAndWidths(image)}`,
    `${context}, ${layersAndWidths(text)}`,
    `embedding ${embedDim}${activation}`,
  ].join("; ");
}

/** Layers and width of a tower; of one with stages those of each. */
function layersAndWidths(tower: {
  width?: number;
  widths?: number[];
  layers?: number | number[];
  depths?: number[];
}): string {
  const layers = [tower.layers ?? tower.depths].flat();
  const widths = [tower.width ?? tower.widths].flat();
  return `${layers.join("-")} × ${widths.join("-")}`;
}

/** The config inside an artifact. */
export async function readArtifactConfig(artifact: string): Promise<ModelConfig> {
  const archive = await TorchArchive.open(artifact);
  const json = await archive.read("extra/torchclip.json");
  return readConfig(json.toString("utf8"));
}
