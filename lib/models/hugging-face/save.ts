import { join } from "node:path";
import { writeFileWhole } from "../../util/files.js";
import type { ModelConfig, Preprocessing } from "../config-types.js";
import { readFloats } from "../formats/read-floats.js";
import type { StoredTensor } from "../formats/types.js";
import { writeSafetensors, type WrittenTensor } from "../formats/write-safetensors.js";
import {
  huggingFaceClass,
  huggingFaceConfig,
  huggingFaceNames,
  type ExportedName,
  type HuggingFaceClass,
} from "./names.js";

/** A model as an artifact holds it. */
export interface ExportedModel {
  config: ModelConfig;
  tokenizer: string;
  tensors: ReadonlyMap<string, StoredTensor>;
}

/**
 * Writes a model into a folder as transformers reads it: model.safetensors (float32), config.json,
 * preprocessor_config.json and tokenizer.json. Returns the files; none for a model that no class of
 * transformers holds without a difference.
 */
export async function saveHuggingFace(folder: string, model: ExportedModel): Promise<string[]> {
  const class_ = huggingFaceClass(model.config);
  if (!class_) return [];
  const weights = join(folder, "model.safetensors");
  const tensors = [...model.tensors].flatMap(([name, stored]) => exported(name, stored, class_));
  await writeSafetensors(weights, tensors, { format: "pt" });
  const files: Record<string, object | undefined> = {
    "config.json": huggingFaceConfig(model.config, class_),
    "preprocessor_config.json": imageProcessor(model.config, class_),
  };
  for (const [name, content] of Object.entries(files))
    await writeFileWhole(join(folder, name), `${JSON.stringify(content, null, 2)}\n`);
  await writeFileWhole(join(folder, "tokenizer.json"), model.tokenizer);
  return [weights, ...Object.keys(files).map((name) => join(folder, name)), join(folder, "tokenizer.json")];
}

/** The tensors of transformers that one of the artifact becomes. */
function exported(name: string, stored: StoredTensor, class_: HuggingFaceClass): WrittenTensor[] {
  const { shape } = stored;
  const names = huggingFaceNames(name, class_, shape.at(-1) ?? 1);
  let values: Promise<Float32Array> | undefined;
  const all = () => (values ??= readFloats(stored));
  const [rows = 1, ...inner] = shape;
  const each = rows / names.length;
  return names.map((part, i) => {
    const read = async () => {
      const found = await all();
      const size = found.length / names.length;
      const own = found.subarray(i * size, (i + 1) * size);
      if (i + 1 === names.length) values = undefined; // one tensor is in memory at a time
      return part.transpose ? transposed(own, rows) : own;
    };
    return { name: part.name, shape: shapeOf(part, names.length === 1 ? shape : [each, ...inner]), read };
  });
}

function shapeOf({ shape, transpose }: ExportedName, stored: readonly number[]): readonly number[] {
  return shape ?? (transpose ? stored.toReversed() : stored);
}

/** A matrix of so many rows as its transpose. */
function transposed(values: Float32Array, rows: number): Float32Array {
  const columns = values.length / rows;
  const out = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      out[column * rows + row] = values[row * columns + column] ?? 0;
  }
  return out;
}

/** Pillow's numbers of its filters. */
const FILTERS = { lanczos: 1, bilinear: 2, bicubic: 3, box: 4, hamming: 5 } as const;

/**
 * preprocessor_config.json; a transform that the processors of transformers do not have is left as nearest.
 */
function imageProcessor(config: ModelConfig, class_: HuggingFaceClass): object {
  const { preprocessing } = config;
  const size = config.image.imageSize;
  return {
    image_processor_type: class_ === "CLIPModel" ? "CLIPImageProcessor" : "SiglipImageProcessor",
    do_convert_rgb: true,
    do_resize: true,
    resample: FILTERS[preprocessing.interpolation],
    ...sizes(preprocessing, size),
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: preprocessing.mean,
    image_std: preprocessing.std,
  };
}

function sizes({ resize, resized }: Preprocessing, size: number): object {
  const side = resized ?? size;
  if (resize === "squash") return { size: { height: side, width: side }, do_center_crop: false };
  return { size: { shortest_edge: side }, do_center_crop: true, crop_size: { height: size, width: size } };
}
