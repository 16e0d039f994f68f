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
  const table = shapes.find(([name, s]) => /token.*embed|embed.*token/i.test(name) && s.length === 2);
  if (!table)
    throw unknown(
      file,
      "its token embedding (a matrix named …token…embedding…)",
      "no other models of unknown layout can be used",
    );
  const [vocabSize, width] = table[1];
  const positions = shapes
    .filter(([name, s]) => /pos/i.test(name) && s.length >= 2)
    .map(([, s]) => s.slice(-2));
  const patches = shapes
    .map(([, s]) => s)
    .find((s) => s.length === 4 && s[1] === 3 && s[2] === s[3] && s[2] > 7);
  let imageSize = options.imageSize;
  if (!imageSize && patches) {
    for (const [rows, w] of positions) {
      const side = [rows - 1, rows].map(Math.sqrt).find(Number.isInteger);
      if (w === patches[0] && side) imageSize = side * patches[2];
    }
  }
  if (!imageSize) throw unknown(file, "its image size", "say imageSize (--image-size)");
  const contextLength =
    options.contextLength ??
    positions.find(
      ([rows, w]) => w === width && rows !== (patches ? (imageSize / patches[2]) ** 2 + 1 : 0),
    )?.[0];
  if (!contextLength) throw unknown(file, "its context length", "say contextLength (--context-length)");
  return { imageSize, contextLength, vocabSize };
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
