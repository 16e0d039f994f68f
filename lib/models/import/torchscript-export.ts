import { basename } from "node:path";
import { addon } from "../../addon.js";
import { TorchclipError, toTorchclipError } from "../../errors.js";
import { writeNamedWhole } from "../../util/files.js";
import {
  CLIP_PREPROCESSING,
  type ForeignImageConfig,
  type ForeignTextConfig,
  type ModelConfig,
} from "../config-types.js";
import type { WeightFile } from "../formats/index.js";

/**
 * Third-party TorchScript exports, whose weights are in no layout that is known: their own code is kept and
 * run by the generic runner, where the caller trusts it (`trustCode`). PyTorch says that TorchScript is no
 * sandbox. They must have `encode_image(float [N, 3, S, S])` and `encode_text(int64 [N, L])`; sizes are read
 * from the weights where they show.
 */

export interface ForeignOptions {
  /** Side of the square input, pixels; where the weights do not show it. */
  imageSize?: number;
  /** Token ids of one text; where the weights do not show it. */
  contextLength?: number;
}

/** What the shapes of a ViT and of CLIP's text encoder tell, where their names are in no known layout. */
export function foreignSizes(
  weights: WeightFile,
  options: ForeignOptions,
  file: string,
): { imageSize: number; contextLength: number; vocabSize: number } {
  const shapes = [...weights.tensors].map(
    ([name, { shape, stored }]) => [name, stored === "transposed" ? [...shape].reverse() : shape] as const,
  );
  const tokens = tokenTable(shapes);
  if (!tokens)
    throw unknown(
      file,
      "its token embedding (a matrix named …token…embedding…)",
      "no other models of unknown layout can be used",
    );
  const patches = patchConvolution(shapes);
  const positions = positionTables(shapes);
  const imageSize = options.imageSize ?? shownImageSize(patches, positions);
  if (!imageSize) throw unknown(file, "its image size", "say imageSize (--image-size)");
  const imagePositions = patches ? (imageSize / patches.side) ** 2 + 1 : 0;
  const ofText = positions.find(({ rows, width }) => width === tokens.width && rows !== imagePositions);
  const contextLength = options.contextLength ?? ofText?.rows;
  if (!contextLength) throw unknown(file, "its context length", "say contextLength (--context-length)");
  return { imageSize, contextLength, vocabSize: tokens.rows };
}

type NamedShape = readonly [name: string, shape: readonly number[]];

/** A matrix with a row for each token or position. */
interface Table {
  rows: number;
  width: number;
}

/** The text encoder's token embedding. */
function tokenTable(shapes: readonly NamedShape[]): Table | undefined {
  for (const [name, shape] of shapes) {
    const [rows, width] = shape;
    if (shape.length !== 2 || rows === undefined || width === undefined) continue;
    if (/token.*embed|embed.*token/i.test(name)) return { rows, width };
  }
  return undefined;
}

/** The position embeddings of both encoders: their last two axes. */
function positionTables(shapes: readonly NamedShape[]): Table[] {
  return shapes.flatMap(([name, shape]) => {
    const [rows, width] = shape.slice(-2);
    return /pos/i.test(name) && rows !== undefined && width !== undefined ? [{ rows, width }] : [];
  });
}

/** The convolution that makes patches of an image: their side in pixels, and how wide a token is. */
function patchConvolution(shapes: readonly NamedShape[]): { width: number; side: number } | undefined {
  for (const [, shape] of shapes) {
    const [width, channels, height, side] = shape;
    if (shape.length !== 4 || width === undefined || side === undefined) continue;
    if (channels === 3 && height === side && side > 7) return { width, side };
  }
  return undefined;
}

/** The side of the image by its positions: a square of patches, with or without a class token. */
function shownImageSize(
  patches: { width: number; side: number } | undefined,
  positions: readonly Table[],
): number | undefined {
  let imageSize: number | undefined;
  for (const { rows, width } of positions) {
    const across = [Math.sqrt(rows - 1), Math.sqrt(rows)].find((root) => Number.isInteger(root));
    if (width === patches?.width && across) imageSize = across * patches.side;
  }
  return imageSize;
}

/** The refusal of an export whose code nobody has vouched for. */
export function untrusted(file: string): TorchclipError {
  return new TorchclipError(
    "E_MODEL_UNSAFE",
    `${file} is a TorchScript export of unknown layout: ` +
      "it runs code of its own, which can read and write any file of yours. " +
      "Where you trust its author: load(path, { trustCode: true }), or --trust-code. " +
      "Safer: export its weights (torch.save of the state dict, or safetensors) and import those",
    { subject: file },
  );
}

function unknown(file: string, what: string, remedy: string): TorchclipError {
  return new TorchclipError(
    "E_MODEL_UNSUPPORTED",
    `${file}: a TorchScript export whose weights do not tell ${what}; ${remedy}`,
    { subject: file },
  );
}

/**
 * Writes the export as an artifact to `output`, whole or not at all. `about` lacks what is found out here.
 */
export async function wrapForeign(
  file: string,
  output: string,
  about: Pick<ModelConfig, "name" | "tokenizer" | "source"> & {
    image: ForeignImageConfig;
    text: ForeignTextConfig;
  },
  tokenizerJson: object,
): Promise<ModelConfig> {
  const { image, text } = about;
  try {
    const embedDim = await addon().probeTorchScript(file, image.imageSize, text.contextLength);
    const config: ModelConfig = {
      formatVersion: 2,
      architecture: "torchscript",
      name: about.name || basename(file),
      embedDim,
      image,
      text,
      loss: "softmax",
      preprocessing: CLIP_PREPROCESSING,
      tokenizer: about.tokenizer,
      storedDtype: "fp32",
      source: about.source,
    };
    await writeNamedWhole(output, (temporary) =>
      addon().wrapTorchScript(
        file,
        JSON.stringify(config, null, 2),
        JSON.stringify(tokenizerJson),
        temporary,
      ),
    );
    return config;
  } catch (error) {
    throw toTorchclipError(error, "E_WRITE", { subject: file });
  }
}
