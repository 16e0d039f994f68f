import type { Clip } from "../clip/clip.js";
import { load } from "../clip/load.js";
import type { LoadOptions } from "../clip/options.js";
import { prepareDecoder } from "../images/decode.js";

/** Loads a model for images: what decodes them is loaded while a thread of the addon reads the weights. */
export function loadForImages(model: string, options: LoadOptions): Promise<Clip> {
  const loading = load(model, options);
  void prepareDecoder();
  return loading;
}
