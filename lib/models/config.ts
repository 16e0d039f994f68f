import type { NativeTransform } from "../addon.js";
import { TorchclipError } from "../errors.js";
import { kindOf, Untrusted } from "../util/untrusted.js";
import { checkConfig } from "./check-config.js";
import { INTERPOLATIONS, type ModelConfig, type Preprocessing } from "./config-types.js";
import { TorchArchive } from "./formats/index.js";

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
  if (image.kind === "torchscript" || text.kind === "torchscript") {
    const context = text.contextLength;
    return `third-party TorchScript, image ${image.imageSize} px; text ${context} tokens; embedding ${embedDim}`;
  }
  const size = (t: {
    width?: number | number[];
    widths?: number[];
    layers?: number | number[];
    depths?: number[];
  }) => `${[t.layers ?? t.depths].flat().join("-")} × ${[t.width ?? t.widths].flat().join("-")}`;
  const patch = "patchSize" in image ? ` / ${image.patchSize}` : "";
  const activation = "activation" in image ? `; ${image.activation}` : "";
  return `${architecture}, image ${image.imageSize} px${patch}, ${size(image)}; text ${text.contextLength} tokens, ${size(text)}; embedding ${embedDim}${activation}`;
}

/** The config inside an artifact. */
export async function readArtifactConfig(artifact: string): Promise<ModelConfig> {
  return readConfig(
    (await (await TorchArchive.open(artifact)).read("extra/torchclip.json")).toString("utf8"),
  );
}
