// ConvNeXt and FastViT image towers at their published sizes (timm's convnext.py and fastvit.py, open_clip's model
// configs) with random weights, as folders that torchclip imports. Their text encoder has one layer.
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { random } from "./rounds.mjs";

/**
 * @typedef {[name: string, shape: number[]][]} Shapes
 * @typedef {{ timm: string, size: number, dim: number, pool: string, proj: string | null, shapes: Shapes }} Model
 */

const KERNEL = 7;
const CLIP_TEXT = { context_length: 77, vocab_size: 49408, width: 128, heads: 2, layers: 1 };

/**
 * @param {string} name
 * @param {number} out
 * @param {number} inner
 * @returns {Shapes}
 */
const linear = (name, out, inner) => [
  [`${name}.weight`, [out, inner]],
  [`${name}.bias`, [out]],
];

/**
 * @param {string} name
 * @param {number} width
 * @returns {Shapes}
 */
const layerNorm = (name, width) => [
  [`${name}.weight`, [width]],
  [`${name}.bias`, [width]],
];

/**
 * @param {string} name
 * @param {number} width
 * @returns {Shapes}
 */
const batchNorm = (name, width) => [
  ...layerNorm(name, width),
  [`${name}.running_mean`, [width]],
  [`${name}.running_var`, [width]],
];

/**
 * A convolution with its batch norm.
 * @param {string} name
 * @param {number} out
 * @param {number} inner
 * @param {number} kernel
 * @returns {Shapes}
 */
const normedConvolution = (name, out, inner, kernel) => [
  [`${name}.conv.weight`, [out, inner, kernel, kernel]],
  ...batchNorm(`${name}.bn`, out),
];

/**
 * @param {string} name
 * @param {number} out
 * @param {number} inner
 * @returns {Shapes}
 */
const point = (name, out, inner) => [
  [`${name}.weight`, [out, inner, 1, 1]],
  [`${name}.bias`, [out]],
];

/**
 * The two layers of squeeze-and-excitation.
 * @param {string} name
 * @param {number} width
 * @param {number} inner
 */
const squeeze = (name, width, inner) => [
  ...point(`${name}.fc1`, inner, width),
  ...point(`${name}.fc2`, width, inner),
];

/**
 * @param {{ depths: number[], widths: number[], dim: number, size: number, mlp?: boolean }} options
 * @returns {Model}
 */
function convnext({ depths, widths, dim, size, mlp = false }) {
  /** @type {Shapes} */
  const shapes = [["visual.trunk.stem.0.weight", [widths[0], 3, 4, 4]]];
  shapes.push(["visual.trunk.stem.0.bias", [widths[0]]], ...layerNorm("visual.trunk.stem.1", widths[0]));
  for (const [s, width] of widths.entries()) {
    const stage = `visual.trunk.stages.${s}`;
    if (s > 0) {
      shapes.push(...layerNorm(`${stage}.downsample.0`, widths[s - 1]));
      shapes.push([`${stage}.downsample.1.weight`, [width, widths[s - 1], 2, 2]]);
      shapes.push([`${stage}.downsample.1.bias`, [width]]);
    }
    for (let b = 0; b < depths[s]; b++) {
      const block = `${stage}.blocks.${b}`;
      shapes.push([`${block}.gamma`, [width]], [`${block}.conv_dw.weight`, [width, 1, KERNEL, KERNEL]]);
      shapes.push([`${block}.conv_dw.bias`, [width]], ...layerNorm(`${block}.norm`, width));
      shapes.push(
        ...linear(`${block}.mlp.fc1`, 4 * width, width),
        ...linear(`${block}.mlp.fc2`, width, 4 * width),
      );
    }
  }
  const last = widths[3];
  shapes.push(...layerNorm("visual.trunk.head.norm", last));
  if (mlp) {
    shapes.push(...linear("visual.head.mlp.fc1", 2 * dim, last), [
      "visual.head.mlp.fc2.weight",
      [dim, 2 * dim],
    ]);
  } else {
    shapes.push(["visual.head.proj.weight", [dim, last]]);
  }
  return { timm: "convnext_base", size, dim, pool: "", proj: mlp ? "mlp" : "linear", shapes };
}

/**
 * The weights of a block of FastViT.
 * @param {string} block
 * @param {number} width
 * @param {number} hidden
 * @param {boolean} attends
 * @param {boolean} layerNorms
 */
function fastvitBlock(block, width, hidden, attends, layerNorms) {
  /** @type {Shapes} */
  const shapes = [];
  const mixer = `${block}.token_mixer`;
  /** @param {string} name */
  const gamma = (name) => shapes.push([`${block}.${name}.gamma`, [width, 1, 1]]);
  if (attends) {
    shapes.push(...(layerNorms ? layerNorm : batchNorm)(`${block}.norm`, width));
    shapes.push([`${mixer}.qkv.weight`, [3 * width, width]], ...linear(`${mixer}.proj`, width, width));
    gamma("layer_scale_1");
    gamma("layer_scale_2");
  } else {
    shapes.push(
      ...batchNorm(`${mixer}.norm.identity`, width),
      ...batchNorm(`${mixer}.mixer.identity`, width),
    );
    shapes.push(...normedConvolution(`${mixer}.mixer.conv_kxk.0`, width, 1, 3));
    shapes.push(...normedConvolution(`${mixer}.mixer.conv_scale`, width, 1, 1));
    gamma("token_mixer.layer_scale");
    gamma("layer_scale");
  }
  shapes.push(...normedConvolution(`${block}.mlp.conv`, width, 1, KERNEL));
  shapes.push(...point(`${block}.mlp.fc1`, hidden, width), ...point(`${block}.mlp.fc2`, width, hidden));
  return shapes;
}

/**
 * @param {number} width
 * @param {boolean} scale
 */
function fastvitStem(width, scale) {
  const stem = "visual.trunk.stem";
  const shapes = [
    ...normedConvolution(`${stem}.0.conv_kxk.0`, width, 3, 3),
    ...normedConvolution(`${stem}.1.conv_kxk.0`, width, 1, 3),
    ...batchNorm(`${stem}.2.identity`, width),
    ...normedConvolution(`${stem}.2.conv_kxk.0`, width, width, 1),
  ];
  if (!scale) return shapes;
  shapes.push(...normedConvolution(`${stem}.0.conv_scale`, width, 3, 1));
  shapes.push(...normedConvolution(`${stem}.1.conv_scale`, width, 1, 1));
  return shapes;
}

/**
 * @param {string} stage
 * @param {number} width
 * @param {boolean} squeezes
 */
function fastvitDownsample(stage, width, squeezes) {
  const at = `${stage}.downsample.proj`;
  return [
    ...normedConvolution(`${at}.0.large_conv`, width, 1, KERNEL),
    ...normedConvolution(`${at}.0.small_conv`, width, 1, 3),
    ...(squeezes ? squeeze(`${at}.0.se`, width, width / 4) : []),
    ...batchNorm(`${at}.1.identity`, width),
    ...normedConvolution(`${at}.1.conv_kxk.0`, width, width, 1),
  ];
}

/**
 * S0 to S2 have four stages and batch norms; S3 and S4 five stages and layer norms before their attention.
 * @param {{ depths: number[], widths: number[], ratio: number, dim: number }} options
 * @returns {Model}
 */
function fastvit({ depths, widths, ratio, dim }) {
  const large = depths.length === 5;
  const shapes = fastvitStem(widths[0], !large);
  for (const [s, width] of widths.entries()) {
    const stage = `visual.trunk.stages.${s}`;
    const attends = s >= 3;
    if (s > 0) shapes.push(...fastvitDownsample(stage, width, !large && s >= 2));
    if (attends) shapes.push([`${stage}.pos_emb.pos_enc.weight`, [width, 1, KERNEL, KERNEL]]);
    if (attends) shapes.push([`${stage}.pos_emb.pos_enc.bias`, [width]]);
    for (let b = 0; b < depths[s]; b++)
      shapes.push(...fastvitBlock(`${stage}.blocks.${b}`, width, ratio * width, attends, large));
  }
  const final = 2 * widths[widths.length - 1];
  shapes.push(...normedConvolution("visual.trunk.final_conv.conv_kxk.0", final, 1, 3));
  shapes.push(...normedConvolution("visual.trunk.final_conv.conv_scale", final, 1, 1));
  shapes.push(...squeeze("visual.trunk.final_conv.se", final, final / 16));
  shapes.push(...linear("visual.trunk.head.fc", dim, final));
  return { timm: "fastvit_mci0", size: 256, dim, pool: "avg", proj: null, shapes };
}

const BASE = { depths: [3, 3, 27, 3], widths: [128, 256, 512, 1024] };
const LARGE = { depths: [3, 3, 27, 3], widths: [192, 384, 768, 1536] };
const SMALL_WIDTHS = [64, 128, 256, 512];

/** @type {Record<string, () => Model>} */
export const MODELS = {
  convnext_base: () => convnext({ ...BASE, dim: 512, size: 224 }),
  convnext_base_w: () => convnext({ ...BASE, dim: 640, size: 256 }),
  convnext_large_d: () => convnext({ ...LARGE, dim: 768, size: 256, mlp: true }),
  "MobileCLIP-S0": () => fastvit({ depths: [2, 6, 10, 2], widths: SMALL_WIDTHS, ratio: 3, dim: 512 }),
  "MobileCLIP-S1": () => fastvit({ depths: [4, 12, 20, 4], widths: SMALL_WIDTHS, ratio: 3, dim: 512 }),
  "MobileCLIP-S2": () => fastvit({ depths: [4, 12, 24, 4], widths: [80, 160, 320, 640], ratio: 3, dim: 512 }),
  "MobileCLIP2-S3": () =>
    fastvit({ depths: [2, 12, 24, 4, 2], widths: [96, 192, 384, 768, 1536], ratio: 4, dim: 768 }),
  "MobileCLIP2-S4": () =>
    fastvit({ depths: [2, 12, 24, 4, 4], widths: [128, 256, 512, 1024, 2048], ratio: 4, dim: 768 }),
};

/** @param {number} dim */
function textShapes(dim) {
  const { vocab_size, context_length, width } = CLIP_TEXT;
  const block = "transformer.resblocks.0";
  /** @type {Shapes} */
  const shapes = [
    ["token_embedding.weight", [vocab_size, width]],
    ["positional_embedding", [context_length, width]],
    ["text_projection", [width, dim]],
    ["logit_scale", []],
    [`${block}.attn.in_proj_weight`, [3 * width, width]],
    [`${block}.attn.in_proj_bias`, [3 * width]],
  ];
  shapes.push(...layerNorm("ln_final", width), ...layerNorm(`${block}.ln_1`, width));
  shapes.push(...layerNorm(`${block}.ln_2`, width), ...linear(`${block}.attn.out_proj`, width, width));
  shapes.push(...linear(`${block}.mlp.c_fc`, 4 * width, width));
  shapes.push(...linear(`${block}.mlp.c_proj`, width, 4 * width));
  return shapes;
}

/**
 * One parameter, of the size that it has in a trained model: as `weight` of scripts/goldens/families.py.
 * @param {string} name
 * @param {number[]} shape
 * @param {() => number} next
 */
function parameter(name, shape, next) {
  const inner = shape.slice(1).reduce((a, b) => a * b, 1);
  const values = new Float32Array(inner * (shape[0] ?? 1));
  const factor = name.endsWith("running_var") || (shape.length === 1 && name.endsWith("weight"));
  let [middle, range] = [0, shape.length <= 1 ? 0.05 : Math.sqrt(3 / inner)];
  if (name.endsWith("gamma")) [middle, range] = [0.5, 0.1];
  else if (factor) [middle, range] = [1, 0.1];
  for (let i = 0; i < values.length; i++) values[i] = middle + range * (2 * next() - 1);
  return values;
}

/**
 * Writes a model in open_clip's layout to a new folder.
 * @param {string} folder
 * @param {string} name of MODELS
 */
export function writeModel(folder, name) {
  const { timm, size, dim, pool, proj, shapes } = MODELS[name]();
  mkdirSync(folder, { recursive: true });
  const vision_cfg = { image_size: size, timm_model_name: timm, timm_pool: pool, timm_proj: proj };
  const model_cfg = { embed_dim: dim, vision_cfg, text_cfg: CLIP_TEXT };
  writeFileSync(join(folder, "open_clip_config.json"), JSON.stringify({ model_cfg, preprocess_cfg: {} }));
  const all = [...shapes, ...textShapes(dim)];
  /** @type {Record<string, unknown>} */
  const header = {};
  let offset = 0;
  for (const [key, shape] of all) {
    const bytes = 4 * shape.reduce((a, b) => a * b, 1);
    header[key] = { dtype: "F32", shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(join(folder, "open_clip_model.safetensors"), "w");
  writeSync(file, length);
  writeSync(file, text);
  const next = random(3);
  for (const [key, shape] of all) writeSync(file, new Uint8Array(parameter(key, shape, next).buffer));
  closeSync(file);
}
