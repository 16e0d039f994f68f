import { TorchclipError } from "../errors.js";

/** What an image encoder gives for an image, and the addon's number for it. */
export const IMAGE_OUTPUTS = { embedding: 0, pooled: 1 } as const;

export type ImageOutput = keyof typeof IMAGE_OUTPUTS;

/** What the engine is asked for: the addon's number of an output, the floats of its rows, their scale. */
export interface OutputPlan {
  output: 0 | 1;
  dim: number;
  normalize: boolean;
}

/** What the options of a call ask for. Throws E_ARGUMENT for an output that the model does not give. */
export function planOutput(
  info: { embedDim: number; pooledDim: number },
  options: { output?: ImageOutput; normalize?: boolean },
): OutputPlan {
  const { output = "embedding", normalize = output === "embedding" } = options;
  const dim = output === "pooled" ? info.pooledDim : info.embedDim;
  if (dim > 0) return { output: IMAGE_OUTPUTS[output], dim, normalize };
  const message =
    "a third-party TorchScript export gives no pooled features: its encode_image returns the embedding alone";
  throw new TorchclipError("E_ARGUMENT", message, { subject: "output" });
}
