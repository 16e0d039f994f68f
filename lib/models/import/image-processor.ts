import type { JsonObject } from "../../util/untrusted.js";
import { CLIP_MEAN, CLIP_STD, type Interpolation, type Preprocessing } from "../config-types.js";
import { channelsOf, objectOf } from "./config-values.js";
import { checkFields, unsupportedField } from "./fields.js";

/** What a processor class of transformers does where its config leaves a field out. */
interface ProcessorDefaults {
  /** A size of one number is the shorter side's, not both sides'. */
  shortest: boolean;
  /** Whether the class crops at all. */
  centerCrop: boolean;
  interpolation: Interpolation;
  mean: number[];
  std: number[];
}

const HALF = [0.5, 0.5, 0.5];
const CLIP: ProcessorDefaults = {
  shortest: true,
  centerCrop: true,
  interpolation: "bicubic",
  mean: CLIP_MEAN,
  std: CLIP_STD,
};
const SIGLIP: ProcessorDefaults = {
  shortest: false,
  centerCrop: false,
  interpolation: "bicubic",
  mean: HALF,
  std: HALF,
};
const VIT: ProcessorDefaults = {
  shortest: false,
  centerCrop: false,
  interpolation: "bilinear",
  mean: HALF,
  std: HALF,
};

/** By class name without "ImageProcessor", "FeatureExtractor" and "Fast". */
const PROCESSORS = new Map<string, ProcessorDefaults>([
  ["CLIP", CLIP],
  ["Bit", CLIP],
  ["Siglip", SIGLIP],
  ["ViT", VIT],
]);

/** PIL.Image.Resampling. Nearest (0) is no weighted mean and is not computed here. */
const PIL_FILTERS = new Map<unknown, Interpolation>([
  [1, "lanczos"],
  [2, "bilinear"],
  [3, "bicubic"],
  [4, "box"],
  [5, "hamming"],
]);
/**
 * Where the processor's config names none, the model's own image size is the only one that the model takes.
 */
const DEFAULT_SIZE = 224;
const TO_UNIT = 1 / 255;

/**
 * The preprocessing of transformers' image processor: preprocessor_config.json, or `image_processor` of
 * processor_config.json (since transformers 5). `size`: the image size that the model's config says, pixels,
 * or undefined. Throws E_MODEL_UNSUPPORTED, naming `file`, for what is not computed here.
 */
export function imageProcessorHints(
  config: JsonObject,
  siglip: boolean,
  size: number | undefined,
  file: string,
): Preprocessing {
  checkFields("image processor", config, file);
  const refuse = (field: string, why: string) => unsupportedField(file, field, config[field], why);
  const defaults = defaultsOf(config, siglip, file);
  if (config.do_resize === false)
    throw refuse("do_resize", "images of other sizes than the model's would be refused");
  const { shortest, side } = resizedSide(config, defaults, size, file);
  const crops = defaults.centerCrop && config.do_center_crop !== false;
  if (shortest && !crops) throw refuse("do_center_crop", "the model takes square images alone");
  const final = crops ? square(config.crop_size ?? size ?? DEFAULT_SIZE) : side;
  if (final === undefined) throw refuse("crop_size", "the model takes square images alone");
  if (final > side)
    throw refuse("crop_size", `images would be resized to ${side} pixels and then be filled with black`);
  if (size !== undefined && final !== size)
    throw refuse(crops ? "crop_size" : "size", `the model's image size is ${size} pixels`);
  const filter =
    config.resample === undefined || config.resample === null
      ? defaults.interpolation
      : PIL_FILTERS.get(config.resample);
  if (!filter) throw refuse("resample", "of PIL's filters 1 to 5 are computed");
  return {
    resize: shortest ? "shortest" : "squash",
    resized: side,
    crop: "floor",
    interpolation: filter,
    fill: 0,
    ...scaling(config, defaults, file),
  };
}

function defaultsOf(config: JsonObject, siglip: boolean, file: string): ProcessorDefaults {
  const name = config.image_processor_type ?? config.feature_extractor_type;
  if (name === undefined || name === null) return siglip ? SIGLIP : CLIP;
  const plain = (typeof name === "string" ? name : "")
    .replace(/(Fast|Pil)$/, "")
    .replace(/(ImageProcessor|FeatureExtractor)$/, "");
  const defaults = PROCESSORS.get(plain);
  if (defaults) return defaults;
  const known = [...PROCESSORS.keys()].join(", ");
  throw unsupportedField(file, "image_processor_type", name, `the classes known are ${known}`);
}

/** What images are resized to before the crop. */
function resizedSide(
  config: JsonObject,
  defaults: ProcessorDefaults,
  size: number | undefined,
  file: string,
): { shortest: boolean; side: number } {
  const value = config.size ?? size ?? DEFAULT_SIZE;
  const refused = unsupportedField(
    file,
    "size",
    value,
    "sides of { shortest_edge }, or of equal height and width, are computed",
  );
  if (typeof value === "number") {
    const shortest =
      typeof config.default_to_square === "boolean" ? !config.default_to_square : defaults.shortest;
    if (!isSide(value)) throw refused;
    return { shortest, side: value };
  }
  const fields = objectOf(value);
  const edge = fields.shortest_edge;
  if (isSide(edge) && Object.keys(fields).length === 1) return { shortest: true, side: edge };
  const side = square(value);
  if (side === undefined) throw refused;
  return { shortest: false, side };
}

const isSide = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value > 0 && value <= 1 << 14;

/** The side of a square size, given as a number or as height and width. */
function square(value: unknown): number | undefined {
  if (isSide(value)) return value;
  const { height, width, ...others } = objectOf(value);
  return isSide(height) && height === width && Object.keys(others).length === 0 ? height : undefined;
}

/**
 * Mean and deviation of channels in 0 … 1 that do what rescale_factor, do_rescale and do_normalize say:
 * (v × factor − mean) / std = (v / 255 − mean / (255 factor)) / (std / (255 factor)).
 */
function scaling(
  config: JsonObject,
  defaults: ProcessorDefaults,
  file: string,
): { mean: number[]; std: number[] } {
  const perChannel = (field: string, otherwise: number[]): number[] => {
    const value = config[field] ?? otherwise;
    const list = channelsOf(typeof value === "number" ? [value, value, value] : value);
    if (!list || (field === "image_std" && list.includes(0)))
      throw unsupportedField(file, field, value, "three numbers are expected");
    return list;
  };
  const normalizes = config.do_normalize !== false;
  const mean = normalizes ? perChannel("image_mean", defaults.mean) : [0, 0, 0];
  const std = normalizes ? perChannel("image_std", defaults.std) : [1, 1, 1];
  const factor = config.do_rescale === false ? 1 : (config.rescale_factor ?? TO_UNIT);
  if (typeof factor !== "number" || !(factor > 0))
    throw unsupportedField(file, "rescale_factor", factor, "a positive number is expected");
  if (Math.abs(factor / TO_UNIT - 1) < 1e-9) return { mean, std }; // 1/255, however it was rounded
  const scale = factor / TO_UNIT;
  return { mean: mean.map((m) => m / scale), std: std.map((s) => s / scale) };
}
